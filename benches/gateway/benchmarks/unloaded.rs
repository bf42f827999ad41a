//! One event at a time.

use super::{
    Plan,
    scene::{Scene, gateway, tonic_broadcast},
};
use crate::{
    load::subscribers::Order,
    measure::{cpu_time, interleaved, latencies, quantile},
    pace::Publication,
    report::{Figure, Findings, Ratio, Row, Target},
    servers::gateway::Source,
};

const SUBSCRIBERS: usize = 100;

/// One sample.
struct Sample {
    cpu_per_delivery: f64,
    /// From the commit, or from the broadcast, to a subscriber: microseconds.
    latency_median: f64,
    latency_p99: f64,
}

pub(crate) fn one_at_a_time(plan: &Plan) -> anyhow::Result<Findings> {
    let subscribers = plan.count(SUBSCRIBERS);
    // The peer stores nothing. What is compared with it begins where the log has committed.
    let scenes = [
        gateway(Source::Groups),
        tonic_broadcast(),
        gateway(Source::Log),
    ]
    .map(|contestant| Scene::new(contestant, subscribers, 1));
    let samples = interleaved(plan.runs, &scenes, |scene| sample(scene, plan))?;

    let at_most = Some(Target::AtMost(1.0));
    let figures: [(Figure<Sample>, Option<Target>); 3] = [
        (
            ("ns CPU / delivery", |sample| sample.cpu_per_delivery),
            at_most,
        ),
        (("µs, median", |sample| sample.latency_median), at_most),
        (("µs, 99 %", |sample| sample.latency_p99), None),
    ];
    let mut findings = Findings::default();
    for ((unit, figure), target) in figures {
        let of = |place: usize| samples[place].iter().map(figure);
        let what = |from: &str| format!("{subscribers} subscribers, one event at a time, {from}");
        let row = Row::new(what("from the commit"), unit, of(0)).against(
            "plain tonic + broadcast",
            of(1),
            Ratio::OursToPeer,
        );
        findings.rows.push(match target {
            Some(target) => row.target(target),
            None => row,
        });
        findings
            .rows
            .push(Row::new(what("with the commit"), unit, of(2)));
    }
    Ok(findings)
}

fn sample(scene: &Scene, plan: &Plan) -> anyhow::Result<Sample> {
    let mut stage = scene.set(true)?;
    let mut publication = Publication {
        batch_events: 1,
        batches_ahead: 0,
        deliveries_per_event: scene.subscribers as u64,
        duration: plan.warm_up,
        noted: true,
    };
    stage.server.publish(publication)?;
    let _warm: Vec<u64> = stage.clients.ask(&Order::Arrivals)?;

    publication.duration = plan.load;
    let cpu_before = cpu_time(stage.server.pid())?;
    let published = stage.server.publish(publication)?;
    let cpu = cpu_time(stage.server.pid())? - cpu_before;
    let arrivals: Vec<u64> = stage.clients.ask(&Order::Arrivals)?;

    let latencies = latencies(&published.published_at, &arrivals);
    Ok(Sample {
        cpu_per_delivery: cpu.as_nanos() as f64 / arrivals.len() as f64,
        latency_median: quantile(&latencies, 0.5),
        latency_p99: quantile(&latencies, 0.99),
    })
}
