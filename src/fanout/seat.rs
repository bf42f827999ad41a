use std::sync::{Arc, atomic::Ordering};

use tokio::sync::oneshot;

use super::{
    end::{self, End},
    metrics::Metrics,
    registry::{Record, Registry},
    router::{Command, Commands},
};
use crate::event::{Position, Sequence};

/// A subscription's place in the registry and with the router. Dropping it frees both.
pub(super) struct Seat {
    pub record: Arc<Record>,
    /// Why the gateway ended the subscription, if it did.
    pub end: End,
    registry: Arc<Registry>,
    router: Commands,
    metrics: Metrics,
}

impl Seat {
    pub(super) fn new(
        record: Arc<Record>,
        registry: Arc<Registry>,
        router: Commands,
        metrics: Metrics,
    ) -> Self {
        tracing::info!(
            subscriber = record.id,
            name = record.name,
            peer = record.peer,
            "subscribed"
        );
        Self {
            record,
            end: None,
            registry,
            router,
            metrics,
        }
    }

    /// Asks the router to feed the queue. Answers with the head after which it does so; none if the
    /// router has not reached `at_least`, because it cannot read the log.
    pub(super) fn attach(
        &self,
        at_least: Sequence,
    ) -> impl Future<Output = Option<Position>> + Send + use<> {
        let (attached, head) = oneshot::channel();
        let attach = Command::Attach {
            id: self.record.serial,
            class: self.record.class.clone(),
            queue: self.record.queue.clone(),
            at_least,
            attached,
        };
        // If the router is gone, so is the sender of `head`.
        let _ = self.router.send(attach);
        async move { head.await.ok() }
    }

    /// Counts a message that was sent, and notes the place that the subscription has covered with
    /// it.
    pub(super) fn count(&self, covered: &Position, events: u32, bytes: usize) {
        self.record.cover(covered);
        if events > 0 {
            self.record
                .delivered
                .fetch_add(events.into(), Ordering::Relaxed);
            self.metrics.events.inc_by(events.into());
        }
        self.metrics.bytes.inc_by(bytes as u64);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.registry.leave(self.record.serial);
        // If the router is gone, it has nothing to forget.
        let _ = self.router.send(Command::Leave {
            id: self.record.serial,
            class: self.record.class.id,
        });
        let reason = end::label(self.end);
        self.metrics.ended(reason);
        tracing::info!(
            subscriber = self.record.id,
            name = self.record.name,
            delivered = self.record.delivered.load(Ordering::Relaxed),
            reason,
            "subscription ended"
        );
    }
}
