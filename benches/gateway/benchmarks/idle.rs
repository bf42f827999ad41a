//! What a subscriber costs that nobody has anything for.

use super::{
    Plan,
    scene::{Scene, gateway, tonic_broadcast},
};
use crate::{
    load::subscribers::{Delivered, Order},
    measure::{interleaved, resident_bytes},
    pace::Publication,
    report::{Findings, Ratio, Row, Target, grouped},
    servers::{Contestant, gateway::Source},
};

const SUBSCRIBERS: usize = 1_000;
const HELD: usize = 10_000;

/// One sample.
struct Sample {
    bytes_per_subscriber: f64,
    /// Subscribers that were open, and got the one event at the end.
    held: u64,
}

pub(crate) fn memory(plan: &Plan) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    for (subscribers, runs) in [(SUBSCRIBERS, plan.runs), (HELD, 1)] {
        let subscribers = plan.count(subscribers);
        let contestants = [gateway(Source::Log), tonic_broadcast()];
        let samples = interleaved(runs, &contestants, |contestant| {
            sample(contestant, subscribers)
        })?;
        let memory = |sample: &Sample| sample.bytes_per_subscriber;
        findings.rows.push(
            Row::new(
                format!("{} idle subscribers", grouped(subscribers as u64)),
                "bytes / subscriber",
                samples[0].iter().map(memory),
            )
            .against(
                "plain tonic + broadcast",
                samples[1].iter().map(memory),
                Ratio::OursToPeer,
            )
            .target(Target::AtMost(1.3)),
        );
        if runs == 1 {
            let held = samples[0].iter().map(|sample| sample.held as f64);
            findings.rows.push(
                Row::new("idle subscribers held", "subscribers", held)
                    .target(Target::ValueAtLeast(subscribers as f64)),
            );
        }
    }
    Ok(findings)
}

fn sample(contestant: &Contestant, subscribers: usize) -> anyhow::Result<Sample> {
    // One subscriber first, so that what is made once is not counted as theirs.
    let alone = Scene::new(contestant.clone(), 1, 1).set(false)?;
    let before = resident_bytes(alone.server.pid())?;
    drop(alone);
    let mut stage = Scene::new(contestant.clone(), subscribers, 1).set(false)?;
    let after = stage.server.resident_bytes()?;
    stage.server.publish(Publication {
        batch_events: 1,
        batches_ahead: 0,
        deliveries_per_event: subscribers as u64,
        duration: std::time::Duration::ZERO,
        noted: false,
    })?;
    let delivered: Delivered = stage.clients.ask(&Order::Count)?;
    Ok(Sample {
        bytes_per_subscriber: after.saturating_sub(before) as f64 / subscribers as f64,
        held: delivered.deliveries.min(delivered.open as u64),
    })
}
