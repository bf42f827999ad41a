//! The order of a shutdown.

use std::time::Duration;

use tokio::time::timeout;

use super::parts::{Part, Parts};
use crate::{
    admin::Readiness, fanout::Fanout, grpc::Health, log::Appender, server, webhook::Webhook,
};

/// How long the webhook door stays open so that kept-alive connections can end. Each answer ends
/// one, so a proxy has none left that it would use just when the door closes.
const KEPT_CONNECTIONS: Duration = Duration::from_secs(1);
/// How long the webhook door waits for a moment without a request before it closes.
const LAST_WEBHOOKS: Duration = Duration::from_secs(5);
/// How long webhooks may take to arrive and be answered once their door is closed.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// How long the log may take to close once nothing comes in any more.
const LOG_CLOSING: Duration = Duration::from_secs(5);
/// How long connections of the gRPC door may take to close once every stream has ended.
const CLOSING: Duration = Duration::from_secs(1);

/// Closes each door separately.
#[derive(Clone, Default)]
pub(super) struct Stop {
    pub(super) grpc: server::Stop,
    pub(super) webhook: server::Stop,
    pub(super) admin: server::Stop,
}

/// The parts that are told to leave, or waited for.
pub(super) struct Leaving {
    /// How long subscribers may take.
    pub(super) drain: Duration,
    pub(super) readiness: Readiness,
    pub(super) health: Health,
    pub(super) fanout: Fanout,
    pub(super) webhook: Webhook,
    pub(super) appender: Appender,
    pub(super) stop: Stop,
}

impl Leaving {
    /// Shuts down in this order: subscribers, webhooks, the log.
    pub(super) async fn in_order(self, mut parts: Parts) {
        // From now on load balancers send no new clients, nobody can subscribe, and each answer to
        // a webhook ends its connection.
        self.readiness.set(false);
        self.health.set(false).await;
        self.fanout.close();
        self.stop.webhook.leave();
        let unkept = timeout(KEPT_CONNECTIONS, self.stop.webhook.emptied());
        // Subscribers first: each stream sends the frames in its queue and ends; the client resumes
        // by cursor. Webhooks are still accepted.
        if timeout(self.drain, self.fanout.drain()).await.is_err() {
            tracing::warn!(
                seconds = self.drain.as_secs(),
                "the drain deadline has passed; the remaining streams are cut, and can resume by \
                 cursor"
            );
        }
        self.health.end().await;
        self.stop.grpc.close();
        // Written frames get time to be sent. Other open calls, such as reflection streams, need
        // none.
        let grpc_door = parts.ended(Part::GrpcDoor);
        if timeout(CLOSING, grpc_door).await.is_err() {
            tracing::debug!("the remaining connections of subscribers are cut");
        }
        // Then the webhook door. No other process answers webhooks, so it waits for a moment
        // without a request, but not for long: a body may come very slowly.
        let _ = unkept.await;
        let _ = timeout(LAST_WEBHOOKS, self.webhook.emptied()).await;
        // Webhooks are not answered until the next start, so nothing waits longer than necessary.
        self.stop.webhook.close();
        self.stop.admin.close();
        let last_webhooks = async {
            parts.ended(Part::WebhookDoor).await;
            self.webhook.emptied().await;
        };
        if timeout(LAST_ANSWERS, last_webhooks).await.is_err() {
            tracing::warn!("the gateway stops before a webhook has arrived as a whole");
        }
        if timeout(LOG_CLOSING, self.appender.finish()).await.is_err() {
            tracing::warn!("the log did not close in time; the next start does what is left");
        }
    }
}
