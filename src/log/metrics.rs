use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    event::{EVENT_TYPES, StoredEvent},
    proto::EventType,
};

/// The log's metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    append_seconds: Histogram,
    group_events: Histogram,
    /// One for each type of event.
    events: [(EventType, Counter); EVENT_TYPES.len()],
    removed_events: Counter,
    erased_events: Counter,
    repeated_ids: Counter,
    oldest_age_seconds: Gauge,
    disk_low: Gauge,
    available: Gauge,
    late: Counter,
    mark_failures: Counter,
    damage: Family<WhatLabel, Counter>,
    clock_held: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

/// What turned out to be damaged.
#[derive(Clone, Copy, Debug)]
pub(super) enum Damaged {
    Event,
    Index,
}

impl Damaged {
    fn label(self) -> WhatLabel {
        let what = match self {
            Self::Event => "event",
            Self::Index => "index",
        };
        WhatLabel { what }
    }
}

impl Metrics {
    /// Makes the metrics and puts them into `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        // From a sync on a fast disk to a disk that hardly answers. An append also waits for the
        // group before its own.
        let seconds = [
            0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0,
        ];
        let sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
        // All counters exist from the start, so that Prometheus sees the first event as an
        // increase.
        let events = Family::<TypeLabel, Counter>::default();
        let of_type = |event_type: EventType| {
            let r#type = event_type.as_str_name();
            (
                event_type,
                events.get_or_create_owned(&TypeLabel { r#type }),
            )
        };
        let metrics = Self {
            append_seconds: Histogram::new(seconds),
            group_events: Histogram::new(sizes),
            events: EVENT_TYPES.map(of_type),
            removed_events: Counter::default(),
            erased_events: Counter::default(),
            repeated_ids: Counter::default(),
            oldest_age_seconds: Gauge::default(),
            disk_low: Gauge::default(),
            available: Gauge::default(),
            late: Counter::default(),
            mark_failures: Counter::default(),
            damage: Family::default(),
            clock_held: Gauge::default(),
        };
        // They exist from the start, so that Prometheus sees the first one as an increase.
        for what in [Damaged::Event, Damaged::Index] {
            drop(metrics.damage.get_or_create(&what.label()));
        }
        registry.register_with_unit(
            "verbex_gateway_log_append",
            "Time from an event's arrival at the log until it was durable, or known to be a \
             duplicate",
            Unit::Seconds,
            metrics.append_seconds.clone(),
        );
        registry.register(
            "verbex_gateway_log_group_events",
            "New events that became durable together, with one sync",
            metrics.group_events.clone(),
        );
        registry.register(
            "verbex_gateway_log_events",
            "Events that became durable",
            events,
        );
        registry.register(
            "verbex_gateway_log_removed_events",
            "Events that retention has removed",
            metrics.removed_events.clone(),
        );
        registry.register(
            "verbex_gateway_log_erased_events",
            "Events that were erased: they stay, without what is personal",
            metrics.erased_events.clone(),
        );
        registry.register(
            "verbex_gateway_log_repeated_ids",
            "Events that were found to have the id of an earlier one: another program has written \
             into the log",
            metrics.repeated_ids.clone(),
        );
        registry.register_with_unit(
            "verbex_gateway_log_oldest_event_age",
            "How long ago the oldest event was received; 0 if the log is empty",
            Unit::Seconds,
            metrics.oldest_age_seconds.clone(),
        );
        registry.register(
            "verbex_gateway_log_disk_low",
            "Whether the log takes no events because too little space is free: 1 or 0",
            metrics.disk_low.clone(),
        );
        registry.register(
            "verbex_gateway_log_available",
            "Whether the log can take events: 1 or 0",
            metrics.available.clone(),
        );
        registry.register(
            "verbex_gateway_log_late",
            "Events that were not durable in time, so that their webhooks were refused",
            metrics.late.clone(),
        );
        registry.register(
            "verbex_gateway_log_damage",
            "Reads and writes that met damage in the log",
            metrics.damage.clone(),
        );
        registry.register(
            "verbex_gateway_log_mark_failures",
            "Attempts to write events.mark that failed",
            metrics.mark_failures.clone(),
        );
        registry.register(
            "verbex_gateway_log_clock_held",
            "1 while receive times do not follow this machine's clock, because it has jumped",
            metrics.clock_held.clone(),
        );
        metrics
    }

    pub(super) fn set_clock_held(&self, is_held: bool) {
        self.clock_held.set(is_held.into());
    }

    pub(super) fn mark_failed(&self) {
        self.mark_failures.inc();
    }

    pub(super) fn append_seconds(&self, taken: Duration) {
        self.append_seconds.observe(taken.as_secs_f64());
    }

    pub(super) fn committed(&self, group: &[StoredEvent]) {
        #[allow(clippy::cast_precision_loss, reason = "a group is small")]
        self.group_events.observe(group.len() as f64);
        for (event_type, counter) in &self.events {
            let of_type = group.iter().filter(|it| it.keys.event_type == *event_type);
            counter.inc_by(of_type.count() as u64);
        }
    }

    pub(super) fn removed(&self, events: u64) {
        self.removed_events.inc_by(events);
    }

    pub(super) fn erased(&self, events: u64) {
        self.erased_events.inc_by(events);
    }

    pub(super) fn repeated_ids(&self, events: u64) {
        self.repeated_ids.inc_by(events);
    }

    pub(super) fn damaged(&self, what: Damaged) {
        self.damage.get_or_create(&what.label()).inc();
    }

    pub(super) fn late(&self) {
        self.late.inc();
    }

    pub(super) fn set_oldest(&self, receive_time: Option<Timestamp>, now: Timestamp) {
        let age = receive_time.map_or(0, |time| now.duration_since(time).as_secs());
        self.oldest_age_seconds.set(age);
    }

    pub(super) fn set_disk_low(&self, low: bool) {
        self.disk_low.set(low.into());
    }

    pub(super) fn set_available(&self, available: bool) {
        self.available.set(available.into());
    }
}
