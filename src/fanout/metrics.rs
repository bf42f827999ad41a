//! What operators watch of the fan-out.

use std::sync::Arc;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::Counter, gauge::ConstGauge},
    registry::Registry as Metricsbook,
};

use super::{Fanout, Shared};
use crate::proto::SubscriptionState;

/// Counters of what was sent. The gauges by subscriber are read from the registry when asked for.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) events: Counter,
    pub(super) bytes: Counter,
}

impl Metrics {
    /// Makes the counters known.
    pub fn register(registry: &mut Metricsbook) -> Self {
        let metrics = Self::default();
        registry.register(
            "verbex_gateway_deliveries",
            "Events handed to subscribers' connections",
            metrics.events.clone(),
        );
        registry.register(
            "verbex_gateway_delivered_bytes",
            "Bytes of messages handed to subscribers' connections",
            metrics.bytes.clone(),
        );
        metrics
    }
}

impl Fanout {
    /// The gauges of subscribers by state and of the largest lag.
    #[must_use]
    pub fn collector(&self) -> Box<dyn Collector> {
        Box::new(Subscribers(self.shared.clone()))
    }
}

struct Subscribers(Arc<Shared>);

impl std::fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscribers")
    }
}

impl Collector for Subscribers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let head = self.0.head.position().sequence;
        let entries = self.0.registry.entries();
        let states = [
            ("catching_up", SubscriptionState::CatchingUp),
            ("live", SubscriptionState::Live),
            ("stalled", SubscriptionState::Stalled),
        ];
        let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
        let mut family = encoder.encode_descriptor(
            "verbex_gateway_subscribers",
            "Open subscriptions by state.",
            None,
            gauge(0).metric_type(),
        )?;
        for (label, state) in states {
            let there = entries.iter().filter(|entry| entry.state() == state);
            gauge(there.count()).encode(family.encode_family(&[("state", label)])?)?;
        }
        let lag = entries
            .iter()
            .map(|entry| head.0.saturating_sub(entry.position(head).0))
            .max()
            .unwrap_or(0);
        let wholes = [
            (
                "verbex_gateway_subscriber_lag_events_max",
                "Events in the log that the slowest subscriber has not got to yet.",
                usize::try_from(lag).unwrap_or(usize::MAX),
            ),
            (
                "verbex_gateway_subscriber_buffer_bytes",
                "Bytes of events that wait for subscribers or their connections; what they share counts once.",
                self.0.memory.in_use(),
            ),
        ];
        for (name, help, value) in wholes {
            let value = gauge(value);
            value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)?;
        }
        Ok(())
    }
}
