//! The fan-out gives each durable event to the subscribers that want it. Subscribers that come
//! late or read slowly get theirs from the log.
//!
//! One task, the router, feeds the live subscriptions. Subscriptions to the same events in the same
//! form are a *class*. The events of a group that a class wants are framed once, and the queues of
//! its subscriptions share the frames. A [`Subscription`] pops its queue. If the queue was too
//! small, or the subscription begins in the past, it reads the log at its own pace up to the head.
//! Then it joins the router at an exact place:
//!
//! ```text
//!  log ──catch-up reads──▶ … covered ]( covered … head ]    1. read up to the head
//!  router ─────────────────────────────────── head ]( …──▶  2. attach: later events queue up
//!                                covered ]( … head ]        3. read up to `head`, then the queue
//! ```
//!
//! So no event is missed or sent twice, whatever happens between the steps. If the queue overflows
//! meanwhile, the subscription begins again at 1. `standing` makes these decisions, without I/O.
//!
//! `fanout` knows nothing of HTTP or tonic: it returns gRPC messages as bytes, and typed reasons
//! for the end.

mod catchup;
mod class;
mod config;
mod end;
mod frame;
mod head;
mod index;
mod live;
mod message;
mod metrics;
mod queue;
mod registry;
mod request;
mod router;
mod seat;
mod segment;
mod standing;
mod start;
mod subscription;
#[cfg(test)]
mod tests;
mod turn;
mod woken;

use std::{future::Future, sync::Arc};

use prometheus_client::collector::Collector;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    event::{Epoch, Sequence},
    log::{Followers, Reader},
};

pub use config::Config;
pub(crate) use config::QUEUE_BYTES_MIN;
pub(crate) use end::EndReason;
pub use metrics::Metrics;
pub(crate) use registry::{NoSuchSubscriber, Page, SubscriberInfo};
pub use request::Encoding;
pub(crate) use request::{ExpiredAction, Past, Request, Start, SubscribeError};
pub(crate) use subscription::Subscription;

use catchup::Reads;
use class::{Classes, Wishes};
use frame::Memory;
use head::Head;
use live::Live;
use message::Shape;
use metrics::Subscribers;
use queue::Queue;
use registry::{Joining, Registry};
use router::{Command, Commands, Router};
use seat::Seat;
use standing::Standing;
use start::Place;
use woken::Wakings;

/// The way into the fan-out. Clones share it.
#[derive(Clone)]
pub struct Fanout {
    queue_bytes_max: usize,
    classes: Classes,
    reads: Arc<Reads>,
    head: Arc<Head>,
    registry: Arc<Registry>,
    /// Of live events, and of those that are read from the log.
    memory: [Memory; 2],
    wakings: Wakings,
    metrics: Metrics,
    router: Commands,
}

impl Fanout {
    /// Makes the fan-out of a log. The returned future is the router: it ends once all handles and
    /// all subscriptions are gone.
    pub fn new(
        config: Config,
        epoch: Epoch,
        reader: Reader,
        followers: Followers,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let tail = *followers.tail().borrow();
        let head = Arc::new(Head::new(tail.position, tail.available));
        let registry = Arc::new(Registry::new(config.subscribers_max));
        let (memory, catchup_memory) = (Memory::default(), Memory::default());
        let catchup_bytes_max = config.queues_bytes_max / 2;
        let wakings = Wakings::default();
        let live = Live::new(head.clone(), epoch, memory.clone(), config.queues_bytes_max);
        #[expect(
            clippy::disallowed_methods,
            reason = "two commands a subscription at most"
        )]
        let (commands, received) = mpsc::unbounded_channel();
        let router = Router::new(
            head.clone(),
            registry.clone(),
            received,
            &followers,
            live,
            wakings.clone(),
            config.queue_bytes_max,
        );
        let fanout = Self {
            queue_bytes_max: config.queue_bytes_max,
            classes: Classes::default(),
            reads: Arc::new(Reads::new(
                reader,
                epoch,
                catchup_memory.clone(),
                catchup_bytes_max,
                followers.erasures(),
            )),
            head,
            registry,
            memory: [memory, catchup_memory],
            wakings,
            metrics,
            router: commands,
        };
        (fanout, router.run())
    }

    /// Begins a subscription. Its first message is ready at once.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub(crate) async fn subscribe(&self, request: Request) -> Result<Subscription, SubscribeError> {
        let place = match request.start {
            Start::Latest => None,
            Start::Past(past) => Some(past.place(&self.reads, request.expired).await?),
        };
        let head = self.head.position();
        let class = self.classes.of(Wishes {
            selector: request.selector,
            shape: Shape {
                view: request.view,
                redaction: request.redaction,
                encoding: request.encoding,
            },
        });
        let record = self.registry.enter(Joining {
            name: request.name,
            peer: request.peer,
            filter: class.shared(request.filter),
            class,
            queue: Queue::new(self.queue_bytes_max, self.wakings.clone()),
            covered: place.map_or(head, |place| place.covered),
        })?;
        let (registry, router) = (self.registry.clone(), self.router.clone());
        let seat = Seat::new(record, registry, router, self.metrics.clone());
        // A subscriber that is up to date is attached before its first message, so it is never told
        // that it is catching up.
        let (place, joined) = match place {
            None => {
                let joined = seat.attach(head.sequence).await;
                (Place::at(joined.unwrap_or(head)), joined)
            }
            Some(place) if place.gap.is_none() && place.covered.sequence >= head.sequence => {
                (place, seat.attach(place.covered.sequence).await)
            }
            Some(place) => (place, None),
        };
        let (expired, interval) = (request.expired, request.progress_interval);
        let standing = Standing::new(place, joined, expired, interval, Instant::now());
        let (reads, head) = (self.reads.clone(), self.head.clone());
        Ok(Subscription::new(seat, standing, reads, head))
    }

    /// The open subscriptions after the one with serial number `after`, oldest first.
    pub(crate) fn subscribers(&self, after: u64, count_max: usize) -> Page {
        self.registry.page(after, count_max, self.head())
    }

    /// The number of open subscriptions.
    #[must_use]
    pub fn subscriber_count(&self) -> usize {
        self.registry.count()
    }

    /// Ends a subscription.
    ///
    /// # Errors
    /// If no open subscription has that id.
    pub(crate) fn disconnect(&self, id: &str) -> Result<(), NoSuchSubscriber> {
        self.registry.disconnect(id)
    }

    /// Takes no new subscriptions from now on.
    pub(crate) fn close(&self) {
        self.registry.close();
    }

    /// Routes everything durable and ends every stream after the frames in its queue. Resolves when
    /// all subscriptions have ended.
    pub(crate) async fn drain(&self) {
        self.close();
        let (done, flushed) = oneshot::channel();
        if self.router.send(Command::Flush { done }).is_ok() {
            // An error means that the router is gone: then there is nothing to flush.
            let _ = flushed.await;
        }
        self.registry.end_all();
        self.registry.emptied().await;
    }

    /// The newest event that was routed.
    pub(crate) fn head(&self) -> Sequence {
        self.head.position().sequence
    }

    /// The gauges of subscribers by state, and of their lag.
    pub(crate) fn collector(&self) -> Box<dyn Collector> {
        Box::new(Subscribers {
            registry: self.registry.clone(),
            head: self.head.clone(),
            memory: self.memory.clone(),
        })
    }
}
