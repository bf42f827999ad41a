//! Subscribers that come and go while others stay.

use std::{thread, time::Duration};

use super::{Plan, scene::Scene};
use crate::{
    load::churn,
    measure::{cpu_time, interleaved},
    process::{Child, Role},
    report::{Figure, Findings, Ratio, Row, Target, grouped},
    servers::gateway::Source,
};

const MANY: usize = 10_000;
const FEW: usize = 100;
const PER_SECOND: u64 = 1_000;

/// One sample.
struct Sample {
    /// While nothing else happens: the server's, in microseconds.
    cpu_per_join: f64,
    joins_per_second: f64,
    /// While events flow, with nobody coming or going and with churn.
    calm: f64,
    churning: f64,
    joins_per_second_under_load: f64,
}

pub(crate) fn joins_and_leaves(plan: &Plan) -> anyhow::Result<Findings> {
    let few = plan.count(FEW);
    let many = plan.count(MANY).max(2 * few);
    let scenes = [many, few].map(|count| Scene::own_agents(Source::Log, count, plan));
    let samples = interleaved(plan.runs, &scenes, |scene| sample(plan, scene))?;

    let of = |place: usize, figure: fn(&Sample) -> f64| samples[place].iter().map(figure);
    let staying = |subscribers: usize| format!("{} that stay", grouped(subscribers as u64));
    let what = format!("a join and a leave beside {}", staying(many));
    let mut findings = Findings::of([Row::new(&what, "µs CPU", of(0, |s| s.cpu_per_join))
        .against(staying(few), of(1, |s| s.cpu_per_join), Ratio::OursToPeer)
        .target(Target::AtMost(1.5))]);
    let figures: [Figure<Sample>; 2] = [
        ("joins / s, no events", |s| s.joins_per_second),
        ("joins / s, while events flow", |s| {
            s.joins_per_second_under_load
        }),
    ];
    for (unit, figure) in figures {
        findings.rows.push(Row::new(&what, unit, of(0, figure)));
    }
    findings.rows.push(
        Row::new(
            format!("{}, with churn", staying(many)),
            "events / s",
            of(0, |s| s.churning),
        )
        .against("nobody comes or goes", of(0, |s| s.calm), Ratio::OursToPeer),
    );
    Ok(findings)
}

fn sample(plan: &Plan, scene: &Scene) -> anyhow::Result<Sample> {
    let mut stage = scene.set(false)?;
    stage.server.publish(scene.publication(plan.warm_up))?;
    let calm = stage.server.publish(scene.publication(plan.load))?;
    let (mut visitors, ()) = Child::start(Role::Churn(churn::Setup {
        addr: stage.server.addr,
        per_second: PER_SECOND,
    }))?;
    thread::sleep(plan.warm_up);

    let mut joined = || -> anyhow::Result<f64> { Ok(visitors.ask::<u64>(&())? as f64) };
    let (before, cpu_before) = (joined()?, cpu_time(stage.server.pid())?);
    let idle = plan.load.max(Duration::from_millis(100));
    thread::sleep(idle);
    let (alone, cpu) = (
        joined()? - before,
        cpu_time(stage.server.pid())? - cpu_before,
    );

    let before = joined()?;
    let churning = stage.server.publish(scene.publication(plan.load))?;
    let under_load = joined()? - before;
    Ok(Sample {
        cpu_per_join: cpu.as_secs_f64() * 1e6 / alone,
        joins_per_second: alone / idle.as_secs_f64(),
        calm: calm.events_per_second(),
        churning: churning.events_per_second(),
        joins_per_second_under_load: under_load / churning.elapsed.as_secs_f64(),
    })
}
