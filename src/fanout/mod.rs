//! Fan-out: hands each committed group to those who want it, and the log to those who come late or
//! read slowly.
//!
//! One task, the router, owns who is live. Subscribers with the same filter and view form a
//! *class*; a class's share of a group is framed once, and the queues of its subscribers share
//! that. A [`Subscription`] pops its queue; when the queue was too small, or the subscription
//! begins in the past, it reads from the log at its own pace until it has reached the head, and
//! joins the router at an exact place:
//!
//! ```text
//!  log ──catch-up reads──▶ … covered ]( covered … head ]        1. read up to the head
//!  router ─────────────────────────────────── head ]( …──▶      2. attach: what comes after `head` goes to the queue
//!                                covered ]( … head ]            3. read the rest up to `head`, then pop the queue
//! ```
//!
//! So no event is missed or sent twice, whatever happens between the steps; a queue that overflows
//! meanwhile starts again at 1.
//!
//! `fanout` knows nothing of HTTP or tonic: it yields ready gRPC messages as bytes, and typed
//! reasons for the end.

mod catchup;
mod class;
mod frame;
mod head;
mod index;
mod message;
mod metrics;
mod queue;
mod registry;
mod router;
mod subscription;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::{
    event::{Epoch, Position, Sequence},
    filter::Filter,
    log::{Earliest, Followers, Located, ReadError, Reader, cursor::Cursor},
    view::View,
};

pub use metrics::Metrics;
pub(crate) use registry::{Page, SubscriberInfo};
pub(crate) use subscription::Subscription;

use class::Classes;
use frame::Memory;
use head::Head;
use registry::Registry;
use router::{Command, Router};

/// Bounds of the fan-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Open subscriptions; one more is refused.
    pub subscribers_max: usize,
    /// Bytes that wait for one subscriber; beyond it the log serves. At least [`QUEUE_BYTES_MIN`].
    pub queue_bytes_max: usize,
    /// Bytes that wait for all subscribers together, what they share counted once. Beyond it the
    /// log serves whoever has not taken everything at once.
    pub queues_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            subscribers_max: 20_000,
            queue_bytes_max: 1024 * 1024,
            queues_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// The smallest queue that holds a whole frame with room to spare.
pub(crate) const QUEUE_BYTES_MIN: usize = 64 * 1024;
const _: () =
    assert!(QUEUE_BYTES_MIN >= 2 * frame::FRAME_BYTES && QUEUE_BYTES_MIN >= router::ROUTE_BYTES);

/// The way into the fan-out. Clones share it.
#[derive(Clone)]
pub struct Fanout {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    epoch: Epoch,
    reader: Reader,
    head: Head,
    classes: Classes,
    memory: Memory,
    catchup_encoders: Semaphore,
    catchup_turns: Arc<Semaphore>,
    registry: Registry,
    metrics: Metrics,
    /// To the router. Unbounded as a type; in fact a subscription has at most one attach and one
    /// leave in it.
    commands: mpsc::UnboundedSender<Command>,
}

/// What somebody wants to follow.
#[derive(Debug)]
pub struct Request {
    /// Which events.
    pub filter: Filter,
    /// How much of each.
    pub view: View,
    /// How messages are compressed.
    pub encoding: Encoding,
    /// From where.
    pub start: Start,
    /// After how long without another message a progress is sent.
    pub progress_interval: Duration,
    /// What to do when retention has overtaken the cursor.
    pub expired: ExpiredAction,
    /// As the subscriber calls itself.
    pub name: String,
    /// The other end of its connection.
    pub peer: String,
}

/// How the messages of a stream are compressed. Each message says for itself whether it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// With what becomes durable from now on.
    Latest,
    /// With the earliest event.
    Earliest,
    /// After a cursor.
    After(Cursor),
    /// With the first event received at or after a time.
    At(Timestamp),
}

/// What to do when the events after a cursor have been removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiredAction {
    /// End with an error.
    Fail,
    /// Tell of the gap and go on with the earliest event.
    Earliest,
}

/// Why there is no subscription.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// As many as allowed are open.
    #[error("there are {limit} subscribers, as many as this gateway takes")]
    Limit {
        /// The limit.
        limit: usize,
    },
    /// The gateway is leaving.
    #[error("the gateway is shutting down")]
    Draining,
    /// The cursor is of another log, or of a future that this log was rewound from.
    #[error("the cursor is of another log")]
    ForeignLog,
    /// The log said no.
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// Why a stream is over, if not because its client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The gateway is leaving.
    Draining,
    /// An operator wanted it.
    Disconnected,
    /// Retention has overtaken the subscriber.
    Expired(Earliest),
    /// The log is damaged.
    Damaged,
}

/// No subscriber has that id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such subscriber")]
pub struct NoSuchSubscriber;

impl Fanout {
    /// Makes the fan-out of a log; the returned future is the router, which runs until every handle
    /// is gone.
    pub fn new(
        config: Config,
        epoch: Epoch,
        reader: Reader,
        followers: Followers,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        #[expect(
            clippy::disallowed_methods,
            reason = "two commands a subscription at most"
        )]
        let (commands, received) = mpsc::unbounded_channel();
        let start = *followers.tail().borrow();
        let shared = Arc::new(Shared {
            config,
            epoch,
            reader,
            head: Head::new(start.position, start.available),
            classes: Classes::default(),
            memory: Memory::default(),
            catchup_encoders: Semaphore::new(catchup::ENCODERS),
            catchup_turns: Arc::new(Semaphore::new(catchup::TURNS)),
            registry: Registry::new(config.subscribers_max),
            metrics,
            commands,
        });
        let router = Router::new(
            Arc::downgrade(&shared),
            received,
            &followers,
            start.position.sequence,
        );
        (Self { shared }, router.run())
    }

    /// Begins a subscription. Its first message is ready at once.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub async fn subscribe(&self, request: Request) -> Result<Subscription, SubscribeError> {
        let shared = self.shared.clone();
        if let Start::Latest = request.start {
            let head = shared.head.position();
            return Ok(Subscription::new(shared, request, head, false)?
                .join_latest()
                .await);
        }
        let from_start = !matches!(request.start, Start::After(_));
        let (covered, gap) = self.resolve(request.start, request.expired).await?;
        let mut subscription = Subscription::new(shared, request, covered, from_start)?;
        if let Some(earliest) = gap {
            subscription.skip_to(&earliest);
            return Ok(subscription);
        }
        Ok(subscription.join_if_up_to_date().await)
    }

    /// The open subscriptions after the one with serial number `after`, oldest first.
    #[must_use]
    pub fn subscribers(&self, after: u64, count_max: usize) -> Page {
        self.shared
            .registry
            .page(after, count_max, self.shared.head.position().sequence)
    }

    /// Open subscriptions.
    #[must_use]
    pub fn subscriber_count(&self) -> usize {
        self.shared.registry.count()
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// If there is none with that id.
    pub fn disconnect(&self, id: &str) -> Result<(), NoSuchSubscriber> {
        self.shared.registry.disconnect(id)
    }

    /// Takes no new subscriptions from now on.
    pub fn close(&self) {
        self.shared.registry.close();
    }

    /// Routes what is durable, ends every stream behind what is in its queue, and resolves when all
    /// of them have left.
    pub async fn drain(&self) {
        self.close();
        let (done, flushed) = oneshot::channel();
        if self.shared.commands.send(Command::Flush { done }).is_ok() {
            // An error means that the router is gone: then there is nothing to flush.
            let _ = flushed.await;
        }
        self.shared.registry.end_all();
        self.shared.registry.emptied().await;
    }

    /// What the newest event is that the subscribers were given.
    #[must_use]
    pub fn head(&self) -> Sequence {
        self.shared.head.position().sequence
    }

    /// The place that a start means, and whether there is a gap to tell of before it.
    async fn resolve(
        &self,
        start: Start,
        expired: ExpiredAction,
    ) -> Result<(Position, Option<Earliest>), SubscribeError> {
        let reader = &self.shared.reader;
        let cursor = match start {
            Start::Latest => return Ok((self.shared.head.position(), None)),
            Start::Earliest => return Ok((reader.bounds().await?.earliest.before, None)),
            Start::At(time) => return Ok((reader.before_time(time).await?, None)),
            Start::After(cursor) => cursor,
        };
        if !cursor.is_of(self.shared.epoch) {
            return Err(SubscribeError::ForeignLog);
        }
        // Nothing is at the origin that could be found removed.
        let located = match reader.bounds().await?.earliest {
            earliest if cursor.sequence < earliest.before.sequence => Located::Expired(earliest),
            _ => reader.locate(cursor.sequence).await?,
        };
        match located {
            Located::Here(position) if position.id_tag == cursor.id_tag => Ok((position, None)),
            // An erased event leaves a hole; the cursor still marks its place.
            Located::Hole => Ok((cursor.position(), None)),
            Located::Here(_) | Located::Beyond => Err(SubscribeError::ForeignLog),
            // The place does not move before the gap is told.
            Located::Expired(earliest) if expired == ExpiredAction::Earliest => {
                Ok((cursor.position(), Some(earliest)))
            }
            Located::Expired(earliest) => Err(ReadError::Expired(earliest).into()),
        }
    }
}
