//! From an event to the classes that may want it, without asking the others.
//!
//! A class stands under the values of one field of its filter, the most selective that it has, or among those that want
//! everything. An event has one value for each field, so it meets a class at most once; the class's other fields are asked then.

use std::collections::HashMap;

use crate::{
    event::Keys,
    filter::{Filter, TextKey},
    proto::EventType,
};

/// Slots of classes by what they want.
#[derive(Debug, Default)]
pub(super) struct Index {
    // A field each, the most selective first: the order of `Filter::texts`.
    texts: [HashMap<String, Vec<Slot>>; 5],
    types: HashMap<EventType, Vec<Slot>>,
    everything: Vec<Slot>,
}

/// Where the router keeps a class.
pub(super) type Slot = usize;

impl Index {
    /// Costs as much as the filter's field has values.
    pub(super) fn insert(&mut self, filter: &Filter, slot: Slot) {
        self.at(filter, |slots| slots.push(slot));
    }

    /// Takes out what `insert` put in.
    pub(super) fn remove(&mut self, filter: &Filter, slot: Slot) {
        self.at(filter, |slots| slots.retain(|&other| other != slot));
        let place = Place::of(filter);
        match place {
            Place::Text(field, values) => {
                for value in values {
                    if self.texts[field].get(value).is_some_and(Vec::is_empty) {
                        self.texts[field].remove(value);
                    }
                }
            }
            Place::Type | Place::Everything => {}
        }
    }

    /// Every class that wants an event with these keys, as far as its most selective field goes. Each comes once.
    pub(super) fn candidates(&self, keys: &Keys, mut candidate: impl FnMut(Slot)) {
        for (field, by_value) in TextKey::ALL.into_iter().zip(&self.texts) {
            // Most fields are nobody's most selective one: then the value need not be hashed.
            if !by_value.is_empty()
                && let Some(slots) = by_value.get(field.of(keys))
            {
                slots.iter().copied().for_each(&mut candidate);
            }
        }
        if let Some(slots) = self.types.get(&keys.event_type) {
            slots.iter().copied().for_each(&mut candidate);
        }
        self.everything.iter().copied().for_each(candidate);
    }

    fn at(&mut self, filter: &Filter, mut change: impl FnMut(&mut Vec<Slot>)) {
        match Place::of(filter) {
            Place::Text(field, values) => {
                for value in values {
                    change(self.texts[field].entry(value.clone()).or_default());
                }
            }
            Place::Type => {
                for &event_type in filter.event_types() {
                    change(self.types.entry(event_type).or_default());
                }
            }
            Place::Everything => change(&mut self.everything),
        }
    }
}

/// Where a filter stands.
enum Place<'a> {
    Text(usize, &'a [String]),
    Type,
    Everything,
}

impl<'a> Place<'a> {
    fn of(filter: &'a Filter) -> Self {
        let texts = filter.texts().into_iter().enumerate();
        let chosen = texts
            .map(|(field, (_, values))| (field, values))
            .find(|(_, values)| !values.is_empty());
        match chosen {
            Some((field, values)) => Self::Text(field, values),
            None if filter.event_types().is_empty() => Self::Everything,
            None => Self::Type,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::EventFilter;

    fn texts() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[ab]", 0..3)
    }

    prop_compose! {
        fn filter()(
            types in prop::collection::vec(1i32..5, 0..3),
            agent_ids in texts(),
            call_ids in texts(),
            organization_ids in texts(),
            event_names in texts(),
            statuses in texts(),
        ) -> Filter {
            Filter::new(EventFilter { event_types: types, agent_ids, call_ids, organization_ids, event_names, statuses })
        }
    }

    prop_compose! {
        fn keys()(
            event_type in 1i32..5,
            texts in prop::array::uniform5("[abc]"),
        ) -> Keys {
            let [event_name, organization_id, agent_id, call_id, status] = texts;
            let event_type = EventType::try_from(event_type).unwrap();
            Keys { event_type, event_name, organization_id, agent_id, call_id, status }
        }
    }

    proptest! {
        #[test]
        fn it_finds_each_class_that_matches_once_and_none_that_was_removed(
            filters in prop::collection::vec((filter(), any::<bool>()), 0..20),
            keys in keys(),
        ) {
            let mut index = Index::default();
            for (slot, (filter, _)) in filters.iter().enumerate() {
                index.insert(filter, slot);
            }
            for (slot, (filter, _)) in filters.iter().enumerate().filter(|(_, (_, stays))| !stays) {
                index.remove(filter, slot);
            }
            let mut found = Vec::new();
            index.candidates(&keys, |slot| found.push(slot));
            found.retain(|&slot| filters[slot].0.matches(&keys));
            found.sort_unstable();
            let expected: Vec<Slot> = (0..filters.len()).filter(|&slot| filters[slot].1 && filters[slot].0.matches(&keys)).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn an_index_that_all_have_left_is_empty(filters in prop::collection::vec(filter(), 0..20)) {
            let mut index = Index::default();
            filters.iter().enumerate().for_each(|(slot, filter)| index.insert(filter, slot));
            filters.iter().enumerate().for_each(|(slot, filter)| index.remove(filter, slot));
            prop_assert!(index.texts.iter().all(HashMap::is_empty));
            prop_assert!(index.types.values().all(Vec::is_empty) && index.everything.is_empty());
        }
    }
}
