//! Which events a caller gets: those that it asks for and may read.

use std::sync::Arc;

use super::Filter;
use crate::{
    event::{ByTextKey, Keys},
    proto::EventType,
};

/// What a caller may read, in the form of a filter: a key without values is not restricted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scope(Filter);

impl Scope {
    /// Every event.
    pub(crate) const ALL: Self = Self(Filter::ALL);

    #[cfg_attr(not(test), expect(dead_code, reason = "all callers may read all"))]
    pub(crate) fn new(event_types: Vec<EventType>, texts: ByTextKey<Vec<String>>) -> Self {
        Self(Filter::of(event_types, texts))
    }

    /// Whether an event with these keys may be read.
    pub(crate) fn allows(&self, keys: &Keys) -> bool {
        self.0.matches(keys)
    }
}

/// The events that a filter and a scope have in common. If different filters and scopes have the
/// same values in common, their selectors are equal. Clones share the filter.
///
/// A filter cannot express this: if filter and scope have no common value, the selector matches
/// nothing, but an empty list in a filter matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector(Option<Arc<Filter>>);

impl Selector {
    pub(crate) fn new(asked: Arc<Filter>, scope: &Scope) -> Self {
        if *scope == Scope::ALL {
            return Self(Some(asked));
        }
        Self(intersection(&asked, &scope.0).map(Arc::new))
    }

    pub(crate) fn matches(&self, keys: &Keys) -> bool {
        self.0.as_ref().is_some_and(|filter| filter.matches(keys))
    }

    /// The filter that selects the same events; none if no event is selected.
    pub(crate) fn as_filter(&self) -> Option<&Arc<Filter>> {
        self.0.as_ref()
    }
}

/// Selects every event.
impl Default for Selector {
    fn default() -> Self {
        Self(Some(Arc::default()))
    }
}

fn intersection(asked: &Filter, readable: &Filter) -> Option<Filter> {
    let mut texts = ByTextKey::default();
    for (key, values) in asked.texts.iter() {
        texts[key] = common(values, &readable.texts[key])?;
    }
    Some(Filter {
        event_types: common(&asked.event_types, &readable.event_types)?,
        texts,
    })
}

/// The values in both lists; none if there are no such values. An empty list stands for all values.
fn common<T: Ord + Clone>(asked: &[T], readable: &[T]) -> Option<Vec<T>> {
    if asked.is_empty() || readable.is_empty() {
        return Some([asked, readable].concat());
    }
    let is_readable = |value: &&T| readable.binary_search(value).is_ok();
    let common: Vec<T> = asked.iter().filter(is_readable).cloned().collect();
    (!common.is_empty()).then_some(common)
}
