//! Connections: TLS, many streams on one, and the settings of HTTP/2.

use std::{thread, time::Duration};

use super::{
    Depth, Plan,
    fanout::BATCH,
    scene::{Load, Scene, gateway},
};
use crate::{
    load::{streams::Http2, subscribers::Grpc},
    measure::{cpu_time, interleaved},
    report::{Figure, Findings, Ratio, Row, grouped},
    servers::{Contestant, gateway::Source},
};

const SUBSCRIBERS: usize = 1_000;
/// How often the idle are asked, in the sweep of pings. What a longer interval costs follows from
/// these.
const PING_SECONDS: [u64; 3] = [1, 2, 5];
/// A whole number of each.
const PINGED: Duration = Duration::from_secs(10);

pub(crate) fn transport(plan: &Plan) -> anyhow::Result<Findings> {
    let on_one = [10, 100, 1_000].map(|streams| {
        let grpc = Grpc {
            streams_per_connection: plan.count(streams),
            ..Grpc::default()
        };
        (
            format!("{} streams on each connection", grouped(streams as u64)),
            scene(plan, false, grpc),
        )
    });
    let mut variants = vec![
        (
            "one connection each".to_owned(),
            scene(plan, false, Grpc::default()),
        ),
        (
            "TLS, one connection each".to_owned(),
            scene(plan, true, Grpc::default()),
        ),
    ];
    variants.extend(on_one);
    compare(plan, &variants)
}

pub(crate) fn settings(plan: &Plan) -> anyhow::Result<Findings> {
    const KIB: u32 = 1024;
    let http2 = |stream_window, connection_window, frame| Http2 {
        stream_window_bytes: stream_window * KIB - 1,
        connection_window_bytes: connection_window * KIB - 1,
        frame_bytes_max: frame * KIB,
    };
    let mut variants = Vec::new();
    for streams in [1, 100] {
        for (what, http2) in [
            ("windows of 64 KiB, frames of 16 KiB", http2(64, 64, 16)),
            ("windows of 256 KiB, frames of 16 KiB", http2(256, 256, 16)),
            (
                "windows of 1 and 4 MiB, frames of 16 KiB",
                http2(1024, 4096, 16),
            ),
            (
                "windows of 1 and 4 MiB, frames of 64 KiB",
                http2(1024, 4096, 64),
            ),
            (
                "windows of 1 and 4 MiB, frames of 256 KiB",
                http2(1024, 4096, 256),
            ),
        ] {
            let grpc = Grpc {
                streams_per_connection: plan.count(streams),
                http2,
                ..Grpc::default()
            };
            let what = format!("{what}, {streams} on a connection");
            variants.push((what, scene(plan, false, grpc)));
        }
    }
    let mut findings = compare(plan, &variants)?;
    findings.rows.extend(pings(plan)?);
    Ok(findings)
}

fn scene(plan: &Plan, tls: bool, grpc: Grpc) -> Scene {
    let mut contestant = gateway(Source::Log);
    if let Contestant::Gateway(setup) = &mut contestant {
        setup.tls = tls;
    }
    Scene::new(contestant, plan.count(SUBSCRIBERS), plan.count(BATCH)).grpc(grpc)
}

/// Each against the first.
fn compare(plan: &Plan, variants: &[(String, Scene)]) -> anyhow::Result<Findings> {
    let samples = interleaved(plan.runs, variants, |(_, scene)| scene.measure(plan))?;
    let mut findings = Findings::default();
    let figures: [Figure<Load>; 2] = [
        ("ns CPU / delivery", |load| load.cpu_per_delivery),
        ("deliveries / s", |load| load.deliveries_per_second),
    ];
    for (unit, figure) in figures {
        for (place, ((what, _), samples_there)) in variants.iter().zip(&samples).enumerate() {
            let row = Row::new(what, unit, samples_there.iter().map(figure));
            findings.rows.push(match place {
                0 => row,
                _ => {
                    let first = samples[0].iter().map(figure);
                    row.against(&variants[0].0, first, Ratio::OursToPeer)
                }
            });
        }
    }
    Ok(findings)
}

/// What it costs to ask idle clients whether they are still there.
fn pings(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let scenes = PING_SECONDS.map(|seconds| {
        let mut contestant = gateway(Source::Log);
        if let Contestant::Gateway(setup) = &mut contestant {
            setup.ping_interval = Duration::from_secs(seconds);
        }
        Scene::new(contestant, plan.count(SUBSCRIBERS), 1)
    });
    let samples = interleaved(plan.runs, &scenes, |scene| {
        let stage = scene.set(false)?;
        let watched = match plan.depth {
            Depth::Smoke => plan.load,
            _ => PINGED,
        };
        let before = cpu_time(stage.server.pid())?;
        thread::sleep(watched);
        let cpu = cpu_time(stage.server.pid())? - before;
        Ok(cpu.as_secs_f64() / watched.as_secs_f64() * 1e3)
    })?;
    let rows = PING_SECONDS.iter().zip(samples).map(|(seconds, samples)| {
        let subscribers = grouped(plan.count(SUBSCRIBERS) as u64);
        Row::new(
            format!("{subscribers} idle connections, a ping each {seconds} s"),
            "ms CPU / s",
            samples,
        )
    });
    Ok(rows.collect())
}
