//! Catching up: reads of the log for a class, shared by those of its subscribers that are near each
//! other.
//!
//! Whoever comes while a read near it is on the way waits for that one, and whoever comes while
//! another subscriber still sends what was read takes the same. So a thousand subscribers that
//! return after a restart cost about as many reads as one, and what is read lives no longer than
//! somebody needs it. Few make messages of what they have read at a time, in turn, so that live
//! delivery and ingest keep the machine.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared as SharedFuture, WeakShared},
};
use tokio::{
    sync::{Semaphore, oneshot},
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Shared,
    frame::{Frame, Run},
    message::{Encoder, Shape},
};
use crate::{
    event::{Position, Sequence},
    filter::Selector,
    log::{Lane, Query, ReadError},
};

/// Events that one read takes at the most.
const READ_EVENTS_MAX: usize = 500;
/// Bytes after which a read stops, but for the one event that passes it. A subscriber that catches
/// up costs twice as much memory: what it sends, and what is read ahead meanwhile.
const READ_BYTES_MAX: usize = 128 * 1024;
/// How far behind a subscriber a read may have begun that it waits for.
const NEAR: u64 = 4 * READ_EVENTS_MAX as u64;
/// Reads of which the messages are made at the same time. How many read at the same time is the
/// log's to say: see [`Lane`].
pub(super) const ENCODERS: usize = 2;
/// Subscribers that send what they have read at the same time. More take turns, so that a live one
/// never stands behind a thousand that return.
pub(super) const TURNS: usize = 8;
/// How long a turn lasts at the most: a client that does not read must not keep others from theirs.
const TURN_MAX: Duration = Duration::from_millis(10);
/// Messages that are made without giving way to other tasks.
const MESSAGES_AT_ONCE: usize = 32;

/// What is being read for a class, and what of it is still in use.
#[derive(Debug)]
pub(super) struct Catchup {
    selector: Selector,
    shape: Shape,
    // A std mutex: held to look up or add, never over an await.
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    segments: Vec<Weak<Segment>>,
    reads: Vec<Read>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("segments", &self.segments.len())
            .field("reads", &self.reads.len())
            .finish()
    }
}

struct Read {
    after: Sequence,
    segment: WeakShared<Reading>,
}

/// A read on its way.
pub(super) type Reading = BoxFuture<'static, Result<Arc<Segment>, ReadError>>;

/// A stretch of the log as one class sees it.
#[derive(Debug)]
pub(super) struct Segment {
    after: Sequence,
    covered: Position,
    run: Run,
}

impl Segment {
    /// Whether it brings somebody further who has come to `after`.
    fn has(&self, after: Sequence) -> bool {
        self.after <= after && after < self.covered.sequence
    }

    /// Whether it has nothing to send between two places.
    pub(super) fn is_empty(&self, after: Sequence, through: Position) -> bool {
        self.cut(after, through).0.next().is_none()
    }

    /// What it has after one place and up to another, and how far that goes.
    pub(super) fn cut(
        &self,
        after: Sequence,
        through: Position,
    ) -> (impl Iterator<Item = Frame>, Position) {
        let covered = if self.covered.sequence < through.sequence {
            self.covered
        } else {
            through
        };
        (self.run.frames(after, covered.sequence), covered)
    }
}

/// Leave to send, until it is dropped or [`TURN_MAX`] is over.
#[derive(Debug)]
pub(super) struct Turn {
    _held: AbortOnDropHandle<()>,
}

impl Turn {
    /// Waits for one. A task waits and holds it, so that it ends in time even if its subscriber is
    /// not polled any more: a client that does not read must not take a turn with it, neither while
    /// it waits nor while it sends.
    pub(super) async fn take(turns: Arc<Semaphore>) -> Self {
        let (granted, wait) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "aborted with the handle")]
        let held = tokio::spawn(async move {
            // The semaphore is never closed; if it were, sending would still be right.
            let _permit = turns.acquire_owned().await;
            let _ = granted.send(());
            sleep(TURN_MAX).await;
        });
        let held = AbortOnDropHandle::new(held);
        let _ = wait.await;
        Self { _held: held }
    }
}

impl Catchup {
    pub(super) fn new(selector: Selector, shape: Shape) -> Arc<Self> {
        Arc::new(Self {
            selector,
            shape,
            inner: Mutex::default(),
        })
    }

    /// A segment for a subscriber that has come to `after` and wants to come to `through`, which
    /// lies behind it.
    ///
    /// It is read by a task of its own, which begins at once and ends with the last who waits for
    /// it: so it gives up its turn even if those who wait are not polled, as when they send what
    /// was read before.
    pub(super) fn segment(
        self: Arc<Self>,
        shared: Arc<Shared>,
        after: Sequence,
        through: Position,
    ) -> Reading {
        #[expect(clippy::disallowed_methods, reason = "ends with its read")]
        let read = tokio::spawn(self.find_or_read(shared, after, through));
        let read = AbortOnDropHandle::new(read);
        async {
            read.await
                .unwrap_or_else(|failed| Err(ReadError::Unavailable(failed.to_string().into())))
        }
        .boxed()
    }

    async fn find_or_read(
        self: Arc<Self>,
        shared: Arc<Shared>,
        after: Sequence,
        through: Position,
    ) -> Result<Arc<Segment>, ReadError> {
        loop {
            if let Some(segment) = self.segment_in_use(after) {
                return Ok(segment);
            }
            // One that ends before this place was of no use: look again, others may have begun a
            // better one meanwhile.
            let Some(reading) = self.reading_near(after) else {
                break;
            };
            match reading.await {
                Ok(segment) if segment.has(after) => return Ok(segment),
                Ok(_) => {}
                Err(error @ ReadError::Unavailable(_)) => return Err(error),
                // Perhaps about what lies before this place: this subscriber reads for itself.
                Err(ReadError::Expired(_) | ReadError::Damaged(_)) => break,
            }
        }
        let reading = Arc::clone(&self).read(shared, after, through);
        let reading = reading.boxed().shared();
        self.enter(after, &reading);
        reading.await
    }

    fn segment_in_use(&self, after: Sequence) -> Option<Arc<Segment>> {
        let inner = self.lock();
        inner
            .segments
            .iter()
            .filter_map(Weak::upgrade)
            .find(|segment| segment.has(after))
    }

    fn reading_near(&self, after: Sequence) -> Option<SharedFuture<Reading>> {
        let inner = self.lock();
        let near = |read: &&Read| read.after <= after && after.0 - read.after.0 < NEAR;
        inner
            .reads
            .iter()
            .filter(near)
            .filter_map(|read| read.segment.upgrade())
            .find(|reading| reading.peek().is_none())
    }

    fn enter(&self, after: Sequence, reading: &SharedFuture<Reading>) {
        let mut inner = self.lock();
        inner.reads.retain(|read| read.segment.upgrade().is_some());
        if let Some(segment) = reading.downgrade() {
            inner.reads.push(Read { after, segment });
        }
    }

    fn keep(&self, segment: &Arc<Segment>) {
        let mut inner = self.lock();
        inner.segments.retain(|segment| segment.strong_count() > 0);
        inner.segments.push(Arc::downgrade(segment));
    }

    async fn read(
        self: Arc<Self>,
        shared: Arc<Shared>,
        after: Sequence,
        through: Position,
    ) -> Result<Arc<Segment>, ReadError> {
        let query = Query {
            lane: Lane::for_distance(after, through.sequence),
            selector: self.selector.clone(),
            after,
            through: through.sequence,
            newest_first: false,
            events_max: READ_EVENTS_MAX,
            bytes_max: READ_BYTES_MAX,
            with_raw: self.shape.view.needs_raw(self.shape.redaction),
        };
        let batch = shared.reader.read(query).await?;
        // The semaphore is never closed; if it were, encoding would still be right.
        let _turn = match batch.events.is_empty() {
            true => None,
            false => Some(shared.catchup_encoders.acquire().await),
        };
        let mut encoder = Encoder::new(shared.epoch, self.shape, shared.memory.clone());
        let mut messages: Vec<(Position, Bytes)> = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            let message = encoder
                .event(event)
                .map_err(|error| ReadError::Damaged(error.to_string().into()))?;
            messages.push((event.position(), message));
            if messages.len().is_multiple_of(MESSAGES_AT_ONCE) {
                tokio::task::yield_now().await;
            }
        }
        let segment = Arc::new(Segment {
            after,
            covered: if batch.complete {
                through
            } else {
                batch.covered
            },
            run: Run::new(&messages, &shared.memory),
        });
        self.keep(&segment);
        Ok(segment)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics while it holds the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        task::{Context, Waker},
    };

    use super::*;

    #[tokio::test]
    async fn whoever_is_not_polled_any_more_keeps_nobody_from_a_turn() {
        let turns = Arc::new(Semaphore::new(TURNS));
        let mut stuck: Vec<_> = (0..10 * TURNS)
            .map(|_| Box::pin(Turn::take(turns.clone())))
            .collect();
        for waiting in &mut stuck {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
        }
        // They are still there, some with a turn that they do not know of.
        let _turn = Turn::take(turns).await;
        drop(stuck);
    }
}
