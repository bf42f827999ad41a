//! Webhooks as fast as they are taken.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::Plan;
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
/// A log whose index on ids is worth warming up: until its pages are in memory, each event waits
/// for the disk.
const LARGE: u64 = 1_000_000;
const LARGE_WARM_UP: Duration = Duration::from_secs(20);

#[derive(Clone, Copy)]
enum Contestant {
    /// The gateway, with so many events in its log.
    Gateway(u64),
    StoresNothing,
}

/// One sample.
#[derive(Clone, Copy)]
struct Sample {
    requests_per_second: f64,
    /// Of the server, in microseconds.
    cpu_per_request: f64,
}

pub(crate) fn durable(plan: &Plan) -> anyhow::Result<Findings> {
    let mut contestants = vec![Contestant::Gateway(0), Contestant::StoresNothing];
    contestants.extend(plan.log_sizes().into_iter().map(Contestant::Gateway));
    for events in plan.log_sizes() {
        KeptLog::of(events)?;
    }
    let samples = interleaved(plan.runs, &contestants, |&contestant| match contestant {
        Contestant::Gateway(0) => {
            let folder = crate::temporary_folder()?;
            into_the_gateway(plan, folder.path().join("data"), plan.warm_up)
        }
        Contestant::Gateway(events) => {
            let log = KeptLog::of(events)?;
            let warm_up = match events {
                LARGE.. => LARGE_WARM_UP,
                _ => plan.warm_up,
            };
            let sample = into_the_gateway(plan, log.folder.clone(), warm_up);
            log.restore()?;
            sample
        }
        Contestant::StoresNothing => into_nothing(plan),
    })?;

    let rate = |sample: &Sample| sample.requests_per_second;
    let cpu = |sample: &Sample| sample.cpu_per_request;
    let what = format!("{} HTTPS connections", plan.count(CONNECTIONS));
    let mut findings = Findings::of([
        Row::new(&what, "webhooks / s", samples[0].iter().map(rate))
            .against(
                "handler that stores nothing",
                samples[1].iter().map(rate),
                Ratio::OursToPeer,
            )
            .target(Target::AtLeast(0.3)),
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
        let row = Row::new(
            format!("{what}, {} events in the log", grouped(events)),
            "webhooks / s",
            samples_there.iter().map(rate),
        )
        .against(
            "an empty log",
            samples[0].iter().map(rate),
            Ratio::OursToPeer,
        )
        .target(Target::AtLeast(0.7));
        curve.add("verbex-gateway", events as f64, row.ours);
        findings.rows.push(row);
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
    let order = |duration: Duration| Post {
        duration,
        deliveries_per_event: None,
    };
    let _warm: Posted = posters.ask(&order(warm_up.max(Duration::from_millis(1))))?;
    let cpu_before = cpu_time(server)?;
    let posted: Posted = posters.ask(&order(plan.load))?;
    let cpu = cpu_time(server)? - cpu_before;
    Ok(Sample {
        requests_per_second: posted.requests as f64 / posted.elapsed.as_secs_f64(),
        cpu_per_request: cpu.as_secs_f64() * 1e6 / posted.requests as f64,
    })
}
