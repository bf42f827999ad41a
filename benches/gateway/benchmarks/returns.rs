//! Many subscribers that come back at once, as after a restart, while events go on.

use std::time::Duration;

use super::Plan;
use crate::{
    load::subscribers::{self, Grpc, Order, Protocol},
    logs::KeptLog,
    measure::{interleaved, latencies, quantile},
    pace::{Publication, Published},
    process::{Child, Role},
    report::{Figure, Findings, Ratio, Row, grouped},
    servers::{
        Ready,
        gateway::{self, Source},
    },
};

const SUBSCRIBERS: usize = 1_000;
/// What each of them has missed.
const EVENTS: u64 = 10_000;

/// One sample.
struct Sample {
    seconds: f64,
    deliveries_per_second: f64,
    /// Before they come, and while they catch up.
    calm: Live,
    meanwhile: Live,
}

/// What one subscriber that was there all the time sees of durable events, one after the other.
struct Live {
    events_per_second: f64,
    /// From before the commit to the subscriber, in microseconds.
    latency_median: f64,
    latency_p99: f64,
}

pub(crate) fn at_once(plan: &Plan) -> anyhow::Result<Findings> {
    let smallest = plan.log_sizes().into_iter().min();
    let events = smallest.unwrap_or(EVENTS).min(EVENTS);
    let log = KeptLog::of(events)?;
    let returning = plan.count(SUBSCRIBERS);
    let samples = interleaved(plan.runs, &[log], |log| sample(plan, log, returning))?;
    let of = |figure: fn(&Sample) -> f64| samples[0].iter().map(figure);
    let what = format!(
        "{} return at once, {} events behind",
        grouped(returning as u64),
        grouped(events)
    );
    let mut findings = Findings::of([
        Row::new(&what, "s until all have everything", of(|s| s.seconds)),
        Row::new(&what, "deliveries / s", of(|s| s.deliveries_per_second)),
    ]);
    let meanwhile = format!("an event to one that was live, while {what}");
    let figures: [Figure<Live>; 3] = [
        ("µs with the commit, median", |live| live.latency_median),
        ("µs with the commit, 99 %", |live| live.latency_p99),
        ("durable events / s, one by one", |live| {
            live.events_per_second
        }),
    ];
    for (unit, figure) in figures {
        let seen = samples[0].iter().map(|sample| figure(&sample.meanwhile));
        let calm = samples[0].iter().map(|sample| figure(&sample.calm));
        findings.rows.push(Row::new(&meanwhile, unit, seen).against(
            "before they come",
            calm,
            Ratio::OursToPeer,
        ));
    }
    Ok(findings)
}

fn sample(plan: &Plan, log: &KeptLog, returning: usize) -> anyhow::Result<Sample> {
    let folder = crate::temporary_folder()?;
    let data_dir = folder.path().join("data");
    log.copy(&data_dir)?;
    let setup = gateway::Setup::new(data_dir, Source::Log);
    let (mut server, ready): (Child, Ready) = Child::start(Role::Gateway(setup))?;
    let who = |count, from_earliest| subscribers::Setup {
        protocol: Protocol::Grpc(Grpc::default()),
        addr: ready.addr,
        count,
        from_earliest,
        pace: (!from_earliest).then_some(ready.pace),
        pace_step: 1,
        noted: !from_earliest,
    };
    let (mut live, _): (Child, subscribers::Ready) =
        Child::start(Role::Subscribers(who(1, false)))?;
    watch(&mut server, &mut live, plan.warm_up)?;
    let calm = watch(&mut server, &mut live, plan.load)?;
    let before: subscribers::Delivered = live.ask(&Order::Count)?;

    let (mut returned, _): (Child, subscribers::Ready) =
        Child::start(Role::Subscribers(who(returning, true)))?;
    // Short, so that they are not done before it is.
    let meanwhile = watch(
        &mut server,
        &mut live,
        plan.load.min(Duration::from_secs(1)),
    )?;
    let missed = (log.count + before.deliveries) * returning as u64;
    let elapsed: Duration = returned.ask(&Order::Until(missed))?;
    drop((returned, live, server));
    Ok(Sample {
        seconds: elapsed.as_secs_f64(),
        deliveries_per_second: missed as f64 / elapsed.as_secs_f64(),
        calm,
        meanwhile,
    })
}

/// Publishes for so long, each event once the one before has arrived.
fn watch(server: &mut Child, live: &mut Child, duration: Duration) -> anyhow::Result<Live> {
    let published: Published = server.ask(&Publication {
        batch_events: 1,
        batches_ahead: 0,
        deliveries_per_event: 1,
        duration,
        noted: true,
    })?;
    let arrivals: Vec<u64> = live.ask(&Order::Arrivals)?;
    let latencies = latencies(&published.published_at, &arrivals);
    Ok(Live {
        events_per_second: published.events_per_second(),
        latency_median: quantile(&latencies, 0.5),
        latency_p99: quantile(&latencies, 0.99),
    })
}
