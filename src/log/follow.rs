//! Following the log: from any place, in order, with nothing left out.
//!
//! The appender sends each group that it has committed into a bounded broadcast. A follower takes
//! groups from there without a read. If it begins in the past or was too slow, it reads older
//! groups from the file. A follower never holds up the appender or another follower, whatever it
//! does.

use futures_util::future::BoxFuture;
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, sleep_until},
};

use super::{
    error::{RETRY_INTERVAL, ReadError},
    query::{Batch, Damage, Earliest, Lane, Query},
    sqlite::Reader,
};
use crate::{
    event::{Group, Position, Sequence, StoredEvent},
    filter::Selector,
};

/// Groups that the broadcast keeps for the slowest follower, which reads older ones from the file.
const GROUPS_MAX: usize = 64;
/// The most events that one read of the file returns.
const READ_EVENTS_MAX: usize = 1_000;
/// Bytes after which a read of the file stops.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The newest durable event.
    pub position: Position,
    /// Whether events can be committed.
    pub available: bool,
}

/// Makes the two ends of following. `tail` says where the log ends now.
pub fn followers(reader: Reader, tail: Tail) -> (Publisher, Followers) {
    let (groups, _) = broadcast::channel(GROUPS_MAX);
    let (tail, moves) = watch::channel(tail);
    let (leaving, will_leave) = watch::channel(Sequence::ZERO);
    let (erased, erasures) = watch::channel(0);
    let publisher = Publisher {
        groups: groups.clone(),
        tail,
        leaving,
        erased,
    };
    let followers = Followers {
        groups,
        tail: moves,
        leaving: will_leave,
        erasures,
        reader,
    };
    (publisher, followers)
}

/// The appender's end. The log has ended for its followers when all clones are dropped.
#[derive(Clone)]
pub struct Publisher {
    groups: broadcast::Sender<Group>,
    tail: watch::Sender<Tail>,
    leaving: watch::Sender<Sequence>,
    erased: watch::Sender<u64>,
}

impl Publisher {
    /// Publishes a durable group: first the group, then the tail. So a follower that sees the tail
    /// finds the group.
    pub fn committed(&self, group: Group) {
        let Some(last) = group.last() else { return };
        let position = last.position();
        // An error means that nobody follows.
        let _ = self.groups.send(group);
        self.tail.send_modify(|tail| tail.position = position);
    }

    /// Moves the tail without a group: followers read the events before it from the file.
    pub(super) fn moved(&self, tail: Tail) {
        self.tail.send_replace(tail);
    }

    /// Where retention announces the last event that it will soon remove.
    pub(super) fn leaving(&self) -> watch::Sender<Sequence> {
        self.leaving.clone()
    }

    /// Where an erasure counts each time that it has erased events.
    pub(super) fn erased(&self) -> watch::Sender<u64> {
        self.erased.clone()
    }

    /// Tells followers whether the log can take events.
    pub(super) fn available(&self, available: bool) {
        self.tail.send_if_modified(|tail| {
            std::mem::replace(&mut tail.available, available) != available
        });
    }
}

/// Makes followers of a log. All clones are equal.
#[derive(Clone)]
pub struct Followers {
    groups: broadcast::Sender<Group>,
    tail: watch::Receiver<Tail>,
    leaving: watch::Receiver<Sequence>,
    erasures: watch::Receiver<u64>,
    reader: Reader,
}

impl Followers {
    /// Follows from right after this place.
    pub(crate) fn from(&self, after: Sequence) -> Follower {
        Follower {
            reader: self.reader.clone(),
            available: self.tail.borrow().available,
            tail: self.tail.clone(),
            groups: self.groups.subscribe(),
            position: after,
            held: None,
            reading: None,
            retry_at: None,
            is_urgent: false,
        }
    }

    /// Where the log ends. The value changes as it grows.
    pub(crate) fn tail(&self) -> watch::Receiver<Tail> {
        self.tail.clone()
    }

    /// Grows each time that events were erased. What was read before may hold what was erased.
    pub(crate) fn erasures(&self) -> watch::Receiver<u64> {
        self.erasures.clone()
    }

    /// The last event that retention will soon remove.
    pub(crate) fn leaving(&self) -> watch::Receiver<Sequence> {
        self.leaving.clone()
    }
}

/// What comes next in the log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Followed {
    /// At least one event, in order.
    Group(Group),
    /// Retention has removed the next events before this follower had them. It goes on after them.
    Removed(Earliest),
    /// The next events cannot be read. It goes on after them.
    Damaged(Damage),
    /// The log takes events again, or takes none: [`Tail::available`].
    Available(bool),
}

/// Yields the events of the log in order, from one place on.
pub(crate) struct Follower {
    reader: Reader,
    tail: watch::Receiver<Tail>,
    /// What was last yielded of [`Tail::available`].
    available: bool,
    groups: broadcast::Receiver<Group>,
    /// All events up to here were yielded or are gone.
    position: Sequence,
    /// A group from the broadcast with a hole before it.
    held: Option<Group>,
    /// A read that runs. It is kept here, so that a call that is dropped does not lose it.
    reading: Option<Reading>,
    /// When to try the file again.
    retry_at: Option<Instant>,
    is_urgent: bool,
}

struct Reading {
    through: Sequence,
    batch: BoxFuture<'static, Result<Batch, ReadError>>,
}

impl Follower {
    /// Reads in the lane of look-ups, ahead of subscribers. Only the router may do so, since every
    /// live subscriber waits for it. Other followers read in the lane of subscribers that are as
    /// far behind.
    pub(crate) fn urgent(self) -> Self {
        Self {
            is_urgent: true,
            ..self
        }
    }

    /// Where the log ends.
    pub(crate) fn tail(&self) -> Tail {
        *self.tail.borrow()
    }

    /// Waits for what comes next. While the file cannot be read, it is tried again from time to
    /// time. None once the log is closed and everything in it was yielded.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Followed> {
        loop {
            let tail = *self.tail.borrow_and_update();
            if tail.available != self.available {
                self.available = tail.available;
                return Some(Followed::Available(tail.available));
            }
            // A read of the file may take long. Whether the log takes events is yielded meanwhile.
            let mut standing = self.tail.clone();
            let next = tokio::select! {
                biased;
                next = self.next_or_retry(tail.position.sequence) => next,
                Ok(_) = standing.wait_for(|now| now.available != tail.available) => continue,
            };
            match next {
                Ok(Some(followed)) => return Some(followed),
                Ok(None) => self.tail.changed().await.ok()?,
                // `next_through` has set the time to try again.
                Err(_) => {}
            }
        }
    }

    async fn next_or_retry(&mut self, through: Sequence) -> Result<Option<Followed>, ReadError> {
        if let Some(at) = self.retry_at {
            sleep_until(at).await;
            self.retry_at = None;
        }
        self.next_through(through).await
    }

    /// What comes next, up to a place that the log has reached: at once, or after a read. None if
    /// all up to there was yielded. The group that contains the place is yielded whole.
    ///
    /// Cancel safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn next_through(
        &mut self,
        through: Sequence,
    ) -> Result<Option<Followed>, ReadError> {
        while self.position < through {
            if let Some(group) = self.waiting() {
                return Ok(Some(Followed::Group(group)));
            }
            if let Some(followed) = self.read(through).await? {
                return Ok(Some(followed));
            }
        }
        Ok(None)
    }

    /// The next group, if it is here already.
    pub(crate) fn waiting(&mut self) -> Option<Group> {
        if self.reading.is_some() {
            return None;
        }
        loop {
            let group = match self.held.take() {
                Some(group) => group,
                None => self.receive()?,
            };
            let (first, last) = (group.first()?.sequence, group.last()?.sequence);
            if first > self.position.next() {
                self.held = Some(group);
                return None;
            }
            let covered = group.partition_point(|event| event.sequence <= self.position);
            self.position = self.position.max(last);
            match covered {
                0 => return Some(group),
                covered if covered < group.len() => return Some(group[covered..].into()),
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> Option<Group> {
        loop {
            match self.groups.try_recv() {
                Ok(group) => return Some(group),
                // The next receive yields the oldest group that is left. Earlier ones are in the
                // file.
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return None,
            }
        }
    }

    /// Reads what lies before the held group, or up to `through`. None if there is nothing to read.
    async fn read(&mut self, through: Sequence) -> Result<Option<Followed>, ReadError> {
        let held = self.held.as_ref().and_then(|group| group.first());
        let before_held = held.map_or(through, |first| Sequence(first.sequence.0 - 1));
        let through = through.min(before_held);
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => none.insert(Reading::start(
                self.reader.clone(),
                self.is_urgent,
                self.position,
                through,
            )),
        };
        let result = (&mut reading.batch).await;
        let through = reading.through;
        self.reading = None;
        match result {
            Ok(batch) => {
                self.retry_at = None;
                // Sequences may skip.
                self.position = match batch.complete {
                    true => through,
                    false => batch.covered.sequence,
                };
                let events: Vec<StoredEvent> = batch.events;
                Ok((!events.is_empty()).then(|| Followed::Group(events.into())))
            }
            Err(ReadError::Expired(earliest)) => {
                self.position = earliest.before.sequence;
                Ok(Some(Followed::Removed(earliest)))
            }
            Err(ReadError::Damaged {
                damage: Some(damage),
                ..
            }) => {
                self.position = damage.end;
                Ok(Some(Followed::Damaged(damage)))
            }
            Err(error) => {
                tracing::warn!(%error, "cannot follow the log");
                self.retry_at = Some(Instant::now() + RETRY_INTERVAL);
                Err(error)
            }
        }
    }
}

impl Reading {
    fn start(reader: Reader, is_urgent: bool, after: Sequence, through: Sequence) -> Self {
        let query = Query {
            lane: match is_urgent {
                true => Lane::Now,
                false => Lane::for_distance(after, through),
            },
            selector: Selector::default(),
            after,
            through,
            newest_first: false,
            events_max: READ_EVENTS_MAX,
            bytes_max: READ_BYTES_MAX,
            with_raw: true,
        };
        Self {
            through,
            batch: Box::pin(async move { reader.read(query).await }),
        }
    }
}
