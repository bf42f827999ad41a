//! Which events somebody wants, in canonical form: what a subscriber, a page or a class selects by.

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

/// A filter with sorted, unique values, so that equal wishes are equal values.
///
/// Values within a field are alternatives; fields that have any must all match. The empty filter
/// matches every event.
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

    /// The canonical form of a valid filter; types that this version does not know are left out
    /// (validation refuses them).
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

    /// Whether an event with these keys is wanted.
    pub(crate) fn matches(&self, keys: &Keys) -> bool {
        (self.event_types.is_empty() || self.event_types.binary_search(&keys.event_type).is_ok())
            && self.texts.iter().all(|(key, values)| {
                values.is_empty() || values.binary_search(&keys.texts[key]).is_ok()
            })
    }

    /// The wanted types; empty if all are.
    pub(crate) fn event_types(&self) -> &[EventType] {
        &self.event_types
    }

    /// The wanted values of each text key; empty where all are.
    pub(crate) fn texts(&self) -> &ByTextKey<Vec<String>> {
        &self.texts
    }

    /// As the contract writes it.
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
