//! Which events somebody wants, in canonical form: what a subscriber, a page or a class selects by.

use crate::{
    event::Keys,
    proto::{EventFilter, EventType},
};

/// A filter with sorted, unique values, so that equal wishes are equal values.
///
/// Values within a field are alternatives; fields that have any must all match. The empty filter
/// matches every event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    event_types: Vec<EventType>,
    agent_ids: Vec<String>,
    call_ids: Vec<String>,
    organization_ids: Vec<String>,
    event_names: Vec<String>,
    statuses: Vec<String>,
}

impl Filter {
    /// The canonical form of a valid filter; types that this version does not know are left out
    /// (validation refuses them).
    #[must_use]
    pub fn new(filter: EventFilter) -> Self {
        let event_types: Vec<EventType> = filter.event_types().collect();
        Self {
            event_types: canonical(event_types),
            agent_ids: canonical(filter.agent_ids),
            call_ids: canonical(filter.call_ids),
            organization_ids: canonical(filter.organization_ids),
            event_names: canonical(filter.event_names),
            statuses: canonical(filter.statuses),
        }
    }

    /// Whether an event with these keys is wanted.
    #[must_use]
    pub fn matches(&self, keys: &Keys) -> bool {
        (self.event_types.is_empty() || self.event_types.binary_search(&keys.event_type).is_ok())
            && self.texts().into_iter().all(|(key, values)| {
                values.is_empty()
                    || values
                        .binary_search_by(|value| value.as_str().cmp(key.of(keys)))
                        .is_ok()
            })
    }

    /// The wanted types; empty if all are.
    #[must_use]
    pub fn event_types(&self) -> &[EventType] {
        &self.event_types
    }

    /// The wanted values of each text key; empty where all are.
    #[must_use]
    pub fn texts(&self) -> [(TextKey, &[String]); 5] {
        [
            (TextKey::CallId, &self.call_ids),
            (TextKey::AgentId, &self.agent_ids),
            (TextKey::OrganizationId, &self.organization_ids),
            (TextKey::EventName, &self.event_names),
            (TextKey::Status, &self.statuses),
        ]
    }

    /// As the contract writes it.
    #[must_use]
    pub fn to_proto(&self) -> EventFilter {
        EventFilter {
            event_types: self
                .event_types
                .iter()
                .map(|&event_type| event_type.into())
                .collect(),
            agent_ids: self.agent_ids.clone(),
            call_ids: self.call_ids.clone(),
            organization_ids: self.organization_ids.clone(),
            event_names: self.event_names.clone(),
            statuses: self.statuses.clone(),
        }
    }
}

/// A key that is a text, the most selective first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKey {
    /// `Event.call_id`.
    CallId,
    /// `Event.agent_id`.
    AgentId,
    /// `Event.organization_id`.
    OrganizationId,
    /// `Event.event_name`.
    EventName,
    /// `Event.status`.
    Status,
}

impl TextKey {
    /// All of them, in the order of [`Filter::texts`].
    pub const ALL: [Self; 5] = [
        Self::CallId,
        Self::AgentId,
        Self::OrganizationId,
        Self::EventName,
        Self::Status,
    ];

    /// Its value in an event.
    #[must_use]
    pub fn of(self, keys: &Keys) -> &str {
        match self {
            Self::CallId => &keys.call_id,
            Self::AgentId => &keys.agent_id,
            Self::OrganizationId => &keys.organization_id,
            Self::EventName => &keys.event_name,
            Self::Status => &keys.status,
        }
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
        let keys = Keys {
            event_type: EventType::CallEnded,
            agent_id: "a".into(),
            status: "failed".into(),
            ..Keys::default()
        };
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
