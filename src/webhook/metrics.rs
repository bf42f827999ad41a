//! The metrics of the webhook door.

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::{
    course::{self, Client, Refused, Slow},
    refusal,
};
use crate::{log::Appended, notices::Notices, verbex::Surprise};

/// Counters of requests, and of differences from Verbex's documentation.
#[derive(Clone, Debug)]
pub struct Metrics {
    answers: Family<Answered, Counter>,
    /// The one of these that counts nearly all requests.
    ok: Counter,
    duplicates: Counter,
    surprises: Family<Kind, Counter>,
    seconds: Histogram,
    slow: Counter,
    refused: Notices<Refused, str>,
    slow_said: Notices<Client, Slow>,
    /// Unknown fields that have been logged.
    told: Arc<Mutex<HashSet<String>>>,
}

/// How many unknown fields are logged, each once. A sender that makes up names cannot fill the
/// memory or the log.
const TOLD_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    field: String,
    reason: &'static str,
}

impl From<&Surprise> for Kind {
    fn from(surprise: &Surprise) -> Self {
        Self {
            field: surprise.field.to_string(),
            reason: surprise.reason.as_str(),
        }
    }
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let answers = Family::<Answered, Counter>::default();
        let ok = answers.get_or_create_owned(&Answered { code: refusal::OK });
        let metrics = Self {
            answers,
            ok,
            duplicates: Counter::default(),
            surprises: Family::default(),
            // Half a millisecond to 16 s: the body alone may take 10.
            seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            slow: Counter::default(),
            refused: Notices::new(course::say_refused),
            slow_said: Notices::new(course::say_slow),
            told: Arc::default(),
        };
        registry.register(
            "verbex_gateway_webhooks_slow",
            "Requests at the webhook door that took over 1 s, which is longer than Verbex waits by \
             default",
            metrics.slow.clone(),
        );
        registry.register(
            "verbex_gateway_webhooks",
            "Requests at the webhook door by the code of their answer; OK is a 200",
            metrics.answers.clone(),
        );
        registry.register(
            "verbex_gateway_webhook_duplicates",
            "Webhooks whose event was already in the log",
            metrics.duplicates.clone(),
        );
        registry.register(
            "verbex_gateway_webhook_surprises",
            "Values that were not as Verbex documents them, by field and reason",
            metrics.surprises.clone(),
        );
        registry.register(
            "verbex_gateway_webhook_seconds",
            "Time from a request's head to its answer",
            metrics.seconds.clone(),
        );
        metrics.begin_at_zero();
        metrics
    }

    /// Creates the series of all labels that are known in advance. Prometheus does not see the
    /// first count of a new series as an increase.
    fn begin_at_zero(&self) {
        for code in refusal::CODES {
            drop(self.answers.get_or_create(&Answered { code }));
        }
        for surprise in Surprise::all() {
            drop(self.surprises.get_or_create(&Kind::from(&surprise)));
        }
    }

    /// Counts a request that was answered, or whose client has gone.
    pub(super) fn over(&self, code: &'static str, time: Duration) {
        match code {
            refusal::OK => self.ok.inc(),
            code => self.answers.get_or_create(&Answered { code }).inc(),
        };
        self.seconds.observe(time.as_secs_f64());
    }

    /// Counts a refusal by the HTTP library. Returns the body of the answer.
    pub(super) fn library_answered(&self, status: StatusCode, peer: IpAddr) -> Bytes {
        let refusal = refusal::of_library(status);
        let code = refusal.counted();
        self.answers.get_or_create(&Answered { code }).inc();
        self.refused(code, Client::of(peer), &refusal.to_string());
        refusal.body()
    }

    /// Logs that a request got no 200.
    pub(super) fn refused(&self, code: &'static str, client: Client, why: &str) {
        self.refused.notice((code, client), why);
    }

    /// Counts and logs a request that took longer than Verbex waits.
    pub(super) fn slow(&self, client: Client, slow: &Slow) {
        self.slow.inc();
        self.slow_said.notice(client, slow);
    }

    pub(super) fn stored(&self, appended: &Appended) {
        if appended.duplicate {
            self.duplicates.inc();
        }
    }

    /// Logs each unknown field once, by its path.
    pub(super) fn unknown(&self, paths: Vec<String>) {
        for path in paths {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() == TOLD_MAX || told.contains(&path) {
                continue;
            }
            tracing::warn!(
                path,
                "Verbex sent a field that is not documented; it is kept in unmodeled_fields"
            );
            told.insert(path);
            if told.len() == TOLD_MAX {
                tracing::warn!(
                    "{TOLD_MAX} fields that are not documented have been logged; more of them are \
                     only counted, as `unknown`"
                );
            }
        }
    }

    /// Counts each difference, and logs the first of each kind with its path, never with its value.
    /// The kinds are those of [`Surprise`], about a hundred.
    pub(super) fn surprised(&self, surprise: &Surprise) {
        let kind = Kind::from(surprise);
        let before = self.surprises.get_or_create(&kind).inc();
        if before == 0 {
            let Kind { field, reason } = kind;
            tracing::warn!(
                field,
                reason,
                "a webhook differs from what Verbex documents; it is stored, and more of the same \
                 kind are only counted"
            );
        }
    }
}
