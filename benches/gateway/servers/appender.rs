//! The log's appender in a process of its own, with nothing before it and nothing behind.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use verbex_gateway::inside::log;

use super::gateway::groups_committed;
use crate::{
    events::{Maker, Payload},
    logs,
    measure::{cpu_time, threads_time},
    process::Control,
};

/// How it is set up.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub data_dir: PathBuf,
    /// Events that are committed together.
    pub group_events: usize,
}

/// What making events durable for a while took.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Appended {
    pub events: u64,
    pub groups: u64,
    pub elapsed: Duration,
    /// CPU of the thread that commits.
    pub thread: Duration,
    /// CPU of all threads that the layout needs.
    pub threads: Duration,
}

/// Groups that are on their way.
const GROUPS: usize = 2;
/// The thread that commits, and how the names of all of the log's threads begin.
const APPENDER: &str = "log-appender";
const LOG_THREADS: &str = "log-";

/// Each order is for how long to append.
pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let mut metrics = Registry::default();
    let log = logs::open_with(&setup.data_dir, log::Metrics::register(&mut metrics))?;
    control.answer(&())?;
    let maker = Maker::new(Payload::Small, logs::AGENTS);
    // Other events than those that the log has.
    let series: u64 = rand::random();
    let pid = std::process::id();
    // Threads that sort end when they are done. So the log's own CPU is what the others leave.
    let cpu = || {
        let others = threads_time(pid, |name| !name.starts_with(LOG_THREADS))?;
        let appender = threads_time(pid, |name| name == APPENDER)?;
        anyhow::Ok((appender, cpu_time(pid)?.saturating_sub(others)))
    };
    let number = AtomicU64::new(0);
    while let Some(duration) = control.order::<Duration>().await? {
        let (thread_before, threads_before) = cpu()?;
        let groups_before = groups_committed(&metrics)?;
        let start = Instant::now();
        // One group waits while the other is committed, so that none is begun too early.
        let appending = (0..GROUPS).map(async |_| {
            let mut events = 0;
            while events == 0 || start.elapsed() < duration {
                let first = number.fetch_add(setup.group_events as u64, Ordering::Relaxed);
                let group = (first..first + setup.group_events as u64)
                    .map(|number| log.appender.append(maker.event(series, number)));
                try_join_all(group).await?;
                events += setup.group_events as u64;
            }
            anyhow::Ok(events)
        });
        let events = try_join_all(appending).await?.into_iter().sum();
        let elapsed = start.elapsed();
        let (thread, threads) = cpu()?;
        control.answer(&Appended {
            events,
            groups: groups_committed(&metrics)? - groups_before,
            elapsed,
            thread: thread.saturating_sub(thread_before),
            threads: threads.saturating_sub(threads_before),
        })?;
    }
    log.appender.finish().await;
    Ok(())
}
