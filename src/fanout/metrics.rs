//! Metrics of the fan-out.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge},
    registry::Registry as MetricsRegistry,
};

use super::{
    end::LABELS,
    frame::Memory,
    head::Head,
    registry::{Record, Registry},
};
use crate::proto::SubscriptionState;

/// Counters of what was sent. The gauges of subscribers are read from the registry on each scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) events: Counter,
    pub(super) bytes: Counter,
    ends: Family<EndLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabel {
    reason: &'static str,
}

impl Metrics {
    /// Makes the counters and puts them into `registry`.
    pub fn register(registry: &mut MetricsRegistry) -> Self {
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
        registry.register(
            "verbex_gateway_subscriptions_ended",
            "Subscriptions that ended, by reason",
            metrics.ends.clone(),
        );
        for reason in LABELS {
            drop(metrics.ends.get_or_create(&EndLabel { reason }));
        }
        metrics
    }

    pub(super) fn ended(&self, reason: &'static str) {
        self.ends.get_or_create(&EndLabel { reason }).inc();
    }
}

/// The gauges of subscribers by state, and of their lag.
pub(super) struct Subscribers {
    pub registry: Arc<Registry>,
    pub head: Arc<Head>,
    pub memory: [Memory; 2],
}

impl std::fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscribers")
    }
}

impl Collector for Subscribers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let head = self.head.position().sequence;
        let records = self.registry.records();
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
            let there = records.iter().filter(|record| record.state() == state);
            gauge(there.count()).encode(family.encode_family(&[("state", label)])?)?;
        }
        let lag = records
            .iter()
            .map(|record| head.0.saturating_sub(record.position(head).0))
            .max()
            .unwrap_or(0);
        self.encode_lag_by_name(&records, &mut encoder)?;
        let wholes = [
            (
                "verbex_gateway_subscriber_lag_events_max",
                "Events in the log that the slowest subscriber has not reached yet.",
                usize::try_from(lag).unwrap_or(usize::MAX),
            ),
            (
                "verbex_gateway_subscriber_buffer_bytes",
                "Bytes of events that wait for subscribers or their connections; a shared event \
                 counts once.",
                self.memory.iter().map(Memory::in_use).sum(),
            ),
        ];
        for (name, help, value) in wholes {
            let value = gauge(value);
            value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)?;
        }
        Ok(())
    }
}

/// The most names with a lag of their own. Clients choose their names, so the number has to be
/// bounded. Only the first names have one.
const NAMES_MAX: usize = 100;
/// Longer names are cut to this many characters.
const NAME_CHARS: usize = 64;
/// Stands for all other names.
const OTHERS: &str = "*";

/// The largest lag among the subscribers of one name.
#[derive(Clone, Copy, Default)]
struct Lag {
    events: u64,
    seconds: f64,
}

impl Subscribers {
    fn encode_lag_by_name(
        &self,
        records: &[Arc<Record>],
        encoder: &mut DescriptorEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let head = &self.head;
        let (place, now) = (head.position().sequence, Timestamp::now());
        let lags = records.iter().map(|record| {
            let covered = record.position(place);
            let lag = Lag {
                events: place.0.saturating_sub(covered.0),
                seconds: head.lag(covered, record.position_time(), now).as_secs_f64(),
            };
            (record.name.as_str(), lag)
        });
        let by_name = worst_by_name(lags);
        let mut events = encoder.encode_descriptor(
            "verbex_gateway_subscriber_lag_events",
            "Events in the log that the slowest subscriber of a name has not reached yet.",
            None,
            MetricType::Gauge,
        )?;
        for (name, lag) in &by_name {
            let value = ConstGauge::new(i64::try_from(lag.events).unwrap_or(i64::MAX));
            value.encode(events.encode_family(&[("name", name.as_str())])?)?;
        }
        let mut seconds = encoder.encode_descriptor(
            "verbex_gateway_subscriber_lag_seconds",
            "Age in the log of the first event that the slowest subscriber of a name has not \
             reached yet.",
            None,
            MetricType::Gauge,
        )?;
        for (name, lag) in &by_name {
            let value = ConstGauge::new(lag.seconds);
            value.encode(seconds.encode_family(&[("name", name.as_str())])?)?;
        }
        Ok(())
    }
}

fn worst_by_name<'a>(lags: impl Iterator<Item = (&'a str, Lag)>) -> BTreeMap<String, Lag> {
    let mut by_name: BTreeMap<String, Lag> = BTreeMap::new();
    for (name, lag) in lags {
        let name: String = name
            .chars()
            .take(NAME_CHARS)
            .map(|c| {
                if c.is_control() {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            })
            .collect();
        let has_room = by_name.len() < NAMES_MAX || by_name.contains_key(&name);
        let name = if has_room { name } else { OTHERS.to_owned() };
        let worst = by_name.entry(name).or_default();
        worst.events = worst.events.max(lag.events);
        worst.seconds = worst.seconds.max(lag.seconds);
    }
    by_name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_a_name_counts_and_names_are_bounded() {
        let lag = |events: u32| Lag {
            events: events.into(),
            seconds: events.into(),
        };
        let crm = [
            ("crm", lag(3)),
            ("crm", lag(70)),
            ("", lag(1)),
            ("crm", lag(5)),
        ];
        let by_name = worst_by_name(crm.into_iter());
        assert_eq!(by_name["crm"].events, 70);
        assert!((by_name["crm"].seconds - 70.0).abs() < 0.1);
        assert_eq!(by_name[""].events, 1);

        let names: Vec<String> = (0..1000).map(|number| format!("n{number}")).collect();
        let many = names
            .iter()
            .zip(0..)
            .map(|(name, events)| (&**name, lag(events)));
        let by_name = worst_by_name(many);
        assert_eq!(by_name.len(), NAMES_MAX + 1);
        assert_eq!(by_name["n99"].events, 99);
        assert_eq!(by_name[OTHERS].events, 999);

        let long = format!("a\nb{}", "é".repeat(1000));
        let odd = worst_by_name([(&*long, lag(1))].into_iter());
        let (name, _) = odd.first_key_value().unwrap();
        assert_eq!(name.chars().count(), NAME_CHARS);
        assert!(name.starts_with("a\u{fffd}bé"), "{name}");
    }
}
