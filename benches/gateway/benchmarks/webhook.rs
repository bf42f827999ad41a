//! From a webhook's POST to its subscriber, and what that has to take at least.

use std::{fs::File, io::Write, path::Path, time::Instant};

use super::Plan;
use crate::{
    load::webhook_to_subscriber::{PostOneByOne, Setup, Times},
    measure::{interleaved, quantile},
    peers::bare_https,
    process::{Child, Role},
    report::{Findings, Ratio, Row, Target},
    servers::binary::Gateway,
};

const WEBHOOKS: usize = 500;
/// About what the log writes for a webhook.
const APPEND_BYTES: usize = 600;

enum Contestant {
    Gateway,
    /// An HTTPS round trip with a handler that stores nothing, and one sync of the disk.
    Least,
}

/// Medians in microseconds.
struct Sample {
    to_subscriber: f64,
    to_answer: f64,
}

pub(crate) fn to_subscriber(plan: &Plan) -> anyhow::Result<Findings> {
    let contestants = [Contestant::Gateway, Contestant::Least];
    let samples = interleaved(plan.runs, &contestants, |contestant| {
        let folder = crate::temporary_folder()?;
        let count = plan.count(WEBHOOKS);
        match contestant {
            Contestant::Gateway => through_the_gateway(folder.path(), count),
            Contestant::Least => at_least(folder.path(), count),
        }
    })?;
    let rows = [
        Row::new(
            "POST to subscriber, durable, unloaded",
            "µs, median",
            samples[0].iter().map(|sample| sample.to_subscriber),
        )
        .against(
            "bare HTTPS round trip + fdatasync",
            samples[1].iter().map(|sample| sample.to_subscriber),
            Ratio::OursToPeer,
        )
        .target(Target::AtMost(1.6)),
        Row::new(
            "POST to answer, durable, unloaded",
            "µs, median",
            samples[0].iter().map(|sample| sample.to_answer),
        )
        .against(
            "bare HTTPS round trip",
            samples[1].iter().map(|sample| sample.to_answer),
            Ratio::OursToPeer,
        ),
    ];
    Ok(Findings::of(rows))
}

fn through_the_gateway(folder: &Path, count: usize) -> anyhow::Result<Sample> {
    let gateway = Gateway::start(&folder.join("data"))?;
    let times = post(
        Setup {
            webhook: gateway.webhook,
            ca: gateway.ca(),
            grpc: Some(gateway.grpc),
        },
        count,
    )?;
    Ok(Sample {
        to_subscriber: median(times.to_subscriber),
        to_answer: median(times.to_answer),
    })
}

fn at_least(folder: &Path, count: usize) -> anyhow::Result<Sample> {
    let setup = bare_https::Setup {
        folder: folder.to_owned(),
    };
    let (_server, ready): (Child, bare_https::Ready) = Child::start(Role::BareHttps(setup))?;
    let times = post(
        Setup {
            webhook: ready.addr,
            ca: ready.ca,
            grpc: None,
        },
        count,
    )?;
    let round_trip = median(times.to_answer);
    Ok(Sample {
        to_subscriber: round_trip + median(syncs(folder, count)?),
        to_answer: round_trip,
    })
}

fn post(setup: Setup, count: usize) -> anyhow::Result<Times> {
    let (mut client, ()) = Child::start(Role::WebhookToSubscriber(setup))?;
    let _warm: Times = client.ask(&PostOneByOne(count / 10 + 1))?;
    client.ask(&PostOneByOne(count))
}

/// How long each append with `fdatasync` took, in microseconds.
fn syncs(folder: &Path, count: usize) -> anyhow::Result<Vec<f64>> {
    let mut file = File::create(folder.join("appended"))?;
    let record = [0; APPEND_BYTES];
    (0..count)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&record)?;
            file.sync_data()?;
            Ok(start.elapsed().as_secs_f64() * 1e6)
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}
