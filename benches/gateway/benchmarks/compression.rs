//! Transcripts to those who accept compression.

use super::{
    Plan,
    scene::{Scene, gateway, tonic_broadcast},
};
use crate::{
    events::Payload,
    load::subscribers::Grpc,
    measure::interleaved,
    report::{Findings, Ratio, Row, grouped},
    servers::{Contestant, gateway::Source},
};

const SUBSCRIBERS: usize = 1_000;
/// Transcripts are large: fewer fill the same frames.
const BATCH: usize = 16;

pub(crate) fn transcripts(plan: &Plan) -> anyhow::Result<Findings> {
    let subscribers = plan.count(SUBSCRIBERS);
    let ours = |accepted| scene(plan, subscribers, gateway(Source::Log), accepted);
    let scenes = [
        ours(None),
        ours(Some("gzip")),
        ours(Some("zstd")),
        scene(plan, subscribers, tonic_broadcast(), Some("gzip")),
    ];
    let samples = interleaved(plan.runs, &scenes, |scene| scene.measure(plan))?;
    let mut findings = Findings::default();
    for (place, wanted) in ["identity", "gzip", "zstd"].into_iter().enumerate() {
        let samples_there = &samples[place];
        if samples_there.iter().any(|load| load.encoding != wanted) {
            findings.remark(format!("{wanted} is not offered by this gateway"));
            continue;
        }
        let what = format!(
            "transcripts to {} subscribers, {wanted}",
            grouped(subscribers as u64)
        );
        let cpu = samples_there.iter().map(|load| load.cpu_per_delivery);
        let bytes = samples_there.iter().map(|load| load.bytes_per_delivery);
        let mut rows = [
            Row::new(&what, "ns CPU / delivery", cpu),
            Row::new(&what, "bytes / delivery", bytes),
        ];
        if wanted == "gzip" {
            let theirs = samples[3].iter().map(|load| load.cpu_per_delivery);
            rows[0] =
                rows[0]
                    .clone()
                    .against("plain tonic + broadcast, gzip", theirs, Ratio::PeerToOurs);
        }
        findings.rows.extend(rows);
    }
    Ok(findings)
}

fn scene(
    plan: &Plan,
    subscribers: usize,
    mut contestant: Contestant,
    accepted: Option<&str>,
) -> Scene {
    match &mut contestant {
        Contestant::Gateway(setup) => setup.payload = Payload::Transcript,
        Contestant::TonicBroadcast(setup) => {
            setup.payload = Payload::Transcript;
            setup.gzip = true;
        }
        Contestant::RawTcp(_) | Contestant::Nats(_) => {}
    }
    Scene::new(contestant, subscribers, plan.count(BATCH)).grpc(Grpc {
        accept_encoding: accepted.map(str::to_owned),
        ..Grpc::default()
    })
}
