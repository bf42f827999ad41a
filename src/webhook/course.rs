//! A request from its head to its answer: its counters and its log lines.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    metrics::Metrics,
    refusal::{self, Refusal},
};
use crate::{
    log::Appended,
    notices::{Notice, WINDOW},
    server::{self, Gone},
};

/// The time that Verbex waits for an answer: see docs/operations.md.
const SLOW: Duration = Duration::from_secs(1);

/// The message of a log line for a request without an answer.
const GONE: &str = "its client did not wait for the answer";

/// A request in flight. If it is dropped without an answer, the client has gone.
pub(super) struct Course {
    metrics: Arc<Metrics>,
    client: Client,
    started: Instant,
    /// When the last byte of the body arrived.
    body_came: Option<Instant>,
    gone: Gone,
    answered: bool,
}

impl Course {
    /// A request whose head has arrived.
    pub(super) fn begin(metrics: Arc<Metrics>, peer: IpAddr, gone: Gone) -> Self {
        Self {
            metrics,
            client: Client::of(peer),
            started: Instant::now(),
            body_came: None,
            gone,
            answered: false,
        }
    }

    /// Notes that the body has arrived. The time from here on is the gateway's own.
    pub(super) fn body_came(&mut self) {
        self.body_came = Some(Instant::now());
    }

    /// Counts and logs the answer.
    pub(super) fn answered(mut self, answer: Result<&Appended, &Refusal>) {
        self.answered = true;
        match answer {
            Err(refusal) => self.over(refusal.counted(), &refusal.to_string()),
            Ok(_) if self.gone.is_gone() => self.over(refusal::CLIENT_GONE, GONE),
            Ok(_) => self.over(refusal::OK, ""),
        }
    }

    fn over(&self, code: &'static str, why: &str) {
        let now = Instant::now();
        let time = now - self.started;
        self.metrics.over(code, time);
        if code != refusal::OK {
            self.metrics.refused(code, self.client, why);
        }
        if time > SLOW {
            let body = self.body_came.unwrap_or(now) - self.started;
            let slow = Slow {
                code,
                body,
                log: time - body,
            };
            self.metrics.slow(self.client, &slow);
        }
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        if !self.answered {
            self.over(refusal::CLIENT_GONE, GONE);
        }
    }
}

/// The client in a log line: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Client(IpAddr);

impl Client {
    pub(super) fn of(peer: IpAddr) -> Self {
        let peer = peer.to_canonical();
        Self(if peer.is_loopback() {
            peer
        } else {
            server::client(peer)
        })
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(Ipv6Addr::LOCALHOST | Ipv6Addr::UNSPECIFIED) | IpAddr::V4(_) => {
                self.0.fmt(f)
            }
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// The code of refused requests, and their client. The first line also has the message of the
/// answer, which never holds content of the request.
pub(super) type Refused = (&'static str, Client);

/// Where the time of a slow request went.
pub(super) struct Slow {
    code: &'static str,
    body: Duration,
    log: Duration,
}

/// Logs that a request was refused, or that its client has gone.
pub(super) fn say_refused(notice: Notice<'_, Refused, str>) {
    let seconds = WINDOW.as_secs();
    match notice {
        // Scanners cause these; other refusals come from a sender that knows the URL.
        Notice::First(&(code @ ("NOT_FOUND" | "METHOD_NOT_ALLOWED"), client), why) => {
            tracing::info!(code, %client, why, "a webhook was refused");
        }
        Notice::First(&(refusal::CLIENT_GONE, client), _) => tracing::warn!(
            code = refusal::CLIENT_GONE,
            %client,
            "a webhook's client left before its answer; if the whole body had arrived, the event \
             is stored anyway"
        ),
        Notice::First(&(code, client), why) => {
            tracing::warn!(code, %client, why, "a webhook was refused");
        }
        Notice::More(&(code @ ("NOT_FOUND" | "METHOD_NOT_ALLOWED"), client), more) => {
            tracing::info!(
                code,
                %client,
                more,
                "more webhooks of this client ended with the same code within {seconds} s"
            );
        }
        Notice::More(&(code, client), more) => {
            tracing::warn!(
                code,
                %client,
                more,
                "more webhooks of this client ended with the same code within {seconds} s"
            );
        }
        Notice::Others(more) => {
            tracing::warn!(
                more,
                "webhooks of many other clients were refused within {seconds} s"
            );
        }
    }
}

/// Logs that a request took longer than Verbex waits.
pub(super) fn say_slow(notice: Notice<'_, Client, Slow>) {
    let seconds = WINDOW.as_secs();
    match notice {
        Notice::First(client, Slow { code, body, log }) => tracing::warn!(
            code,
            %client,
            body_ms = whole_millis(*body),
            log_ms = whole_millis(*log),
            "a webhook took over 1 s, which is longer than Verbex waits by default"
        ),
        Notice::More(client, more) => {
            tracing::warn!(%client, more, "more webhooks took over 1 s within {seconds} s");
        }
        Notice::Others(more) => {
            tracing::warn!(
                more,
                "webhooks of many other clients took over 1 s within {seconds} s"
            );
        }
    }
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_the_network_that_a_host_can_choose_from() {
        let shown = |peer: &str| Client::of(peer.parse().unwrap()).to_string();
        assert_eq!(shown("192.0.2.1"), "192.0.2.1");
        assert_eq!(shown("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(shown("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(shown("::1"), "::1");
    }
}
