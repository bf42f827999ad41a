//! Filters and scopes, and a naive model of them. Tests of the index and the log use it, too.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    event::{EVENT_TYPES, TextKey},
    proto::Event,
};

/// A filter or a scope. It has few different values, so that many events match.
pub(crate) fn any_filter() -> impl Strategy<Value = EventFilter> {
    let types = vec(select(EVENT_TYPES.map(i32::from).to_vec()), 0..3);
    let texts = TextKey::ALL.map(|_| vec(any_text(), 0..3));
    (types, texts).prop_map(|(event_types, texts)| event_filter(event_types, texts))
}

fn event_filter(event_types: Vec<i32>, texts: [Vec<String>; TextKey::ALL.len()]) -> EventFilter {
    let mut filter = EventFilter {
        event_types,
        ..EventFilter::default()
    };
    for (key, values) in TextKey::ALL.into_iter().zip(texts) {
        *key.values_mut(&mut filter) = values;
    }
    filter
}

/// A scope. Half of the keys of a filter are cleared, so that most scopes restrict only some keys.
pub(crate) fn any_scope() -> impl Strategy<Value = EventFilter> {
    (any_filter(), any::<u8>()).prop_map(|(mut scope, kept)| {
        for key in TextKey::ALL {
            if kept >> (key as u8) & 1 == 0 {
                key.values_mut(&mut scope).clear();
            }
        }
        if kept >> 7 == 0 {
            scope.event_types.clear();
        }
        scope
    })
}

/// An event that has only a type and text keys.
pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let texts = TextKey::ALL.map(|_| any_text());
    (select(EVENT_TYPES.to_vec()), texts).prop_map(|(event_type, texts)| {
        let [agent_id, call_id, organization_id, event_name, status] = texts;
        Event {
            r#type: event_type.into(),
            agent_id,
            call_id,
            organization_id,
            event_name,
            status,
            ..Event::default()
        }
    })
}

fn any_text() -> impl Strategy<Value = String> {
    select(&["", "a", "A", "b", "ü\"'\\", "n\0ul"][..]).prop_map(String::from)
}

/// Whether a caller that asks for `filter` and may read `scope` gets this event.
pub(crate) fn is_returned(filter: &EventFilter, scope: &EventFilter, event: &Event) -> bool {
    [filter, scope].into_iter().all(|wanted| {
        let EventFilter {
            event_types,
            agent_ids,
            call_ids,
            organization_ids,
            event_names,
            statuses,
        } = wanted;
        let is_among = |values: &[String], value| values.is_empty() || values.contains(value);
        (event_types.is_empty() || event_types.contains(&event.r#type))
            && is_among(agent_ids, &event.agent_id)
            && is_among(call_ids, &event.call_id)
            && is_among(organization_ids, &event.organization_id)
            && is_among(event_names, &event.event_name)
            && is_among(statuses, &event.status)
    })
}

pub(crate) fn selector(filter: &EventFilter, scope: &EventFilter) -> Selector {
    let asked = Arc::new(Filter::new(filter.clone()));
    Selector::new(asked, &scope_of(scope))
}

fn scope_of(scope: &EventFilter) -> Scope {
    let texts = ByTextKey::from_fn(|key| key.values(scope).to_vec());
    Scope::new(scope.event_types().collect(), texts)
}

/// The same filter with its values in another order, some of them twice.
fn reordered(filter: &EventFilter) -> impl Strategy<Value = EventFilter> + use<> {
    fn twice<T: Clone>(values: &[T]) -> Vec<T> {
        [values, &values[..values.len() / 2]].concat()
    }
    let types = Just(twice(&filter.event_types)).prop_shuffle();
    let texts = TextKey::ALL.map(|key| Just(twice(key.values(filter))).prop_shuffle());
    (types, texts).prop_map(|(event_types, texts)| event_filter(event_types, texts))
}

proptest! {
    #[test]
    fn what_is_selected_is_what_is_wanted_and_may_be_read(
        filter in any_filter(),
        scope in any_scope(),
        events in vec(any_event(), 20),
    ) {
        let selector = selector(&filter, &scope);
        let readable = scope_of(&scope);
        for event in events {
            let keys = Keys::of(event.clone());
            prop_assert_eq!(selector.matches(&keys), is_returned(&filter, &scope, &event));
            let everything = EventFilter::default();
            prop_assert_eq!(readable.allows(&keys), is_returned(&everything, &scope, &event));
        }
    }

    #[test]
    fn equal_selections_are_equal_selectors(
        (filter, reordered) in any_filter()
            .prop_flat_map(|filter| (Just(filter.clone()), reordered(&filter))),
        scope in any_scope(),
    ) {
        let selector = selector(&filter, &scope);
        prop_assert_eq!(&self::selector(&reordered, &scope), &selector);
        prop_assert_eq!(&self::selector(&scope, &reordered), &selector);
        // If the filter asks for no more than the scope allows, the selector is the filter.
        if let Some(effective) = selector.as_filter() {
            prop_assert_eq!(&Selector::new(effective.clone(), &Scope::ALL), &selector);
        }
    }

    #[test]
    fn a_filter_survives_the_form_of_the_contract(filter in any_filter()) {
        let filter = Filter::new(filter);
        prop_assert_eq!(Filter::new(filter.to_proto()), filter);
    }
}

#[test]
fn without_common_values_nothing_is_selected() {
    let agents = |agents: &[&str]| EventFilter {
        agent_ids: agents.iter().map(ToString::to_string).collect(),
        ..EventFilter::default()
    };
    let keys = Keys::of(Event {
        agent_id: "a".into(),
        ..Event::default()
    });
    let check = |asked: &[&str], readable: &[&str], expected: bool| {
        let selector = selector(&agents(asked), &agents(readable));
        assert_eq!(selector.matches(&keys), expected, "{asked:?} {readable:?}");
    };
    check(&[], &[], true);
    check(&["a"], &[], true);
    check(&[], &["a", "b"], true);
    check(&[], &["b"], false);
    check(&["a", "c"], &["a", "b"], true);
    check(&["a"], &["b"], false);
    check(&["c"], &["b"], false);

    let nothing = selector(&agents(&["a"]), &agents(&["b"]));
    assert_eq!(nothing, selector(&agents(&["c"]), &agents(&["d"])));
    assert_eq!(nothing.as_filter(), None);
}
