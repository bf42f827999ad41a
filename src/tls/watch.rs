//! Reports in time that a certificate expires: in the log at the start and each day, and as a
//! metric.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
    registry::Registry,
};
use tokio::time::interval;

use super::Validity;

/// How often a problem is logged again.
const EACH: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificates that the doors serve, by door.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Vec<(&'static str, Validity)>>);

impl Watch {
    /// Watches these certificates, and registers the remaining time as a metric.
    pub(crate) fn register(
        certificates: Vec<(&'static str, Validity)>,
        registry: &mut Registry,
    ) -> Self {
        let watch = Self(Arc::new(certificates));
        registry.register_collector(Box::new(watch.clone()));
        watch
    }

    /// Logs problems now and each day, as long as it is polled.
    pub(crate) async fn run(self) -> Infallible {
        let mut days = interval(EACH);
        loop {
            days.tick().await;
            self.say(Timestamp::now());
        }
    }

    fn say(&self, now: Timestamp) {
        for (door, validity) in self.0.iter() {
            for finding in validity.findings(now) {
                if finding.fault.is_refused() {
                    tracing::error!(door, "{finding}");
                } else {
                    tracing::warn!(door, "{finding}");
                }
            }
        }
    }
}

impl Collector for Watch {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = Timestamp::now();
        let mut family = encoder.encode_descriptor(
            "verbex_gateway_tls_expiry_seconds",
            "Time until the first certificate of a door's chain expires; negative once it has.",
            None,
            ConstGauge::new(0_i64).metric_type(),
        )?;
        for (door, validity) in self.0.iter() {
            if let Some(until) = validity.until() {
                let left = ConstGauge::new(until.as_second() - now.as_second());
                left.encode(family.encode_family(&[("door", *door)])?)?;
            }
        }
        Ok(())
    }
}
