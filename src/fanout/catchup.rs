//! Catching up: reads of the log for a class. Subscribers at nearby places share them.
//!
//! A subscriber waits for a read that another one has begun nearby, and uses segments that another
//! one is still sending. So a thousand subscribers that return after a restart cost about as many
//! reads as one, and a segment is freed once nobody needs it. Only a few reads are encoded at the
//! same time, so that live delivery and ingest get the processor.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use super::{
    frame::{FRAME_BYTES, Memory, Run},
    message::{Encoder, Shape},
    segment::Segment,
    turn::{Turn, Turns},
};
use crate::{
    event::{Epoch, Position, Sequence},
    filter::Selector,
    log::{Damage, Lane, Query, ReadError, Reader},
};

/// The most events that one read returns.
const READ_EVENTS_MAX: usize = 500;
/// A read stops after the event that passes this many bytes. A subscriber that catches up holds
/// twice as much memory: the segment that it sends, and the next one, which is read meanwhile.
const READ_BYTES_MAX: usize = 128 * 1024;
/// The same while memory is crowded. Then a subscriber holds one such segment only.
const CROWDED_READ_BYTES_MAX: usize = FRAME_BYTES;
/// A subscriber waits for another one's read if that began less than this many places before.
const NEAR: u64 = 4 * READ_EVENTS_MAX as u64;
/// The most reads whose events are encoded at the same time. The log decides how many read at the
/// same time: see [`Lane`].
const ENCODERS: usize = 2;
/// Other tasks may run after this many messages.
const MESSAGES_AT_ONCE: usize = 32;

/// What all catch-up reads share.
pub(super) struct Reads {
    pub reader: Reader,
    pub epoch: Epoch,
    pub turns: Turns,
    /// Of segments, until the last subscriber has sent them.
    memory: Memory,
    /// Above this many bytes, segments are short and no subscriber reads ahead.
    bytes_max: usize,
    encoders: Semaphore,
    erasures: watch::Receiver<u64>,
}

/// The reads of one class, and the segments that they have found.
#[derive(Debug)]
pub(super) struct Catchup {
    selector: Selector,
    shape: Shape,
    // A std mutex: held to look up or add, never over an await.
    shareable: Mutex<Shareable>,
}

/// What other subscribers of the class can use.
#[derive(Default)]
struct Shareable {
    /// Segments that somebody still uses.
    segments: Vec<Weak<Segment>>,
    /// Reads that run, by the place after which they read, and the erasures before them.
    running: Vec<(Sequence, u64, WeakShared<Finding>)>,
}

impl std::fmt::Debug for Shareable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shareable")
            .field("segments", &self.segments.len())
            .field("running", &self.running.len())
            .finish()
    }
}

type Finding = BoxFuture<'static, Result<Arc<Segment>, ReadError>>;

/// A segment, and a turn to send it if it has something to send.
pub(super) type CatchupRead = Result<(Arc<Segment>, Option<Turn>), ReadError>;

impl Reads {
    pub(super) fn new(
        reader: Reader,
        epoch: Epoch,
        memory: Memory,
        bytes_max: usize,
        erasures: watch::Receiver<u64>,
    ) -> Self {
        Self {
            reader,
            epoch,
            turns: Turns::default(),
            memory,
            bytes_max,
            encoders: Semaphore::new(ENCODERS),
            erasures,
        }
    }

    /// How often events were erased. What was read before the last time may hold what was erased.
    pub(super) fn erasures(&self) -> u64 {
        *self.erasures.borrow()
    }

    /// Whether those that catch up hold as much as they may together. Clients that do not read can
    /// keep it so for long, so the others still go on, with less for each.
    pub(super) fn is_crowded(&self) -> bool {
        self.memory.in_use() > self.bytes_max
    }
}

impl Catchup {
    pub(super) fn new(selector: Selector, shape: Shape) -> Arc<Self> {
        Arc::new(Self {
            selector,
            shape,
            shareable: Mutex::default(),
        })
    }

    /// Finds or reads a segment for a subscriber that has covered `after` and wants to reach
    /// `through`, a later place.
    ///
    /// A task of its own reads. It begins at once, and ends when nobody waits for it any more. So
    /// the next read goes on while its subscriber sends, and its permit to encode is returned even
    /// if nobody polls the subscriber.
    pub(super) fn read(
        self: Arc<Self>,
        reads: Arc<Reads>,
        after: Sequence,
        through: Position,
    ) -> impl Future<Output = CatchupRead> + Send + use<> {
        #[expect(clippy::disallowed_methods, reason = "ends with its read")]
        let finding = tokio::spawn(self.find_or_read(reads.clone(), after, through));
        let finding = AbortOnDropHandle::new(finding);
        async move {
            let segment = finding
                .await
                .unwrap_or_else(|failed| Err(ReadError::Unavailable(failed.to_string().into())))?;
            let turn = match segment.is_empty(after, through) {
                true => None,
                false => Some(reads.turns.take().await),
            };
            Ok((segment, turn))
        }
    }

    async fn find_or_read(
        self: Arc<Self>,
        reads: Arc<Reads>,
        after: Sequence,
        through: Position,
    ) -> Result<Arc<Segment>, ReadError> {
        let erasures = loop {
            let erasures = reads.erasures();
            if let Some(segment) = self.segment_in_use(after, erasures) {
                return Ok(segment);
            }
            // If that read ends before `after`, it does not help. Then this looks again: another
            // subscriber may have begun a better one meanwhile.
            let Some(running) = self.running_near(after, erasures) else {
                break erasures;
            };
            match running.await {
                Ok(segment) if segment.helps(after, reads.erasures()) => return Ok(segment),
                Ok(_) => {}
                Err(error @ ReadError::Unavailable(_)) => return Err(error),
                // The error may be about events before `after`, so this subscriber reads for
                // itself.
                Err(ReadError::Expired(_) | ReadError::Damaged { .. }) => break erasures,
            }
        };
        let finding = Arc::clone(&self).read_log(reads, after, through, erasures);
        let finding = finding.boxed().shared();
        self.share_running(after, erasures, &finding);
        finding.await
    }

    fn segment_in_use(&self, after: Sequence, erasures: u64) -> Option<Arc<Segment>> {
        let shareable = self.lock();
        let mut in_use = shareable.segments.iter().filter_map(Weak::upgrade);
        in_use.find(|segment| segment.helps(after, erasures))
    }

    fn running_near(&self, after: Sequence, erasures: u64) -> Option<Shared<Finding>> {
        let shareable = self.lock();
        let near = |began: Sequence| began <= after && after.0 - began.0 < NEAR;
        let mut running = shareable
            .running
            .iter()
            .filter(|(began, known, _)| near(*began) && *known == erasures)
            .filter_map(|(.., finding)| finding.upgrade());
        running.find(|finding| finding.peek().is_none())
    }

    fn share_running(&self, after: Sequence, erasures: u64, finding: &Shared<Finding>) {
        let mut shareable = self.lock();
        shareable
            .running
            .retain(|(.., finding)| finding.upgrade().is_some());
        if let Some(finding) = finding.downgrade() {
            shareable.running.push((after, erasures, finding));
        }
    }

    fn share(&self, segment: &Arc<Segment>) {
        let mut shareable = self.lock();
        shareable
            .segments
            .retain(|segment| segment.strong_count() > 0);
        shareable.segments.push(Arc::downgrade(segment));
    }

    async fn read_log(
        self: Arc<Self>,
        reads: Arc<Reads>,
        after: Sequence,
        through: Position,
        erasures: u64,
    ) -> Result<Arc<Segment>, ReadError> {
        let query = Query {
            lane: Lane::for_distance(after, through.sequence),
            selector: self.selector.clone(),
            after,
            through: through.sequence,
            newest_first: false,
            events_max: READ_EVENTS_MAX,
            bytes_max: match reads.is_crowded() {
                true => CROWDED_READ_BYTES_MAX,
                false => READ_BYTES_MAX,
            },
            with_raw: self.shape.needs_raw(),
        };
        let batch = reads.reader.read(query).await?;
        // The semaphore is never closed; if it were, encoding would still be right.
        let _encoder = match batch.events.is_empty() {
            true => None,
            false => Some(reads.encoders.acquire().await),
        };
        let mut encoder = Encoder::new(reads.epoch, self.shape, reads.memory.clone());
        let mut messages: Vec<(Position, Bytes)> = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            let message = encoder.event(event).map_err(|error| ReadError::Damaged {
                damage: Some(Damage::at(event.sequence)),
                what: error.to_string().into(),
            })?;
            messages.push((event.position(), message));
            if messages.len().is_multiple_of(MESSAGES_AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
        let covered = match batch.complete {
            true => through,
            false => batch.covered,
        };
        let run = Run::new(&messages, &reads.memory);
        let segment = Arc::new(Segment::new(after, covered, run, erasures));
        self.share(&segment);
        Ok(segment)
    }

    fn lock(&self) -> MutexGuard<'_, Shareable> {
        // No code panics while it holds the lock.
        self.shareable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
