//! What it costs to find the one subscriber that wants an event among many.

use super::{
    Plan,
    scene::{Scene, gateway},
};
use crate::{
    events::Filters,
    load::subscribers::Grpc,
    measure::interleaved,
    report::{Findings, Ratio, Row, Target, grouped},
    servers::{Contestant, gateway::Source},
};

const MANY: usize = 10_000;
const FEW: usize = 100;
/// Not more than the few, so that nobody ever gets two events of a batch: what is written is alike.
const BATCH: usize = 64;
/// As many for the many as for the few: the kernel's part is alike, too.
const CONNECTIONS: usize = 10;

pub(crate) fn own_agents(plan: &Plan) -> anyhow::Result<Findings> {
    let few = plan.count(FEW);
    let many = plan.count(MANY).max(2 * few);
    let scenes = [many, few].map(|subscribers| {
        // Past the log, whose cost has nothing to do with who listens.
        let mut contestant = gateway(Source::Groups);
        if let Contestant::Gateway(setup) = &mut contestant {
            setup.agents = subscribers as u64;
        }
        let mut scene = Scene::new(contestant, subscribers, plan.count(BATCH)).grpc(Grpc {
            filters: Filters::OwnAgent,
            streams_per_connection: subscribers.div_ceil(CONNECTIONS),
            ..Grpc::default()
        });
        scene.deliveries_per_event = 1;
        scene
    });
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
