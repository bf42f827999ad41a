//! The whole path under load: from webhooks over many connections to the streams of subscribers.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{Plan, ingest::CONNECTIONS};
use crate::{
    events::Filters,
    load::{
        posters::{self, Post, Posted},
        subscribers::{self, Delivered, Grpc, Order, Protocol},
    },
    measure::{cpu_time, interleaved},
    peers::webhook_broadcast,
    process::{Child, Role},
    report::{Findings, Ratio, Row, Target},
    servers::binary::Gateway,
};

/// Who subscribes, and how.
#[derive(Clone)]
struct Audience {
    what: String,
    subscribers: usize,
    grpc: Grpc,
    agents: u64,
    deliveries_per_event: u64,
    /// How many times cheaper than the peer.
    target: f64,
}

#[derive(Clone, Copy)]
enum Contestant {
    Gateway,
    Broadcast,
}

struct Sample {
    cpu_per_delivery: f64,
    deliveries_per_second: f64,
}

/// A server that is ready, with whatever has to stay alive.
struct Server {
    webhook: SocketAddr,
    grpc: SocketAddr,
    ca: PathBuf,
    pid: u32,
    _process: Process,
    _folder: tempfile::TempDir,
}

enum Process {
    Gateway { _process: Gateway },
    Broadcast { _process: Child },
}

pub(crate) fn webhooks_to_streams(plan: &Plan) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    for audience in audiences(plan) {
        let contestants = [Contestant::Gateway, Contestant::Broadcast];
        let samples = interleaved(plan.runs, &contestants, |contestant| {
            sample(contestant.start()?, &audience, plan)
        })?;
        let cpu = |place: usize| samples[place].iter().map(|sample| sample.cpu_per_delivery);
        let rate = |place: usize| {
            let samples = samples[place].iter();
            samples.map(|sample| sample.deliveries_per_second)
        };
        let peer = "HTTPS handler + plain tonic + broadcast";
        findings.rows.push(
            Row::new(&audience.what, "ns CPU / delivery, ingest included", cpu(0))
                .against(peer, cpu(1), Ratio::PeerToOurs)
                .target(Target::AtLeast(audience.target)),
        );
        findings
            .rows
            .push(Row::new(&audience.what, "deliveries / s", rate(0)).against(
                peer,
                rate(1),
                Ratio::OursToPeer,
            ));
    }
    Ok(findings)
}

fn audiences(plan: &Plan) -> [Audience; 3] {
    let (many, few, agents, connections) = (
        plan.count(1_000),
        plan.count(100),
        plan.count(100),
        plan.count(4),
    );
    [
        Audience {
            what: format!("{many} subscribers with one filter"),
            subscribers: many,
            grpc: Grpc::default(),
            agents: 1,
            deliveries_per_event: many as u64,
            target: 3.0,
        },
        Audience {
            what: format!("{many} subscribers on {agents} agents"),
            subscribers: many,
            grpc: Grpc {
                filters: Filters::OneAgentOf(agents),
                ..Grpc::default()
            },
            agents: agents as u64,
            deliveries_per_event: (many / agents) as u64,
            target: 2.5,
        },
        Audience {
            what: format!("{few} subscribers on {connections} connections"),
            subscribers: few,
            grpc: Grpc {
                streams_per_connection: few.div_ceil(connections),
                ..Grpc::default()
            },
            agents: 1,
            deliveries_per_event: few as u64,
            target: 2.0,
        },
    ]
}

impl Contestant {
    fn start(self) -> anyhow::Result<Server> {
        let folder = crate::temporary_folder()?;
        match self {
            Self::Gateway => {
                let gateway = Gateway::start(&folder.path().join("data"))?;
                Ok(Server {
                    webhook: gateway.webhook,
                    grpc: gateway.grpc,
                    ca: gateway.ca(),
                    pid: gateway.pid(),
                    _process: Process::Gateway { _process: gateway },
                    _folder: folder,
                })
            }
            Self::Broadcast => {
                let setup = webhook_broadcast::Setup {
                    folder: folder.path().to_owned(),
                };
                let (child, ready): (Child, webhook_broadcast::Ready) =
                    Child::start(Role::WebhookBroadcast(setup))?;
                Ok(Server {
                    webhook: ready.webhook,
                    grpc: ready.grpc,
                    ca: ready.ca,
                    pid: child.pid(),
                    _process: Process::Broadcast { _process: child },
                    _folder: folder,
                })
            }
        }
    }
}

fn sample(server: Server, audience: &Audience, plan: &Plan) -> anyhow::Result<Sample> {
    let (mut posters, ready): (Child, posters::Ready) =
        Child::start(Role::Posters(posters::Setup {
            addr: server.webhook,
            ca: server.ca.clone(),
            connections: plan.count(CONNECTIONS),
            agents: audience.agents,
        }))?;
    let (mut clients, _): (Child, subscribers::Ready) =
        Child::start(Role::Subscribers(subscribers::Setup {
            protocol: Protocol::Grpc(audience.grpc.clone()),
            addr: server.grpc,
            count: audience.subscribers,
            from_earliest: false,
            pace: Some(ready.pace),
            pace_step: audience.deliveries_per_event,
            noted: false,
        }))?;
    let order = |duration: Duration| Post {
        duration: duration.max(Duration::from_millis(1)),
        deliveries_per_event: Some(audience.deliveries_per_event),
    };
    let _warm: Posted = posters.ask(&order(plan.warm_up))?;
    let before: Delivered = clients.ask(&Order::Count)?;
    let cpu_before = cpu_time(server.pid)?;
    let posted: Posted = posters.ask(&order(plan.load))?;
    let cpu = cpu_time(server.pid)? - cpu_before;
    let after: Delivered = clients.ask(&Order::Count)?;
    // In a smoke run nothing may have arrived yet.
    let deliveries = (after.deliveries - before.deliveries).max(1) as f64;
    Ok(Sample {
        cpu_per_delivery: cpu.as_nanos() as f64 / deliveries,
        deliveries_per_second: deliveries / posted.elapsed.as_secs_f64(),
    })
}
