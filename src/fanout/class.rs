//! Classes: subscribers that want the same events in the same form. They share what is made for
//! them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{catchup::Catchup, message::Shape};
use crate::filter::{Filter, Selector};

/// Which events a subscriber gets, and in which form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wishes {
    pub selector: Selector,
    pub shape: Shape,
}

/// The number of a class. No other class of this run has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClassId(u64);

/// A class lives, and can be found, as long as one of its subscribers.
#[derive(Debug)]
pub(super) struct Class {
    pub id: ClassId,
    pub selector: Selector,
    pub shape: Shape,
    /// The log reads of its subscribers.
    pub catchup: Arc<Catchup>,
    known: Arc<Mutex<Known>>,
}

/// All classes by their wishes.
#[derive(Clone, Debug, Default)]
pub(super) struct Classes {
    // A std mutex: held to look up, add or remove one, never over an await.
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    next: u64,
    classes: HashMap<Wishes, (ClassId, Weak<Class>)>,
}

impl Classes {
    /// The class of these wishes.
    pub(super) fn of(&self, wishes: Wishes) -> Arc<Class> {
        let mut known = lock(&self.known);
        if let Some((_, class)) = known.classes.get(&wishes)
            && let Some(class) = class.upgrade()
        {
            return class;
        }
        known.next += 1;
        let id = ClassId(known.next);
        let selector = wishes.selector.clone();
        let class = Arc::new(Class {
            id,
            selector: selector.clone(),
            shape: wishes.shape,
            catchup: Catchup::new(selector, wishes.shape),
            known: self.known.clone(),
        });
        known.classes.insert(wishes, (id, Arc::downgrade(&class)));
        class
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.known).classes.len()
    }
}

impl Class {
    /// The filter that a subscriber asked for. If the class has an equal one, both share it.
    pub(super) fn shared(&self, asked: Arc<Filter>) -> Arc<Filter> {
        match self.selector.as_filter() {
            Some(filter) if *filter == asked => filter.clone(),
            _ => asked,
        }
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        let wishes = Wishes {
            selector: self.selector.clone(),
            shape: self.shape,
        };
        let mut known = lock(&self.known);
        // Since the last subscriber left, a new class may have taken this entry.
        if let Some((id, _)) = known.classes.get(&wishes)
            && *id == self.id
        {
            known.classes.remove(&wishes);
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // No code panics while it holds the lock.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fanout::request::Encoding,
        filter::tests::selector,
        proto::EventFilter,
        view::{Redaction, View},
    };

    fn wishes(agent: &str, view: View) -> Wishes {
        let filter = EventFilter {
            agent_ids: vec![agent.into()],
            ..EventFilter::default()
        };
        Wishes {
            selector: selector(&filter, &EventFilter::default()),
            shape: Shape {
                view,
                redaction: Redaction::default(),
                encoding: Encoding::Identity,
            },
        }
    }

    #[test]
    fn equal_wishes_are_one_class_while_somebody_has_it() {
        let classes = Classes::default();
        let first = classes.of(wishes("a", View::Basic));
        assert!(Arc::ptr_eq(&first, &classes.of(wishes("a", View::Basic))));
        assert!(!Arc::ptr_eq(&first, &classes.of(wishes("b", View::Basic))));
        assert!(!Arc::ptr_eq(&first, &classes.of(wishes("a", View::Raw))));
        let mut redacted = wishes("a", View::Basic);
        redacted.shape.redaction.transfer_to = true;
        assert!(!Arc::ptr_eq(&first, &classes.of(redacted)));
        let id = first.id;
        drop(first);
        assert_ne!(classes.of(wishes("a", View::Basic)).id, id);
    }

    #[test]
    fn classes_that_nobody_has_are_forgotten() {
        let classes = Classes::default();
        let kept = classes.of(wishes("kept", View::Basic));
        for agent in 0..1_000 {
            classes.of(wishes(&agent.to_string(), View::Basic));
        }
        assert_eq!(classes.count(), 1);
        assert!(Arc::ptr_eq(&kept, &classes.of(wishes("kept", View::Basic))));
    }
}
