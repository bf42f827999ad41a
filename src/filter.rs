//! Which events somebody wants, in canonical form: what a subscriber, a page or a class selects by.

use crate::{
    event::{ByTextKey, Keys},
    proto::{EventFilter, EventType},
};

/// A filter with sorted, unique values, so that equal wishes are equal values.
///
/// Values within a field are alternatives; fields that have any must all match. The empty filter
/// matches every event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    event_types: Vec<EventType>,
    texts: ByTextKey<Vec<String>>,
}

impl Filter {
    /// The canonical form of a valid filter; types that this version does not know are left out
    /// (validation refuses them).
    #[must_use]
    pub fn new(mut filter: EventFilter) -> Self {
        Self {
            event_types: canonical(filter.event_types().collect()),
            texts: ByTextKey::from_fn(|key| canonical(std::mem::take(key.values_mut(&mut filter)))),
        }
    }

    /// Whether an event with these keys is wanted.
    #[must_use]
    pub fn matches(&self, keys: &Keys) -> bool {
        (self.event_types.is_empty() || self.event_types.binary_search(&keys.event_type).is_ok())
            && self.texts.iter().all(|(key, values)| {
                values.is_empty() || values.binary_search(&keys.texts[key]).is_ok()
            })
    }

    /// The wanted types; empty if all are.
    #[must_use]
    pub fn event_types(&self) -> &[EventType] {
        &self.event_types
    }

    /// The wanted values of each text key; empty where all are.
    #[must_use]
    pub fn texts(&self) -> &ByTextKey<Vec<String>> {
        &self.texts
    }

    /// As the contract writes it.
    #[must_use]
    pub fn to_proto(&self) -> EventFilter {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Event;

    fn filter(event_types: &[EventType], agent_ids: &[&str], statuses: &[&str]) -> Filter {
        Filter::new(EventFilter {
            event_types: event_types.iter().map(|&t| t.into()).collect(),
            agent_ids: agent_ids.iter().map(ToString::to_string).collect(),
            statuses: statuses.iter().map(ToString::to_string).collect(),
            ..EventFilter::default()
        })
    }

    #[test]
    fn values_are_alternatives_and_fields_must_all_match() {
        let keys = Keys::of(Event {
            r#type: EventType::CallEnded.into(),
            agent_id: "a".into(),
            status: "failed".into(),
            ..Event::default()
        });
        let check = |wanted: Filter, expected: bool| {
            assert_eq!(wanted.matches(&keys), expected, "{wanted:?}")
        };
        check(Filter::default(), true);
        check(
            filter(&[EventType::CallStarted, EventType::CallEnded], &[], &[]),
            true,
        );
        check(filter(&[EventType::CallStarted], &[], &[]), false);
        check(filter(&[], &["b", "a"], &[]), true);
        check(filter(&[], &["A"], &[]), false);
        check(filter(&[EventType::CallEnded], &["a"], &["failed"]), true);
        check(filter(&[EventType::CallEnded], &["a"], &["success"]), false);
    }

    #[test]
    fn order_and_repeats_do_not_make_another_filter() {
        let once = filter(&[EventType::CallEnded, EventType::Other], &["a", "b"], &[]);
        let twice = filter(
            &[EventType::Other, EventType::CallEnded, EventType::Other],
            &["b", "a", "b"],
            &[],
        );
        assert_eq!(once, twice);
        assert_eq!(Filter::new(once.to_proto()), once);
    }
}
