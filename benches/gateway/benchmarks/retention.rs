//! What the removal of old events costs, and what webhooks see of it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;

use super::Plan;
use crate::{
    load::steady::{PostSteadily, Setup},
    logs::{self, KeptLog},
    measure::{interleaved, quantile, threads_time},
    process::{Child, Role},
    report::{Figure, Findings, Ratio, Row, Target, grouped},
    servers::binary::Gateway,
};

const PER_SECOND: u64 = 200;
/// Verbex waits for a second. This is what people call slow.
const SLOW_MILLIS: f64 = 10.0;
/// All that was in the log has to go, and what is posted, soon.
const REMOVES: [(&str, &str); 1] = [("VERBEX_GATEWAY_LOG_RETENTION_AGE", "1s")];
/// Longer than other loads: of 200 webhooks a second few are slow.
const LOADS: u32 = 4;
/// The thread that removes rows.
const APPENDER: &str = "log-appender";
/// The most that a removal may take.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, PartialEq)]
enum Contestant {
    Posts,
    PostsWhileEventsGo,
    EventsGo,
}

/// One sample. What was not measured is zero.
#[derive(Default)]
struct Sample {
    /// Milliseconds of each webhook, in order of length.
    took: Vec<f64>,
    removed: f64,
    /// Of the thread that removes, in microseconds.
    cpu_per_row: f64,
    rows_per_second: f64,
}

pub(crate) fn beside_webhooks(plan: &Plan) -> anyhow::Result<Findings> {
    let log = KeptLog::of(plan.million())?;
    let contestants = [
        Contestant::Posts,
        Contestant::PostsWhileEventsGo,
        Contestant::EventsGo,
    ];
    let samples = interleaved(plan.runs, &contestants, |contestant| {
        contestant.sample(plan, &log)
    })?;

    let what = format!(
        "{PER_SECOND} webhooks / s, {} events in the log",
        grouped(log.events)
    );
    let figures: [Figure<Sample>; 5] = [
        ("ms, median", |sample| quantile(&sample.took, 0.5)),
        ("ms, 99 %", |sample| quantile(&sample.took, 0.99)),
        ("ms, 99.9 %", |sample| quantile(&sample.took, 0.999)),
        ("ms, longest", |sample| quantile(&sample.took, 1.0)),
        ("of 10,000 over 10 ms", |sample| {
            let slow = sample.took.iter().filter(|&&took| took > SLOW_MILLIS);
            slow.count() as f64 * 1e4 / sample.took.len() as f64
        }),
    ];
    let mut findings = Findings::default();
    for (unit, figure) in figures {
        let of = |place: usize| samples[place].iter().map(figure);
        let row = Row::new(format!("{what}, while events are removed"), unit, of(1));
        findings
            .rows
            .push(row.against("nothing is removed", of(0), Ratio::OursToPeer));
    }
    let removed = |place: usize, unit, figure: fn(&Sample) -> f64| {
        let beside = match place {
            1 => format!("events removed beside {PER_SECOND} webhooks / s"),
            _ => "events removed, nothing else".to_owned(),
        };
        Row::new(beside, unit, samples[place].iter().map(figure))
    };
    findings.rows.extend([
        removed(2, "µs CPU of the thread / row", |sample| {
            sample.cpu_per_row
        })
        .target(Target::ValueBelow(7.0)),
        removed(2, "rows / s", |sample| sample.rows_per_second),
        removed(1, "rows / s", |sample| sample.rows_per_second),
    ]);
    Ok(findings)
}

impl Contestant {
    fn sample(self, plan: &Plan, log: &KeptLog) -> anyhow::Result<Sample> {
        let folder = crate::temporary_folder()?;
        let data_dir = folder.path().join("data");
        log.copy(&data_dir)?;
        let gateway = match self {
            Self::Posts => Gateway::start(&data_dir)?,
            _ => Gateway::start_with(&data_dir, &REMOVES)?,
        };
        let count = || logs::event_count(&data_dir);
        let cpu = || threads_time(gateway.pid(), |name| name == APPENDER);
        let (count_before, cpu_before) = (count()?, cpu()?);
        if self != Self::Posts {
            until(|| Ok(count()? < count_before))?;
        }
        let start = Instant::now();
        let mut sample = Sample::default();
        let mut posted = 0;
        match self {
            Self::EventsGo => until(|| Ok(count()? == 0))?,
            _ => {
                let (mut client, ()) = Child::start(Role::Steady(Setup {
                    addr: gateway.webhook,
                    ca: gateway.ca(),
                    agents: logs::AGENTS,
                }))?;
                sample.took = client.ask(&PostSteadily {
                    per_second: PER_SECOND,
                    duration: plan.load * LOADS,
                })?;
                sample.took.sort_by(f64::total_cmp);
                posted = sample.took.len() as u64;
            }
        }
        let elapsed = start.elapsed();
        sample.removed = (count_before + posted).saturating_sub(count()?) as f64;
        sample.cpu_per_row = (cpu()? - cpu_before).as_secs_f64() * 1e6 / sample.removed;
        sample.rows_per_second = sample.removed / elapsed.as_secs_f64();
        Ok(sample)
    }
}

fn until(is_so: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !is_so()? {
        ensure!(start.elapsed() < PATIENCE, "events are still removed");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
