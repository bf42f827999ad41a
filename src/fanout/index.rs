//! Finds the classes that may want an event, without a look at the others.
//!
//! A class is listed under the values of the most selective key of its selector, or among those
//! that want everything. An event has one value for each key, so it finds a class at most once;
//! then the other keys are compared. A class that wants nothing is not listed.

use std::collections::HashMap;

use crate::{
    event::{ByTextKey, Keys, TextKey},
    filter::Selector,
    proto::EventType,
};

/// The slots of classes, by the values that they want. The cost to enter or remove a class depends
/// only on how many values it has, and not on how many other classes want the same.
#[derive(Debug, Default)]
pub(super) struct Index {
    texts: ByTextKey<HashMap<String, List>>,
    types: HashMap<EventType, List>,
    everything: List,
    /// For each slot, its place in the list of each of its values. So a class can leave a list
    /// without a search.
    places: Vec<Vec<usize>>,
}

/// Where the router keeps a class.
pub(super) type Slot = usize;

/// The slots that want a value.
type List = Vec<Listed>;

#[derive(Clone, Copy, Debug)]
struct Listed {
    slot: Slot,
    /// Which of the slot's values this one is.
    nth: usize,
}

impl Index {
    /// Enters a class under each of its values. The slot must be free.
    pub(super) fn insert(&mut self, selector: &Selector, slot: Slot) {
        let mut places = Vec::new();
        let mut enter = |list: &mut List| {
            let nth = places.len();
            places.push(list.len());
            list.push(Listed { slot, nth });
        };
        match Place::of(selector) {
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
            Place::Nowhere => {}
        }
        if self.places.len() <= slot {
            self.places.resize_with(slot + 1, Vec::new);
        }
        self.places[slot] = places;
    }

    /// Removes what `insert` entered.
    pub(super) fn remove(&mut self, selector: &Selector, slot: Slot) {
        let places = std::mem::take(&mut self.places[slot]);
        let mut leave = |list: &mut List, at: usize| {
            list.swap_remove(at);
            // `swap_remove` has moved the last entry of the list here.
            if let Some(moved) = list.get(at) {
                self.places[moved.slot][moved.nth] = at;
            }
        };
        match Place::of(selector) {
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
            Place::Nowhere => {}
        }
    }

    /// Calls `candidate` once for each class whose most selective key matches.
    pub(super) fn candidates(&self, keys: &Keys, mut candidate: impl FnMut(Slot)) {
        let mut each = |list: &List| list.iter().for_each(|listed| candidate(listed.slot));
        for (key, by_value) in self.texts.iter() {
            // Most keys are no class's most selective one. Then the value need not be hashed.
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

/// Where a selector is listed.
enum Place<'a> {
    Text(TextKey, &'a [String]),
    Type(&'a [EventType]),
    Everything,
    /// Its class wants no event.
    Nowhere,
}

impl<'a> Place<'a> {
    fn of(selector: &'a Selector) -> Self {
        let Some(filter) = selector.as_filter() else {
            return Self::Nowhere;
        };
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
    use crate::{
        filter::tests::{any_event, any_filter, any_scope, is_returned, selector},
        proto::EventFilter,
    };

    fn selectors() -> impl Strategy<Value = Vec<(EventFilter, EventFilter)>> {
        prop::collection::vec((any_filter(), any_scope()), 0..20)
    }

    proptest! {
        #[test]
        fn it_finds_each_class_that_matches_once_and_none_that_was_removed(
            wanted in selectors(),
            stays in prop::collection::vec(any::<bool>(), 20),
            event in any_event(),
        ) {
            let selectors = wanted.iter().map(|(filter, scope)| selector(filter, scope));
            let selectors: Vec<Selector> = selectors.collect();
            let mut index = Index::default();
            for (slot, selector) in selectors.iter().enumerate() {
                index.insert(selector, slot);
            }
            // Some leave and come back, in another order.
            for (slot, selector) in selectors.iter().enumerate().rev().step_by(3) {
                index.remove(selector, slot);
                index.insert(selector, slot);
            }
            for (slot, selector) in selectors.iter().enumerate().filter(|&(slot, _)| !stays[slot]) {
                index.remove(selector, slot);
            }
            let keys = Keys::of(event.clone());
            let mut found = Vec::new();
            index.candidates(&keys, |slot| found.push(slot));
            found.retain(|&slot| selectors[slot].matches(&keys));
            found.sort_unstable();
            let is_found = |&slot: &Slot| {
                let (filter, scope) = &wanted[slot];
                stays[slot] && is_returned(filter, scope, &event)
            };
            let expected: Vec<Slot> = (0..wanted.len()).filter(is_found).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn an_index_that_all_have_left_is_empty(wanted in selectors()) {
            let selectors = wanted.iter().map(|(filter, scope)| selector(filter, scope));
            let mut index = Index::default();
            let slots = selectors.enumerate();
            slots.clone().for_each(|(slot, selector)| index.insert(&selector, slot));
            slots.for_each(|(slot, selector)| index.remove(&selector, slot));
            prop_assert!(index.texts.iter().all(|(_, by_value)| by_value.is_empty()));
            prop_assert!(index.types.values().all(Vec::is_empty) && index.everything.is_empty());
        }
    }

    /// Half a minute is hundreds of times what this takes. A search through the lists would take
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
        for filter in filters {
            let selector = selector(&filter, &EventFilter::default());
            let began = Instant::now();
            let mut index = Index::default();
            (0..CLASSES).for_each(|slot| index.insert(&selector, slot));
            // The first half leaves oldest first, the rest newest first.
            (0..CLASSES / 2).for_each(|slot| index.remove(&selector, slot));
            (CLASSES / 2..CLASSES)
                .rev()
                .for_each(|slot| index.remove(&selector, slot));
            let took = began.elapsed();
            assert!(took < Duration::from_secs(30), "{filter:?}: {took:?}");
        }
    }
}
