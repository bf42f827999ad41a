//! The benchmarks: one function each, from a plan to findings.

mod appender;
mod churn;
mod compression;
mod fanout;
mod history;
mod http2;
mod idle;
mod ingest;
mod retention;
mod returns;
mod routing;
mod scene;
mod unloaded;
mod webhook;
mod whole_path;

use std::time::Duration;

use crate::{logs::KeptLog, report::Findings};

/// A benchmark by its name.
pub(crate) struct Benchmark {
    pub name: &'static str,
    /// Those that have none are sampled less.
    pub has_target: bool,
    pub about: &'static str,
    pub run: fn(&Plan) -> anyhow::Result<Findings>,
}

/// All of them, in the order of the targets.
pub(crate) const ALL: [Benchmark; 19] = [
    Benchmark {
        name: "fanout",
        has_target: true,
        about: "under load, 1,000 subscribers with one filter, against plain tonic, raw TCP and \
                NATS",
        run: fanout::one_filter,
    },
    Benchmark {
        name: "filters",
        has_target: true,
        about: "the same with 100 different filters",
        run: fanout::different_filters,
    },
    Benchmark {
        name: "routing",
        has_target: true,
        about: "10,000 subscribers, each on an agent of its own, against 100",
        run: routing::own_agents,
    },
    Benchmark {
        name: "unloaded",
        has_target: true,
        about: "one event at a time to 100 subscribers: CPU and latency",
        run: unloaded::one_at_a_time,
    },
    Benchmark {
        name: "webhook",
        has_target: true,
        about: "from a webhook's POST to its subscriber, durable",
        run: webhook::to_subscriber,
    },
    Benchmark {
        name: "whole-path",
        has_target: true,
        about: "webhooks over 64 connections to the streams of subscribers, CPU of both, against \
                plain tonic",
        run: whole_path::webhooks_to_streams,
    },
    Benchmark {
        name: "appender",
        has_target: true,
        about: "CPU for a durable event, against the layout of version 1 and a plain file",
        run: appender::durable,
    },
    Benchmark {
        name: "ingest",
        has_target: true,
        about: "webhooks over 64 connections, against a handler that stores nothing, and into logs \
                of several sizes",
        run: ingest::durable,
    },
    Benchmark {
        name: "retention",
        has_target: true,
        about: "200 webhooks a second with and without old events being removed, and the cost of \
                a removed row",
        run: retention::beside_webhooks,
    },
    Benchmark {
        name: "idle",
        has_target: true,
        about: "memory of an idle subscriber, and 10,000 of them",
        run: idle::memory,
    },
    Benchmark {
        name: "replay",
        has_target: true,
        about: "the whole log to one subscriber, against reading it",
        run: history::replay,
    },
    Benchmark {
        name: "history",
        has_target: true,
        about: "start-up, resume in the middle and ListEvents by agent, with logs of several sizes",
        run: history::log_sizes,
    },
    Benchmark {
        name: "churn",
        has_target: true,
        about: "1,000 joins and leaves a second beside 10,000 subscribers and beside 100, with and \
                without events",
        run: churn::joins_and_leaves,
    },
    Benchmark {
        name: "returns",
        has_target: true,
        about: "1,000 subscribers that come back at once, and what one that was live sees of it",
        run: returns::at_once,
    },
    Benchmark {
        name: "curve-subscribers",
        has_target: false,
        about: "cost against 1 to 10,000 subscribers",
        run: fanout::against_subscribers,
    },
    Benchmark {
        name: "curve-filters",
        has_target: false,
        about: "cost against 1 to 1,000 filters",
        run: fanout::against_filters,
    },
    Benchmark {
        name: "compression",
        has_target: false,
        about: "transcripts, plain and in gzip and zstd: CPU and bytes",
        run: compression::transcripts,
    },
    Benchmark {
        name: "transport",
        has_target: false,
        about: "TLS, and many streams on one connection",
        run: http2::transport,
    },
    Benchmark {
        name: "http2",
        has_target: false,
        about: "windows, frame sizes and pings, one after the other",
        run: http2::settings,
    },
];

/// Makes the logs that benchmarks need.
pub(crate) fn fill(plan: &Plan) -> anyhow::Result<()> {
    for events in plan.log_sizes() {
        KeptLog::of(events)?;
    }
    KeptLog::of_version_1(plan.million())?;
    Ok(())
}

/// Samples of figures that are there to learn from, not to be reached.
const RUNS_WITHOUT_TARGET: usize = 3;

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub depth: Depth,
    /// Samples of each figure.
    pub runs: usize,
    /// For which load is applied before it is measured.
    pub warm_up: Duration,
    /// For which it is measured.
    pub load: Duration,
}

/// How thorough it is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Depth {
    /// Only whether everything runs.
    Smoke,
    Quick,
    Normal,
    /// With a log of 10 million events.
    Full,
}

impl Plan {
    pub(crate) fn new(depth: Depth) -> Self {
        let (runs, warm_up, load) = match depth {
            Depth::Smoke => (1, 0, 20),
            Depth::Quick => (3, 300, 1_000),
            Depth::Normal | Depth::Full => (5, 500, 3_000),
        };
        Self {
            depth,
            runs,
            warm_up: Duration::from_millis(warm_up),
            load: Duration::from_millis(load),
        }
    }

    /// What this benchmark needs of it.
    pub(crate) fn of(&self, benchmark: &Benchmark) -> Self {
        Self {
            runs: match benchmark.has_target {
                true => self.runs,
                false => self.runs.min(RUNS_WITHOUT_TARGET),
            },
            ..self.clone()
        }
    }

    /// So many, or a handful in a smoke run.
    pub(crate) fn count(&self, count: usize) -> usize {
        match self.depth {
            Depth::Smoke => count.min(5),
            _ => count,
        }
    }

    /// The places of a curve.
    pub(crate) fn places(&self, places: &[usize]) -> Vec<usize> {
        let most = match self.depth {
            Depth::Smoke => 10,
            Depth::Quick => 1_000,
            Depth::Normal | Depth::Full => usize::MAX,
        };
        places
            .iter()
            .copied()
            .filter(|&place| place <= most)
            .collect()
    }

    /// Events in the log of what is measured with one log: a million, where that is not too much.
    pub(crate) fn million(&self) -> u64 {
        let sizes = self.log_sizes().into_iter();
        sizes
            .filter(|&events| events <= 1_000_000)
            .max()
            .unwrap_or(0)
    }

    /// Events in the logs that are measured.
    pub(crate) fn log_sizes(&self) -> Vec<u64> {
        match self.depth {
            Depth::Smoke => vec![1_000],
            Depth::Quick => vec![10_000, 100_000],
            Depth::Normal => vec![10_000, 1_000_000],
            Depth::Full => vec![10_000, 1_000_000, 10_000_000],
        }
    }
}
