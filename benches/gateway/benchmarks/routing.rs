//! What it costs to find the one subscriber that wants an event among many.

use super::{Plan, scene::Scene};
use crate::{
    measure::interleaved,
    report::{Findings, Ratio, Row, Target, grouped},
    servers::gateway::Source,
};

const MANY: usize = 10_000;
const FEW: usize = 100;

pub(crate) fn own_agents(plan: &Plan) -> anyhow::Result<Findings> {
    let few = plan.count(FEW);
    let many = plan.count(MANY).max(2 * few);
    // Past the log, whose cost has nothing to do with who listens.
    let scenes = [many, few].map(|count| Scene::own_agents(Source::Groups, count, plan));
    let samples = interleaved(plan.runs, &scenes, |scene| scene.measure(plan))?;
    let cost = |place: usize| samples[place].iter().map(|load| load.cpu_per_event);
    let what = format!(
        "{} subscribers, each on its own agent",
        grouped(many as u64)
    );
    let row = Row::new(what, "ns CPU / event", cost(0))
        .against(format!("{few} subscribers"), cost(1), Ratio::OursToPeer)
        .target(Target::AtMost(1.5));
    Ok(Findings::of([row]))
}
