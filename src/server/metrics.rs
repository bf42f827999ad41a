//! Metrics of the doors' connections.

use std::net::IpAddr;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::handshake::Failure;
use crate::notices::{Notice, Notices, WINDOW};

/// The counters of all doors. Default counters are not registered.
#[derive(Clone, Debug)]
pub struct Metrics {
    connections: Family<DoorLabel, Gauge>,
    closed: Family<ClosedLabels, Counter>,
    handshakes: Family<ClosedLabels, Counter>,
    closed_said: Notices<ClosedConnection>,
    handshakes_said: Notices<FailedHandshake>,
}

/// The door, the reason, and the client.
type ClosedConnection = (&'static str, Closed, IpAddr);
/// The door, the reason, and the client.
type FailedHandshake = (&'static str, Failure, IpAddr);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabel {
    door: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClosedLabels {
    door: &'static str,
    reason: &'static str,
}

/// Why a door closed a connection by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closed {
    /// There was no request for too long.
    Idle,
    /// The first request did not come in time.
    Opening,
    /// A request was not answered in time, or the client did not read its answer in time.
    Stalled,
    /// The door was full, and this was the idlest connection: a new one got its place.
    Evicted,
    /// The client's address had as many connections as allowed. Its idlest one was closed, or the
    /// new one if none was idle.
    ClientLimit,
    /// The door was full and no connection was idle, so the new one was refused.
    Full,
    /// The client spoke plain HTTP at a door that speaks HTTPS.
    PlainHttp,
    /// The client spoke TLS at a door that speaks plain HTTP.
    UnexpectedTls,
}

impl Closed {
    const ALL: [Self; 8] = [
        Self::Idle,
        Self::Opening,
        Self::Stalled,
        Self::Evicted,
        Self::ClientLimit,
        Self::Full,
        Self::PlainHttp,
        Self::UnexpectedTls,
    ];

    fn reason(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Opening => "opening",
            Self::Stalled => "stalled",
            Self::Evicted => "evicted",
            Self::ClientLimit => "client_limit",
            Self::Full => "full",
            Self::PlainHttp => "plain_http",
            Self::UnexpectedTls => "unexpected_tls",
        }
    }

    /// The log line; none for what clients cause every day.
    fn line(self) -> Option<&'static str> {
        match self {
            Self::Idle | Self::Opening => None,
            Self::Stalled => Some(
                "a connection was closed because it did not send a request, or did not read an \
                 answer, in time",
            ),
            Self::Evicted => {
                Some("the door is full: the idlest connection was closed for a new one")
            }
            Self::ClientLimit => Some(
                "a client reached the limit of connections for one address: its idlest or its new \
                 connection was closed",
            ),
            Self::Full => Some("the door is full and no connection is idle: a new one was closed"),
            Self::PlainHttp => Some("a client spoke plain HTTP; this door speaks HTTPS"),
            Self::UnexpectedTls => Some("a client spoke TLS; this door speaks plain HTTP"),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Family::default(),
            closed: Family::default(),
            handshakes: Family::default(),
            closed_said: Notices::new(say_closed),
            handshakes_said: Notices::new(say_handshake),
        }
    }
}

impl Metrics {
    /// Makes the counters and puts them into `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "verbex_gateway_connections",
            "Open connections by door",
            metrics.connections.clone(),
        );
        registry.register(
            "verbex_gateway_connections_closed",
            "Connections that a door closed or refused by itself, by door and reason",
            metrics.closed.clone(),
        );
        registry.register(
            "verbex_gateway_tls_handshake_failures",
            "TLS handshakes that failed, by door and reason",
            metrics.handshakes.clone(),
        );
        metrics
    }

    /// The counters of one door. All reasons exist from the start, with zero.
    #[must_use]
    pub fn door(&self, door: &'static str) -> DoorMetrics {
        let closed = Closed::ALL.map(|closed| {
            let reason = closed.reason();
            let labels = ClosedLabels { door, reason };
            self.closed.get_or_create_owned(&labels)
        });
        let handshakes = Failure::ALL.map(|failure| {
            let reason = failure.reason();
            let labels = ClosedLabels { door, reason };
            self.handshakes.get_or_create_owned(&labels)
        });
        DoorMetrics {
            door,
            connections: self.connections.get_or_create_owned(&DoorLabel { door }),
            closed,
            handshakes,
            closed_said: self.closed_said.clone(),
            handshakes_said: self.handshakes_said.clone(),
        }
    }
}

/// The counters of one door.
#[derive(Debug)]
pub struct DoorMetrics {
    pub(super) door: &'static str,
    pub(super) connections: Gauge,
    closed: [Counter; Closed::ALL.len()],
    closed_said: Notices<ClosedConnection>,
    handshakes: [Counter; Failure::ALL.len()],
    handshakes_said: Notices<FailedHandshake>,
}

impl DoorMetrics {
    /// Counts a closed connection, and logs it if that is worth a line. `client` is its address.
    pub(super) fn closed(&self, closed: Closed, client: IpAddr) {
        self.closed[closed as usize].inc();
        if closed.line().is_some() {
            self.closed_said.notice((self.door, closed, client), &());
        }
    }

    /// Counts and logs a failed handshake.
    pub(super) fn handshake_failed(&self, failure: Failure, client: IpAddr) {
        self.handshakes[failure as usize].inc();
        self.handshakes_said
            .notice((self.door, failure, client), &());
    }
}

fn say_closed(notice: Notice<'_, ClosedConnection, ()>) {
    let seconds = WINDOW.as_secs();
    match notice {
        Notice::First(&(door, closed, client), ()) => {
            let line = closed.line().unwrap_or_default();
            tracing::warn!(door, reason = closed.reason(), %client, "{line}");
        }
        Notice::More(&(door, closed, client), more) => {
            let reason = closed.reason();
            tracing::warn!(
                door,
                reason,
                %client,
                more,
                "more connections of this client were closed for the same reason within \
                 {seconds} s",
            );
        }
        Notice::Others(more) => {
            tracing::warn!(
                more,
                "connections of many other clients were closed within {seconds} s"
            );
        }
    }
}

fn say_handshake(notice: Notice<'_, FailedHandshake, ()>) {
    let seconds = WINDOW.as_secs();
    match notice {
        Notice::First(&(door, failure, client), ()) if failure.is_common() => {
            tracing::info!(door, reason = failure.reason(), %client, "a TLS handshake failed");
        }
        Notice::First(&(door, failure, client), ()) => {
            tracing::warn!(door, reason = failure.reason(), %client, "a TLS handshake failed");
        }
        Notice::More(&(door, failure, client), more) => {
            let reason = failure.reason();
            tracing::info!(
                door,
                reason,
                %client,
                more,
                "more TLS handshakes failed within {seconds} s",
            );
        }
        Notice::Others(more) => {
            tracing::warn!(
                more,
                "TLS handshakes of many other clients failed within {seconds} s"
            );
        }
    }
}
