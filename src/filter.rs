//! Which events a caller asks for (a filter), which it may read (a scope), and which it therefore
//! gets (a selector).

mod selector;
#[cfg(test)]
pub(crate) mod tests;

use std::mem;

pub(crate) use selector::Scope;
pub use selector::Selector;

use crate::{
    event::{ByTextKey, Keys},
    proto::{EventFilter, EventType},
};

/// A filter with sorted, unique values. Filters with the same values are equal.
///
/// The values of one key are alternatives. An event has to match each key that has values. The
/// empty filter matches every event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    event_types: Vec<EventType>,
    texts: ByTextKey<Vec<String>>,
}

impl Filter {
    /// The empty filter.
    pub(crate) const ALL: Self = Self {
        event_types: Vec::new(),
        texts: ByTextKey::EMPTY,
    };

    /// The canonical form of a valid filter. Types that this version does not know are left out; a
    /// request with such a type was refused before.
    pub(crate) fn new(mut filter: EventFilter) -> Self {
        let event_types = filter.event_types().collect();
        let texts = ByTextKey::from_fn(|key| mem::take(key.values_mut(&mut filter)));
        Self::of(event_types, texts)
    }

    fn of(event_types: Vec<EventType>, texts: ByTextKey<Vec<String>>) -> Self {
        Self {
            event_types: canonical(event_types),
            texts: texts.map(canonical),
        }
    }

    pub(crate) fn matches(&self, keys: &Keys) -> bool {
        (self.event_types.is_empty() || self.event_types.binary_search(&keys.event_type).is_ok())
            && self.texts.iter().all(|(key, values)| {
                values.is_empty() || values.binary_search(&keys.texts[key]).is_ok()
            })
    }

    /// The types that are asked for; empty if all are.
    pub(crate) fn event_types(&self) -> &[EventType] {
        &self.event_types
    }

    /// The values of each text key that are asked for; empty if all are.
    pub(crate) fn texts(&self) -> &ByTextKey<Vec<String>> {
        &self.texts
    }

    /// The filter as a message of the contract.
    pub(crate) fn to_proto(&self) -> EventFilter {
        let mut filter = EventFilter {
            event_types: self.event_types.iter().map(|&t| t.into()).collect(),
            ..EventFilter::default()
        };
        for (key, values) in self.texts.iter() {
            key.values_mut(&mut filter).clone_from(values);
        }
        filter
    }
}

fn canonical<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort_unstable();
    values.dedup();
    values
}
