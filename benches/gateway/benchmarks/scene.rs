//! A server, its subscribers and a load: what most benchmarks are made of.

use std::time::Duration;

use super::Plan;
use crate::{
    events::Filters,
    load::subscribers::{self, Delivered, Grpc, Order, Protocol},
    measure::cpu_time,
    pace::Publication,
    peers::{nats, raw_tcp, tonic_broadcast},
    process::{Child, Role},
    servers::{Contestant, Server, gateway},
};

/// Enough that a server never waits for its publisher, little enough for every queue.
const BATCHES_AHEAD: u64 = 4;
const OWN_AGENTS_CONNECTIONS: usize = 10;
/// Not more than there are subscribers, so that nobody ever gets two events of a batch: what is
/// written is alike.
const OWN_AGENTS_BATCH: usize = 64;

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub contestant: Contestant,
    pub subscribers: usize,
    pub protocol: Protocol,
    pub batch_events: usize,
    /// Subscribers that want an event.
    pub deliveries_per_event: usize,
}

/// What a server did under load.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// CPU of the server, in nanoseconds.
    pub cpu_per_delivery: f64,
    pub cpu_per_event: f64,
    pub deliveries_per_second: f64,
    /// Events that were committed together, where there is a log.
    pub events_per_group: Option<f64>,
    /// As they came out of TLS, if any: messages and their prefixes.
    pub bytes_per_delivery: f64,
    /// The compression of the messages.
    pub encoding: String,
}

/// A server and its subscribers, with everybody subscribed.
pub(crate) struct Stage {
    // The clients are dropped first, so that none of them misses its server.
    pub clients: Child,
    pub server: Server,
    pub encoding: String,
    /// Removed with the stage.
    _folder: tempfile::TempDir,
}

impl Scene {
    /// Everybody wants everything.
    pub(crate) fn new(contestant: Contestant, subscribers: usize, batch_events: usize) -> Self {
        let protocol = match &contestant {
            Contestant::Gateway(_) | Contestant::TonicBroadcast(_) => {
                Protocol::Grpc(Grpc::default())
            }
            Contestant::RawTcp(setup) => Protocol::Raw {
                message_bytes: setup.message_bytes,
            },
            Contestant::Nats(setup) => Protocol::Nats {
                durable: setup.durable,
            },
        };
        Self {
            contestant,
            subscribers,
            protocol,
            batch_events,
            deliveries_per_event: subscribers,
        }
    }

    /// Each subscriber on an agent of its own: each event has one. As many connections for many as
    /// for few, so that the kernel's part is alike.
    pub(crate) fn own_agents(source: gateway::Source, subscribers: usize, plan: &Plan) -> Self {
        let contestant = Contestant::Gateway(gateway::Setup {
            agents: subscribers as u64,
            ..gateway::Setup::new("", source)
        });
        let grpc = Grpc {
            filters: Filters::OwnAgent,
            streams_per_connection: subscribers.div_ceil(OWN_AGENTS_CONNECTIONS),
            ..Grpc::default()
        };
        Self {
            deliveries_per_event: 1,
            ..Self::new(contestant, subscribers, plan.count(OWN_AGENTS_BATCH)).grpc(grpc)
        }
    }

    /// With another way to subscribe.
    pub(crate) fn grpc(mut self, grpc: Grpc) -> Self {
        self.protocol = Protocol::Grpc(grpc);
        self
    }

    /// One sample, with processes of its own.
    pub(crate) fn measure(&self, plan: &Plan) -> anyhow::Result<Load> {
        let mut stage = self.set(false)?;
        if !plan.warm_up.is_zero() {
            stage.server.publish(self.publication(plan.warm_up))?;
        }
        let before: Delivered = stage.clients.ask(&Order::Count)?;
        let cpu_before = cpu_time(stage.server.pid())?;
        let published = stage.server.publish(self.publication(plan.load))?;
        let cpu = cpu_time(stage.server.pid())? - cpu_before;
        let after: Delivered = stage.clients.ask(&Order::Count)?;
        let deliveries = (after.deliveries - before.deliveries) as f64;
        Ok(Load {
            cpu_per_delivery: cpu.as_nanos() as f64 / deliveries,
            cpu_per_event: cpu.as_nanos() as f64 / published.events as f64,
            deliveries_per_second: deliveries / published.elapsed.as_secs_f64(),
            events_per_group: published
                .groups
                .map(|groups| published.events as f64 / groups as f64),
            bytes_per_delivery: (after.bytes - before.bytes) as f64 / deliveries,
            encoding: stage.encoding,
        })
    }

    /// Starts the server, and then its subscribers.
    pub(crate) fn set(&self, noted: bool) -> anyhow::Result<Stage> {
        let folder = crate::temporary_folder()?;
        let mut contestant = self.contestant.clone();
        let mut protocol = self.protocol.clone();
        if let Contestant::Gateway(setup) = &mut contestant {
            setup.data_dir = folder.path().join("data");
            if let (Protocol::Grpc(grpc), true) = (&mut protocol, setup.tls) {
                grpc.ca = Some(setup.data_dir.join("tls/dev-ca.pem"));
            }
        }
        let server = contestant.start()?;
        let (clients, ready): (Child, subscribers::Ready) =
            Child::start(Role::Subscribers(subscribers::Setup {
                protocol,
                addr: server.addr,
                count: self.subscribers,
                from_earliest: false,
                pace: Some(server.pace),
                pace_step: self.batch_events as u64 * self.deliveries_per_event as u64,
                noted,
            }))?;
        Ok(Stage {
            clients,
            server,
            encoding: ready.encoding,
            _folder: folder,
        })
    }

    /// For as long as this.
    pub(crate) fn publication(&self, duration: Duration) -> Publication {
        Publication {
            batch_events: self.batch_events,
            batches_ahead: BATCHES_AHEAD,
            deliveries_per_event: self.deliveries_per_event as u64,
            duration,
            noted: false,
        }
    }
}

/// The gateway, its events from this source. The scene chooses the folder.
pub(crate) fn gateway(source: gateway::Source) -> Contestant {
    Contestant::Gateway(gateway::Setup::new("", source))
}

pub(crate) fn tonic_broadcast() -> Contestant {
    Contestant::TonicBroadcast(tonic_broadcast::Setup::default())
}

pub(crate) fn raw_tcp(message_bytes: usize, subscribers: usize) -> Contestant {
    Contestant::RawTcp(raw_tcp::Setup {
        message_bytes,
        subscribers,
    })
}

/// None where there is no nats-server.
pub(crate) fn nats(message_bytes: usize, durable: bool) -> Option<Contestant> {
    nats::Setup::find(message_bytes, durable).map(Contestant::Nats)
}
