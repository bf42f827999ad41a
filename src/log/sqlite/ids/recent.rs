//! The events that are in no run yet, in memory: the writer puts them in, and readers look them up.
//!
//! The writer never waits for readers: what it cannot put in, because one of them is looking, it
//! keeps until the next group. So readers are told up to which place all is there.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use super::batch::{Batch, UNKNOWN};
use crate::event::{EventId, Sequence};

/// The readers' side.
#[derive(Default)]
pub(crate) struct Recent(RwLock<Held>);

#[derive(Default)]
struct Held {
    /// Events up to here are in runs.
    after: Sequence,
    /// All behind that and up to here are in one of the batches.
    through: Sequence,
    frozen: Option<Arc<Batch>>,
    filling: Batch,
}

/// What was known at one moment of some of the events behind `after`, up to `through`.
#[derive(Default)]
pub(crate) struct Known {
    after: Sequence,
    through: Sequence,
    /// Where they are, in order. Their rows may be gone.
    pub(crate) places: Vec<Sequence>,
}

impl Known {
    /// Up to where all is known, if what lies at or before `indexed` is known from elsewhere.
    pub(crate) fn reach(&self, indexed: Sequence) -> Sequence {
        match self.after <= indexed {
            true => self.through.max(indexed),
            false => indexed,
        }
    }
}

impl Recent {
    /// Where the event with this id was put.
    pub(crate) fn of_id(&self, id: EventId) -> Known {
        let held = self.read();
        let batches = held.batches();
        held.known(batches.filter_map(|batch| batch.place(id)).collect())
    }

    /// Where the events of these agents are, as far as they are in a stretch.
    pub(crate) fn of_agents(&self, agents: &[String], after: Sequence, through: Sequence) -> Known {
        let held = self.read();
        let mut places = Vec::new();
        for batch in held.batches() {
            for agent in agents.iter().map(String::as_str).chain([UNKNOWN]) {
                places.extend(batch.of_agent(agent, after, through));
            }
        }
        let mut known = held.known(places);
        drop(held);
        known.places.sort_unstable();
        known
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        // No code panics while it holds the lock.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.frozen.as_deref().into_iter().chain([&self.filling])
    }

    fn known(&self, places: Vec<Sequence>) -> Known {
        Known {
            after: self.after,
            through: self.through,
            places,
        }
    }
}

/// The writer's side.
pub(super) struct Unsorted {
    recent: Arc<Recent>,
    /// Events up to here are in runs.
    indexed: Sequence,
    /// The batch of which a run is being made.
    frozen: Option<Arc<Batch>>,
    /// The newest events, if readers were not told of them yet.
    kept: Vec<(EventId, Sequence, Box<str>)>,
}

impl Unsorted {
    /// Begins anew, without an event.
    pub(super) fn new(recent: Arc<Recent>, indexed: Sequence) -> Self {
        let mut unsorted = Self {
            recent,
            indexed,
            frozen: None,
            kept: Vec::new(),
        };
        unsorted.fill(Batch::default());
        unsorted
    }

    /// Takes the events that the file has, before others come.
    pub(super) fn fill(&mut self, filling: Batch) {
        *self
            .recent
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Held {
            after: self.indexed,
            through: self.indexed.max(filling.last),
            frozen: None,
            filling,
        };
    }

    pub(super) fn indexed(&self) -> Sequence {
        self.indexed
    }

    pub(super) fn frozen(&self) -> Option<&Arc<Batch>> {
        self.frozen.as_ref()
    }

    /// Where events with this id were put, the newest first. Their rows may be gone.
    pub(super) fn places(&self, id: EventId) -> impl Iterator<Item = Sequence> + use<> {
        let kept = self.kept.iter().rev().find(|(kept, ..)| *kept == id);
        let filling = self.recent.read().filling.place(id);
        let frozen = self.frozen.as_ref().and_then(|batch| batch.place(id));
        let places = [kept.map(|(_, place, _)| *place), filling, frozen];
        places.into_iter().flatten()
    }

    /// Takes events that have become durable, in their order.
    pub(super) fn insert<'e>(
        &mut self,
        events: impl IntoIterator<Item = (EventId, Sequence, &'e str)>,
    ) {
        let events = events.into_iter();
        self.kept
            .extend(events.map(|(id, sequence, agent)| (id, sequence, agent.into())));
        self.tell();
    }

    /// Puts in what was kept.
    fn tell(&mut self) {
        let Some(mut held) = Self::write(&self.recent) else {
            return;
        };
        for (id, sequence, agent) in self.kept.drain(..) {
            held.filling.insert(Some(id), sequence, &agent);
        }
        held.after = self.indexed;
        let frozen = self
            .frozen
            .as_ref()
            .map_or(self.indexed, |batch| batch.last);
        held.through = held.filling.last.max(frozen);
        let old = std::mem::replace(&mut held.frozen, self.frozen.clone());
        drop(held);
        // It may be large.
        drop(old);
    }

    /// None if a reader is looking.
    fn write(recent: &Recent) -> Option<RwLockWriteGuard<'_, Held>> {
        match recent.0.try_write() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether so many events wait for a run, beside those of which one is being made.
    pub(super) fn is_full(&self, events: usize) -> bool {
        self.recent.read().filling.is_full(events)
    }

    /// Begins the next batch once this one is full, if no run is being made.
    pub(super) fn freeze(&mut self, events: usize) {
        if self.frozen.is_none()
            && self.is_full(events)
            && let Some(mut held) = Self::write(&self.recent)
        {
            let batch = Arc::new(std::mem::take(&mut held.filling));
            held.frozen = Some(batch.clone());
            held.after = self.indexed;
            self.frozen = Some(batch);
        }
    }

    /// A run has been made of the events up to here.
    pub(super) fn sorted(&mut self, through: Sequence) {
        self.indexed = through;
        self.frozen = None;
    }
}
