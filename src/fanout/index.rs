//! From an event to the classes that may want it, without asking the others.
//!
//! A class stands under the values of one field of its filter, the most selective that it has, or
//! among those that want everything. An event has one value for each field, so it meets a class at
//! most once; the class's other fields are asked then.

use std::collections::HashMap;

use crate::{
    event::{ByTextKey, Keys, TextKey},
    filter::Filter,
    proto::EventType,
};

/// Slots of classes by what they want. A class comes and goes at the cost of its own values,
/// however many others want the same.
#[derive(Debug, Default)]
pub(super) struct Index {
    texts: ByTextKey<HashMap<String, List>>,
    types: HashMap<EventType, List>,
    everything: List,
    /// Where each slot stands in the list of each of its values: it leaves without being looked
    /// for.
    places: Vec<Vec<usize>>,
}

/// Where the router keeps a class.
pub(super) type Slot = usize;

/// The slots that want a value.
type List = Vec<Entry>;

#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: Slot,
    /// Which of the slot's values this one is.
    nth: usize,
}

impl Index {
    /// Enters a class under each of its values. The slot is free.
    pub(super) fn insert(&mut self, filter: &Filter, slot: Slot) {
        let mut places = Vec::new();
        let mut enter = |list: &mut List| {
            let nth = places.len();
            places.push(list.len());
            list.push(Entry { slot, nth });
        };
        match Place::of(filter) {
            Place::Text(key, values) => {
                let by_value = &mut self.texts[key];
                for value in values {
                    match by_value.get_mut(value) {
                        Some(list) => enter(list),
                        None => enter(by_value.entry(value.clone()).or_default()),
                    }
                }
            }
            Place::Type(types) => {
                for &event_type in types {
                    enter(self.types.entry(event_type).or_default());
                }
            }
            Place::Everything => enter(&mut self.everything),
        }
        if self.places.len() <= slot {
            self.places.resize_with(slot + 1, Vec::new);
        }
        self.places[slot] = places;
    }

    /// Takes out what `insert` put in.
    pub(super) fn remove(&mut self, filter: &Filter, slot: Slot) {
        let places = std::mem::take(&mut self.places[slot]);
        let mut leave = |list: &mut List, at: usize| {
            list.swap_remove(at);
            // The last one has moved here.
            if let Some(moved) = list.get(at) {
                self.places[moved.slot][moved.nth] = at;
            }
        };
        match Place::of(filter) {
            Place::Text(key, values) => {
                let by_value = &mut self.texts[key];
                for (value, at) in values.iter().zip(places) {
                    if let Some(list) = by_value.get_mut(value) {
                        leave(list, at);
                        if list.is_empty() {
                            by_value.remove(value);
                        }
                    }
                }
            }
            Place::Type(types) => {
                for (event_type, at) in types.iter().zip(places) {
                    if let Some(list) = self.types.get_mut(event_type) {
                        leave(list, at);
                    }
                }
            }
            Place::Everything => places
                .into_iter()
                .for_each(|at| leave(&mut self.everything, at)),
        }
    }

    /// Every class that wants an event with these keys, as far as its most selective field goes.
    /// Each comes once.
    pub(super) fn candidates(&self, keys: &Keys, mut candidate: impl FnMut(Slot)) {
        let mut each = |list: &List| list.iter().for_each(|entry| candidate(entry.slot));
        for (key, by_value) in self.texts.iter() {
            // Most fields are nobody's most selective one: then the value need not be hashed.
            if !by_value.is_empty()
                && let Some(list) = by_value.get(&keys.texts[key])
            {
                each(list);
            }
        }
        if let Some(list) = self.types.get(&keys.event_type) {
            each(list);
        }
        each(&self.everything);
    }
}

/// Where a filter stands.
enum Place<'a> {
    Text(TextKey, &'a [String]),
    Type(&'a [EventType]),
    Everything,
}

impl<'a> Place<'a> {
    fn of(filter: &'a Filter) -> Self {
        let mut texts = filter.texts().iter();
        match texts.find(|(_, values)| !values.is_empty()) {
            Some((key, values)) => Self::Text(key, values),
            None if filter.event_types().is_empty() => Self::Everything,
            None => Self::Type(filter.event_types()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

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
            let event_type = EventType::try_from(event_type).unwrap();
            Keys { event_type, texts: ByTextKey::from_fn(|key| texts[key as usize].clone()) }
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
            // Some leave and come again in between, in an order that is not that in which they
            // came.
            for (slot, (filter, _)) in filters.iter().enumerate().rev().step_by(3) {
                index.remove(filter, slot);
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
            prop_assert!(index.texts.iter().all(|(_, by_value)| by_value.is_empty()));
            prop_assert!(index.types.values().all(Vec::is_empty) && index.everything.is_empty());
        }
    }

    /// Half a minute is hundreds of times what it takes; to look through all that stay would take
    /// longer.
    #[test]
    fn leaving_costs_the_same_however_many_want_the_same_value() {
        const CLASSES: usize = 200_000;
        let filters = [
            EventFilter {
                agent_ids: vec!["a".into()],
                ..EventFilter::default()
            },
            EventFilter {
                event_types: vec![1],
                ..EventFilter::default()
            },
            EventFilter::default(),
        ];
        for filter in filters.map(Filter::new) {
            let began = Instant::now();
            let mut index = Index::default();
            (0..CLASSES).for_each(|slot| index.insert(&filter, slot));
            // The oldest first, then the newest first.
            (0..CLASSES / 2).for_each(|slot| index.remove(&filter, slot));
            (CLASSES / 2..CLASSES)
                .rev()
                .for_each(|slot| index.remove(&filter, slot));
            let took = began.elapsed();
            assert!(took < Duration::from_secs(30), "{filter:?}: {took:?}");
        }
    }
}
