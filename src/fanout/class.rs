//! Classes: subscribers with equal wishes, who share everything that is made for them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{catchup::Catchup, message::Shape};
use crate::filter::Filter;

/// The wishes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wishes {
    pub filter: Arc<Filter>,
    pub shape: Shape,
}

/// Number of a class within this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClassId(u64);

/// A class lives for as long as one of its subscribers.
#[derive(Debug)]
pub(super) struct Class {
    pub id: ClassId,
    pub filter: Arc<Filter>,
    pub shape: Shape,
    /// What its subscribers have read from the log of late.
    pub catchup: Arc<Catchup>,
}

/// All classes by their wishes.
#[derive(Debug, Default)]
pub(super) struct Classes {
    // A std mutex: held to look up or to sweep, never over an await.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    known: HashMap<Arc<Wishes>, Weak<Class>>,
    /// Swept when there are this many, so that the dead are never more than the living at the last sweep.
    sweep_at: usize,
}

const SWEEP_AT_MIN: usize = 64;

impl Classes {
    /// The class of these wishes.
    pub(super) fn of(&self, wishes: Wishes) -> Arc<Class> {
        let mut inner = self.lock();
        if let Some(class) = inner.known.get(&wishes).and_then(Weak::upgrade) {
            return class;
        }
        if inner.known.len() >= inner.sweep_at.max(SWEEP_AT_MIN) {
            inner.known.retain(|_, class| class.strong_count() > 0);
            inner.sweep_at = 2 * inner.known.len();
        }
        inner.next += 1;
        let filter = wishes.filter.clone();
        let class = Arc::new(Class {
            id: ClassId(inner.next),
            filter: filter.clone(),
            shape: wishes.shape,
            catchup: Catchup::new(filter, wishes.shape),
        });
        inner.known.insert(Arc::new(wishes), Arc::downgrade(&class));
        class
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics while it holds the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fanout::Encoding, proto::EventFilter, view::View};

    fn wishes(agent: &str, view: View) -> Wishes {
        let filter = EventFilter {
            agent_ids: vec![agent.into()],
            ..EventFilter::default()
        };
        Wishes {
            filter: Arc::new(Filter::new(filter)),
            shape: Shape {
                view,
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
        let id = first.id;
        drop(first);
        assert_ne!(classes.of(wishes("a", View::Basic)).id, id);
    }

    #[test]
    fn classes_that_nobody_has_are_swept() {
        let classes = Classes::default();
        for agent in 0..10_000 {
            classes.of(wishes(&agent.to_string(), View::Basic));
        }
        assert!(classes.lock().known.len() <= SWEEP_AT_MIN);
    }
}
