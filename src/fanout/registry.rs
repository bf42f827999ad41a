//! The registry of subscriptions. Others can read a subscription's record while it runs.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{class::Class, end::EndReason, queue::Queue, request::SubscribeError};
use crate::{
    event::{Position, Sequence},
    filter::Filter,
    proto::SubscriptionState,
    view::View,
};

/// The number of a subscription. Later ones of the same run have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SubscriberId(u64);

/// The record of one subscription. Only the subscription writes it.
pub(super) struct Record {
    pub serial: SubscriberId,
    /// The id that operators use. It is unique across runs.
    pub id: String,
    pub name: String,
    pub peer: String,
    /// What it asked for. The class has what it gets.
    pub filter: Arc<Filter>,
    pub class: Arc<Class>,
    pub queue: Arc<Queue>,
    pub connect_time: Timestamp,
    pub state: AtomicI32,
    pub position: AtomicU64,
    /// Receive time of the event at that position, in seconds since 1970; [`NO_TIME`] if not known.
    pub position_time: AtomicI64,
    pub delivered: AtomicU64,
}

/// What the registry needs to know of a new subscription.
pub(super) struct Joining {
    pub name: String,
    pub peer: String,
    pub filter: Arc<Filter>,
    pub class: Arc<Class>,
    pub queue: Queue,
    pub covered: Position,
}

const NO_TIME: i64 = i64::MIN;

impl Record {
    fn new(serial: SubscriberId, id: String, joining: Joining) -> Self {
        Self {
            serial,
            id,
            name: joining.name,
            peer: joining.peer,
            filter: joining.filter,
            class: joining.class,
            queue: Arc::new(joining.queue),
            connect_time: Timestamp::now(),
            state: AtomicI32::new(SubscriptionState::CatchingUp.into()),
            position: joining.covered.sequence.0.into(),
            position_time: seconds(&joining.covered).into(),
            delivered: AtomicU64::new(0),
        }
    }

    pub(super) fn cover(&self, position: &Position) {
        self.position.store(position.sequence.0, Ordering::Relaxed);
        self.position_time
            .store(seconds(position), Ordering::Relaxed);
    }

    /// Receive time of the last event that it has covered. None before the first.
    pub(super) fn position_time(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.position_time.load(Ordering::Relaxed)).ok()
    }

    pub(super) fn state(&self) -> SubscriptionState {
        SubscriptionState::try_from(self.state.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// The place that it has covered. An idle live subscription has covered everything that was
    /// routed.
    pub(super) fn position(&self, head: Sequence) -> Sequence {
        let position = Sequence(self.position.load(Ordering::Relaxed));
        let up_to_date = Position {
            sequence: head,
            ..Position::ORIGIN
        };
        match self.queue.covers(up_to_date) {
            Some(covered) if self.state() != SubscriptionState::CatchingUp => {
                covered.sequence.max(position)
            }
            _ => position,
        }
    }
}

fn seconds(position: &Position) -> i64 {
    position.receive_time.map_or(NO_TIME, Timestamp::as_second)
}

/// No open subscription has that id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such subscriber")]
pub(crate) struct NoSuchSubscriber;

/// A subscriber as operators see it.
#[derive(Clone, Debug)]
pub(crate) struct SubscriberInfo {
    /// Subscriptions are numbered as they begin; pages use the number.
    pub serial: u64,
    /// For [`super::Fanout::disconnect`].
    pub id: String,
    /// As it calls itself.
    pub name: String,
    /// Address and port.
    pub peer: String,
    /// What it asked for.
    pub filter: Arc<Filter>,
    /// How much of each event it gets.
    pub view: View,
    /// Whether it is up to date.
    pub state: SubscriptionState,
    /// The place that it has covered.
    pub position: Sequence,
    /// Events sent.
    pub delivered: u64,
    /// When it subscribed.
    pub connect_time: Timestamp,
}

/// Some subscribers, oldest first.
#[derive(Debug)]
pub(crate) struct Page {
    pub subscribers: Vec<SubscriberInfo>,
    /// Where the next page begins, if there is one.
    pub next_after: Option<u64>,
}

pub(super) struct Registry {
    count_max: usize,
    /// Part of every id, so that an id of an earlier run finds nobody.
    run: u32,
    emptied: Notify,
    // A std mutex: held to look up, add, remove or list, never over an await.
    members: Mutex<Members>,
}

struct Members {
    next: u64,
    draining: bool,
    records: BTreeMap<SubscriberId, Arc<Record>>,
}

impl Registry {
    pub(super) fn new(count_max: usize) -> Self {
        let members = Members {
            next: 1,
            draining: false,
            records: BTreeMap::new(),
        };
        Self {
            count_max,
            run: rand::random(),
            emptied: Notify::new(),
            members: Mutex::new(members),
        }
    }

    /// Makes a record with a number of its own, if there is room.
    pub(super) fn enter(&self, joining: Joining) -> Result<Arc<Record>, SubscribeError> {
        let mut members = self.lock();
        if members.draining {
            return Err(SubscribeError::Draining);
        }
        if members.records.len() >= self.count_max {
            return Err(SubscribeError::Limit {
                limit: self.count_max,
            });
        }
        let serial = SubscriberId(members.next);
        members.next += 1;
        let id = format!("{:08x}{:08x}", self.run, serial.0);
        let record = Arc::new(Record::new(serial, id, joining));
        members.records.insert(serial, record.clone());
        Ok(record)
    }

    pub(super) fn leave(&self, serial: SubscriberId) {
        let mut members = self.lock();
        members.records.remove(&serial);
        if members.records.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Resolves when no subscription is open.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.lock().records.len()
    }

    pub(super) fn records(&self) -> Vec<Arc<Record>> {
        self.lock().records.values().cloned().collect()
    }

    pub(super) fn page(&self, after: u64, count_max: usize, head: Sequence) -> Page {
        let members = self.lock();
        let mut rest = members
            .records
            .range(SubscriberId(after.saturating_add(1))..);
        let records: Vec<Arc<Record>> = rest
            .by_ref()
            .take(count_max)
            .map(|(_, record)| record.clone())
            .collect();
        let more = rest.next().is_some();
        drop(members);
        let next_after = records
            .last()
            .filter(|_| more)
            .map(|record| record.serial.0);
        let info = |record: Arc<Record>| SubscriberInfo {
            serial: record.serial.0,
            id: record.id.clone(),
            name: record.name.clone(),
            peer: record.peer.clone(),
            filter: record.filter.clone(),
            view: record.class.shape.view,
            state: record.state(),
            position: record.position(head),
            delivered: record.delivered.load(Ordering::Relaxed),
            connect_time: record.connect_time,
        };
        Page {
            subscribers: records.into_iter().map(info).collect(),
            next_after,
        }
    }

    pub(super) fn disconnect(&self, id: &str) -> Result<(), NoSuchSubscriber> {
        let serial = id
            .strip_prefix(&format!("{:08x}", self.run))
            .and_then(|serial| u64::from_str_radix(serial, 16).ok())
            .ok_or(NoSuchSubscriber)?;
        let serial = SubscriberId(serial);
        let mut members = self.lock();
        let record = members
            .records
            .get(&serial)
            .filter(|record| record.id == id)
            .cloned();
        let record = record.ok_or(NoSuchSubscriber)?;
        // The place is free at once, although a slow client learns of the end later.
        members.records.remove(&serial);
        drop(members);
        record.queue.end(EndReason::Disconnected);
        Ok(())
    }

    /// Asks live subscriptions where they stand, if they last said a place before this one.
    pub(super) fn ask_behind(&self, place: Sequence) {
        let records = self.records();
        let is_behind = |record: &&Arc<Record>| {
            let said = record.position.load(Ordering::Relaxed);
            said < place.0 && record.state() != SubscriptionState::CatchingUp
        };
        for record in records.iter().filter(is_behind) {
            record.queue.ask();
        }
    }

    /// Makes every subscription look at the log's state.
    pub(super) fn nudge_all(&self) {
        self.records()
            .iter()
            .for_each(|record| record.queue.nudge());
    }

    /// Lets no subscription begin from now on.
    pub(super) fn close(&self) {
        self.lock().draining = true;
    }

    /// Ends every subscription after its queued frames.
    pub(super) fn end_all(&self) {
        self.records()
            .iter()
            .for_each(|record| record.queue.end(EndReason::Draining));
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        // No code panics while it holds the lock.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
