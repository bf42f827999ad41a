//! Webhooks as fast as they are taken.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{Depth, Plan};
use crate::{
    load::posters::{Post, Posted, Ready, Setup},
    logs::KeptLog,
    measure::{cpu_time, interleaved},
    peers::bare_https,
    process::{Child, Role},
    report::{Curve, Findings, Ratio, Row, Target, grouped},
    servers::binary::Gateway,
};

pub(super) const CONNECTIONS: usize = 64;
/// What a cold start may take until the gateway is as fast as ever.
const FIRST: Duration = Duration::from_secs(1);
const COLD: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
enum Contestant {
    Gateway,
    StoresNothing,
    /// The gateway, with so many events in its log, and nothing of it in the system's memory.
    Filled(u64),
}

/// One sample.
struct Sample {
    /// At the beginning, and then while it was measured.
    first_per_second: f64,
    requests_per_second: f64,
    /// Of the server, in microseconds.
    cpu_per_request: f64,
}

pub(crate) fn durable(plan: &Plan) -> anyhow::Result<Findings> {
    let mut contestants = vec![Contestant::Gateway, Contestant::StoresNothing];
    contestants.extend(plan.log_sizes().into_iter().map(Contestant::Filled));
    for events in plan.log_sizes() {
        KeptLog::of(events)?;
    }
    let samples = interleaved(plan.runs, &contestants, |&contestant| match contestant {
        Contestant::Gateway => {
            let folder = crate::temporary_folder()?;
            into_the_gateway(plan, folder.path().join("data"), plan.warm_up)
        }
        Contestant::StoresNothing => into_nothing(plan),
        Contestant::Filled(events) => {
            let log = KeptLog::of(events)?;
            log.forget()?;
            let warm_up = match plan.depth {
                Depth::Smoke => plan.warm_up,
                _ => COLD,
            };
            into_the_gateway(plan, log.folder, warm_up)
        }
    })?;

    let rate: fn(&Sample) -> f64 = |sample| sample.requests_per_second;
    let cpu = |sample: &Sample| sample.cpu_per_request;
    let what = format!("{} HTTPS connections", plan.count(CONNECTIONS));
    let mut findings = Findings::of([
        Row::new(&what, "webhooks / s", samples[0].iter().map(rate))
            .against(
                "handler that stores nothing",
                samples[1].iter().map(rate),
                Ratio::OursToPeer,
            )
            .target(Target::AtLeast(0.5)),
        Row::new(&what, "µs CPU / webhook", samples[0].iter().map(cpu)).against(
            "handler that stores nothing",
            samples[1].iter().map(cpu),
            Ratio::OursToPeer,
        ),
    ]);
    let mut curve = Curve::new(
        "Ingest against the log",
        "events in the log",
        "webhooks a second",
    );
    for (events, samples_there) in plan.log_sizes().into_iter().zip(&samples[2..]) {
        let log = format!("{what}, {} events in the log", grouped(events));
        let against_empty = |when: &str, figure: fn(&Sample) -> f64| {
            Row::new(
                format!("{log}, {when} a cold start"),
                "webhooks / s",
                samples_there.iter().map(figure),
            )
            .against(
                "an empty log",
                samples[0].iter().map(rate),
                Ratio::OursToPeer,
            )
        };
        let settled = against_empty("5 s after", rate).target(Target::AtLeast(0.9));
        curve.add("verbex-gateway", events as f64, settled.ours);
        let first = against_empty("first second after", |sample| sample.first_per_second);
        findings.rows.extend([settled, first]);
    }
    findings.curves.push(curve);
    Ok(findings)
}

fn into_the_gateway(plan: &Plan, data_dir: PathBuf, warm_up: Duration) -> anyhow::Result<Sample> {
    let gateway = Gateway::start(&data_dir)?;
    let sample = post(plan, warm_up, gateway.webhook, gateway.ca(), gateway.pid())?;
    gateway.stop()?;
    Ok(sample)
}

fn into_nothing(plan: &Plan) -> anyhow::Result<Sample> {
    let folder = crate::temporary_folder()?;
    let setup = bare_https::Setup {
        folder: folder.path().to_owned(),
    };
    let (server, ready): (Child, bare_https::Ready) = Child::start(Role::BareHttps(setup))?;
    post(plan, plan.warm_up, ready.addr, ready.ca, server.pid())
}

fn post(
    plan: &Plan,
    warm_up: Duration,
    addr: SocketAddr,
    ca: PathBuf,
    server: u32,
) -> anyhow::Result<Sample> {
    let (mut posters, _): (Child, Ready) = Child::start(Role::Posters(Setup {
        addr,
        ca,
        connections: plan.count(CONNECTIONS),
        agents: 1,
    }))?;
    let mut posted = |duration: Duration| -> anyhow::Result<(f64, f64)> {
        let cpu_before = cpu_time(server)?;
        let posted: Posted = posters.ask(&Post {
            duration: duration.max(Duration::from_millis(1)),
            deliveries_per_event: None,
        })?;
        let cpu = cpu_time(server)? - cpu_before;
        let requests = posted.requests as f64;
        let rate = requests / posted.elapsed.as_secs_f64();
        Ok((rate, cpu.as_secs_f64() * 1e6 / requests))
    };
    let (first_per_second, _) = posted(warm_up.min(FIRST))?;
    posted(warm_up.saturating_sub(FIRST))?;
    let (requests_per_second, cpu_per_request) = posted(plan.load)?;
    Ok(Sample {
        first_per_second,
        requests_per_second,
        cpu_per_request,
    })
}
