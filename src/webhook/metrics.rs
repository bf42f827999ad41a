//! What operators watch of the door.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::refusal::Refusal;
use crate::{log::Appended, verbex::Surprise};

/// Kinds of surprises that are told apart. Later ones are counted together, as the kind `other`.
const SURPRISE_KINDS_MAX: usize = 256;

/// Counters of requests and of what was odd about events.
#[derive(Clone, Debug)]
pub struct Metrics {
    answers: Family<Answered, Counter>,
    duplicates: Counter,
    surprises: Family<Kind, Counter>,
    seconds: Histogram,
    kinds: Arc<Mutex<HashSet<Kind>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    field: String,
    reason: String,
}

impl Metrics {
    /// Makes the counters known.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            answers: Family::default(),
            duplicates: Counter::default(),
            surprises: Family::default(),
            // Half a millisecond to 16 s: the body alone may take 10.
            seconds: Histogram::new(exponential_buckets(0.0005, 2.0, 16)),
            kinds: Arc::default(),
        };
        registry.register(
            "verbex_gateway_webhooks",
            "Requests at the webhook door by the code of their answer; OK is a 200",
            metrics.answers.clone(),
        );
        registry.register(
            "verbex_gateway_webhook_duplicates",
            "Events that the log had already",
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
        metrics
    }

    pub(super) fn answered(&self, answer: Result<&Appended, &Refusal>, time: Duration) {
        let code = answer.map_or_else(|refusal| refusal.answer().code, |_| "OK");
        self.answers.get_or_create(&Answered { code }).inc();
        self.seconds.observe(time.as_secs_f64());
    }

    pub(super) fn stored(&self, appended: &Appended) {
        if appended.duplicate {
            self.duplicates.inc();
        }
    }

    /// Counts what was odd, and logs the first of each kind: where it was, never what.
    pub(super) fn surprised(&self, surprise: &Surprise) {
        let mut kind = Kind {
            field: surprise.field.to_string(),
            reason: surprise.reason.to_string(),
        };
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let full = kinds.len() >= SURPRISE_KINDS_MAX;
        let first = !full && kinds.insert(kind.clone());
        if full && !kinds.contains(&kind) {
            kind = Kind {
                field: "other".into(),
                reason: "other".into(),
            };
        }
        drop(kinds);
        if first {
            let Kind { field, reason } = &kind;
            tracing::warn!(field, reason, path = %surprise.path, "Verbex sent something that its documentation does not have; the event is stored");
        }
        self.surprises.get_or_create(&kind).inc();
    }
}
