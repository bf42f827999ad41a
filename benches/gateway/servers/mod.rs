//! What is measured: the gateway's rooms in a process of their own, and the program itself.

pub(crate) mod appender;
pub(crate) mod binary;
pub(crate) mod gateway;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    measure,
    pace::{Publication, Published},
    peers::nats,
    process::{Child, Role},
};

/// What a server that publishes says once it can be reached.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ready {
    /// For subscribers.
    pub addr: SocketAddr,
    /// For the reports of their process, see [`crate::pace`].
    pub pace: SocketAddr,
}

/// The servers that events are published with.
#[derive(Clone, Debug)]
pub(crate) enum Contestant {
    Gateway(gateway::Setup),
    TonicBroadcast(crate::peers::tonic_broadcast::Setup),
    RawTcp(crate::peers::raw_tcp::Setup),
    Nats(nats::Setup),
}

/// One of them, running.
#[derive(Debug)]
pub(crate) struct Server {
    publisher: Child,
    /// For NATS the server is not who publishes.
    other: Option<nats::NatsServer>,
    pub addr: SocketAddr,
    pub pace: SocketAddr,
}

impl Contestant {
    pub(crate) fn start(&self) -> anyhow::Result<Server> {
        let mut other = None;
        let role = match self {
            Self::Gateway(setup) => Role::Gateway(setup.clone()),
            Self::TonicBroadcast(setup) => Role::TonicBroadcast(setup.clone()),
            Self::RawTcp(setup) => Role::RawTcp(setup.clone()),
            Self::Nats(setup) => {
                let server = nats::NatsServer::start(setup)?;
                let role = Role::NatsPublisher(nats::Setup {
                    addr: server.addr,
                    ..setup.clone()
                });
                other = Some(server);
                role
            }
        };
        let (publisher, ready): (Child, Ready) = Child::start(role)?;
        Ok(Server {
            addr: other.as_ref().map_or(ready.addr, |server| server.addr),
            pace: ready.pace,
            publisher,
            other,
        })
    }
}

impl Server {
    pub(crate) fn publish(&mut self, order: Publication) -> anyhow::Result<Published> {
        self.publisher.ask(&order)
    }

    /// The process that is measured.
    pub(crate) fn pid(&self) -> u32 {
        self.other
            .as_ref()
            .map_or_else(|| self.publisher.pid(), nats::NatsServer::pid)
    }

    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        measure::resident_bytes(self.pid())
    }
}
