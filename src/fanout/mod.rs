//! Fan-out: hands each committed group to those who want it, and the log to those who come late or
//! read slowly.
//!
//! One task, the router, owns who is live. Subscribers with the same selection and shape form a
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
mod config;
mod end;
mod frame;
mod head;
mod index;
mod message;
mod metrics;
mod queue;
mod registry;
mod request;
mod router;
mod start;
mod subscription;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc};

use tokio::sync::{Semaphore, mpsc, oneshot};

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

use class::Classes;
use frame::Memory;
use head::Head;
use registry::Registry;
use router::{Command, Router};

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
    pub(crate) async fn subscribe(&self, request: Request) -> Result<Subscription, SubscribeError> {
        let shared = self.shared.clone();
        let past = match request.start {
            Start::Past(past) => past,
            Start::Latest => {
                let head = shared.head.position();
                return Ok(Subscription::new(shared, request, head, false)?
                    .join_latest()
                    .await);
            }
        };
        let place = past
            .place(&shared.reader, shared.epoch, request.expired)
            .await?;
        let mut subscription = Subscription::new(shared, request, place.covered, place.moves)?;
        if let Some(earliest) = place.gap {
            subscription.skip_to(&earliest);
            return Ok(subscription);
        }
        Ok(subscription.join_if_up_to_date().await)
    }

    /// The open subscriptions after the one with serial number `after`, oldest first.
    pub(crate) fn subscribers(&self, after: u64, count_max: usize) -> Page {
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
    pub(crate) fn disconnect(&self, id: &str) -> Result<(), NoSuchSubscriber> {
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
}
