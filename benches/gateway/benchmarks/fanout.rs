//! Fan-out under load.

use super::{
    Plan,
    scene::{Load, Scene, gateway, nats, raw_tcp, tonic_broadcast},
};
use crate::{
    events::{Filters, Maker, Payload},
    load::subscribers::Grpc,
    measure::{Summary, interleaved},
    report::{Curve, Findings, Ratio, Row, Target, grouped},
    servers::{Contestant, gateway::Source},
};

const SUBSCRIBERS: usize = 1_000;
const FILTERS: usize = 100;
/// Events that are committed together.
const BATCHES: [usize; 3] = [16, 128, 256];
/// The batch of what is measured at one size only.
pub(super) const BATCH: usize = 128;

pub(crate) fn one_filter(plan: &Plan) -> anyhow::Result<Findings> {
    let subscribers = plan.count(SUBSCRIBERS);
    let message_bytes = Maker::new(Payload::Small, 1).message_bytes();
    let mut findings = Findings::default();
    let mut batches = BATCHES.map(|batch| plan.count(batch)).to_vec();
    // They are one in a smoke run.
    batches.dedup();
    for batch in batches {
        let mut contestants = vec![
            gateway(Source::Log),
            tonic_broadcast(),
            raw_tcp(message_bytes, subscribers),
            gateway(Source::Groups),
        ];
        contestants.extend(nats(message_bytes, false));
        contestants.extend(nats(message_bytes, true));
        let scenes: Vec<Scene> = contestants
            .into_iter()
            .map(|contestant| Scene::new(contestant, subscribers, batch))
            .collect();
        let samples = interleaved(plan.runs, &scenes, |scene| scene.measure(plan))?;
        let what = format!(
            "{} subscribers, {batch} a batch",
            grouped(subscribers as u64)
        );
        let (ours, exact) = (&samples[0], &samples[3]);
        let peers = [
            ("plain tonic + broadcast", Some(4.0), samples.get(1)),
            ("raw TCP", Some(0.4), samples.get(2)),
            ("nats-server core", Some(3.0), samples.get(4)),
            ("nats-server JetStream", None, samples.get(5)),
        ];
        for (peer, target, theirs) in peers {
            match theirs {
                Some(theirs) => compare(&mut findings, &what, ours, peer, theirs, target),
                None => findings.remark(format!("{what}: no {peer} on this machine")),
            }
        }
        let events = ours.iter().filter_map(|load| load.events_per_group);
        findings
            .rows
            .push(Row::new(&what, "events / group", events));
        findings.rows.push(
            Row::new(
                format!("{what}, past the log, in groups of exactly that"),
                "ns CPU / delivery",
                exact.iter().map(|load| load.cpu_per_delivery),
            )
            .against(
                "raw TCP",
                samples[2].iter().map(|load| load.cpu_per_delivery),
                Ratio::PeerToOurs,
            ),
        );
    }
    Ok(findings)
}

pub(crate) fn different_filters(plan: &Plan) -> anyhow::Result<Findings> {
    let (subscribers, filters) = (plan.count(SUBSCRIBERS), plan.count(FILTERS));
    let [ours, tonic, _] = with_filters(subscribers, filters, plan);
    let scenes = [ours, tonic];
    let samples = interleaved(plan.runs, &scenes, |scene| scene.measure(plan))?;
    let what = format!(
        "{} subscribers, {filters} filters, {} a batch",
        grouped(subscribers as u64),
        plan.count(BATCH)
    );
    let mut findings = Findings::default();
    let peer = "plain tonic + broadcast";
    let target = Some(3.0);
    compare(&mut findings, &what, &samples[0], peer, &samples[1], target);
    Ok(findings)
}

pub(crate) fn against_subscribers(plan: &Plan) -> anyhow::Result<Findings> {
    let places = plan.places(&[1, 10, 100, 1_000, 10_000]);
    let scenes = |&subscribers: &usize| {
        contestants().map(|contestant| Scene::new(contestant, subscribers, plan.count(BATCH)))
    };
    curve(
        plan,
        "CPU against subscribers",
        "subscribers",
        &places,
        scenes,
    )
}

pub(crate) fn against_filters(plan: &Plan) -> anyhow::Result<Findings> {
    let places = plan.places(&[1, 10, 100, 1_000]);
    let scenes = |&filters: &usize| with_filters(plan.count(SUBSCRIBERS), filters, plan);
    curve(plan, "CPU against filters", "filters", &places, scenes)
}

/// Those of the curves.
const NAMES: [&str; 3] = [
    "verbex-gateway",
    "plain tonic + broadcast",
    "verbex-gateway, past the log",
];

fn contestants() -> [Contestant; NAMES.len()] {
    [
        gateway(Source::Log),
        tonic_broadcast(),
        gateway(Source::Groups),
    ]
}

/// All subscribers on the one agent whose events come, by so many filters.
fn with_filters(subscribers: usize, filters: usize, plan: &Plan) -> [Scene; NAMES.len()] {
    contestants().map(|contestant| {
        Scene::new(contestant, subscribers, plan.count(BATCH)).grpc(Grpc {
            filters: Filters::Different(filters),
            ..Grpc::default()
        })
    })
}

fn curve(
    plan: &Plan,
    title: &str,
    across: &str,
    places: &[usize],
    scenes: impl Fn(&usize) -> [Scene; NAMES.len()],
) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    let mut curve = Curve::new(title, across, "ns of server CPU per delivery");
    for place in places {
        let samples = interleaved(plan.runs, &scenes(place), |scene| scene.measure(plan))?;
        for (name, samples) in NAMES.iter().zip(&samples) {
            let cost = samples.iter().map(|load| load.cpu_per_delivery);
            curve.add(name, *place as f64, Summary::of(cost));
        }
    }
    findings.curves.push(curve);
    Ok(findings)
}

/// Two rows: server CPU, which has the target if there is one, and deliveries a second.
fn compare(
    findings: &mut Findings,
    what: &str,
    ours: &[Load],
    peer: &str,
    theirs: &[Load],
    target: Option<f64>,
) {
    let cpu = |load: &Load| load.cpu_per_delivery;
    let row = Row::new(what, "ns CPU / delivery", ours.iter().map(cpu)).against(
        peer,
        theirs.iter().map(cpu),
        Ratio::PeerToOurs,
    );
    findings.rows.push(match target {
        Some(least) => row.target(Target::AtLeast(least)),
        None => row,
    });
    let rate = |load: &Load| load.deliveries_per_second;
    findings.rows.push(
        Row::new(what, "deliveries / s", ours.iter().map(rate)).against(
            peer,
            theirs.iter().map(rate),
            Ratio::OursToPeer,
        ),
    );
}
