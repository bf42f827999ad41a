//! The three doors: their certificates, sockets and bounds. Their services are made later.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::{
    certificates::certificate,
    errors::StartError,
    leave::Stop,
    parts::{Part, Work},
    sockets::{BoundSocket, Sockets, bind},
};
use crate::{
    config::Config,
    server::{self, Serves, Shares, Tls},
    tls, webhook,
};

/// How many streams one connection may have above the subscriber limit. At
/// `MAX_CONCURRENT_STREAMS` clients wait without a word. A client with as many subscriptions as
/// allowed must still be able to make calls, and to be told `SUBSCRIBER_LIMIT`.
const STREAMS_SPARE: usize = 1_000;

/// How long a gRPC connection may be without a call. gRPC's own libraries close idle channels after
/// the same time.
const CHANNEL_IDLE: Duration = Duration::from_secs(30 * 60);

/// The addresses of the doors.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// The URL for webhooks, without a path secret.
    pub webhook_url: String,
    pub grpc: SocketAddr,
    pub admin: SocketAddr,
    /// The file with the CA of the certificate that the gateway made for itself.
    pub ca_pem: Option<PathBuf>,
}

/// Doors that are bound but do not serve yet.
pub(super) struct Doors {
    pub(super) addresses: Addresses,
    pub(super) webhook: BoundDoor,
    pub(super) grpc: BoundDoor,
    pub(super) admin: BoundDoor,
    pub(super) certificates: tls::Watch,
    pub(super) stop: Stop,
}

/// A door without its service.
pub(super) struct BoundDoor {
    part: Part,
    socket: BoundSocket,
    tls: Option<Tls>,
    config: server::Config,
    metrics: server::DoorMetrics,
    stop: server::Stop,
}

impl Doors {
    pub(super) fn bind(
        config: &Config,
        sockets: Sockets,
        shares: &Shares,
        webhook_metrics: webhook::Metrics,
        metrics: &mut Registry,
    ) -> Result<Self, StartError> {
        let for_webhook = certificate(&config.webhook, &config.log.data_dir)?;
        let for_grpc = match &config.grpc.tls {
            Some(files) => Some(tls::load(&files.cert, &files.key)?),
            None => None,
        };
        let served = [("webhook", &for_webhook.served), ("grpc", &for_grpc)];
        let watched = served.map(|(door, served)| Some((door, served.as_ref()?.validity.clone())));
        let certificates = tls::Watch::register(watched.into_iter().flatten().collect(), metrics);

        let webhook = bind("--webhook-addr", config.webhook.addr, sockets.webhook)?;
        let grpc = bind("--grpc-addr", config.grpc.addr, sockets.grpc)?;
        let admin = bind("--admin-addr", config.admin.addr, sockets.admin)?;
        let scheme = match for_webhook.served {
            Some(_) => "https",
            None => "http",
        };
        let addresses = Addresses {
            webhook_url: format!("{scheme}://{}{}", webhook.addr, webhook::PATH),
            grpc: grpc.addr,
            admin: admin.addr,
            ca_pem: for_webhook.ca_pem,
        };

        let metrics = server::Metrics::register(metrics);
        let stop = Stop::default();
        let bounded = |connections: usize, rest: server::Config| server::Config {
            connections_max: connections,
            client_connections_max: of_one_client(connections),
            opening_timeout: config.tls_handshake,
            ..rest
        };
        let grpc_config = server::Config {
            idle_timeout: CHANNEL_IDLE,
            answer_timeout: None,
            streams_max: u32::try_from(config.grpc.fanout.subscribers_max + STREAMS_SPARE)
                .unwrap_or(u32::MAX),
            ..server::Config::default()
        };
        Ok(Self {
            webhook: BoundDoor {
                part: Part::WebhookDoor,
                socket: webhook,
                tls: for_webhook.served.map(new_connections),
                config: bounded(shares.webhook, webhook::server_config(webhook_metrics)),
                metrics: metrics.door("webhook"),
                stop: stop.webhook.clone(),
            },
            grpc: BoundDoor {
                part: Part::GrpcDoor,
                socket: grpc,
                tls: for_grpc.map(new_connections),
                config: bounded(shares.grpc, grpc_config),
                metrics: metrics.door("grpc"),
                stop: stop.grpc.clone(),
            },
            admin: BoundDoor {
                part: Part::AdminDoor,
                socket: admin,
                tls: None,
                config: bounded(shares.admin, server::Config::default()),
                metrics: metrics.door("admin"),
                stop: stop.admin.clone(),
            },
            addresses,
            certificates,
            stop,
        })
    }
}

impl BoundDoor {
    /// The address that it listens on, with the port that the system chose.
    pub(super) fn addr(&self) -> SocketAddr {
        self.socket.addr
    }

    /// Serves `service` until the door is told to close.
    pub(super) fn serve(self, service: impl Serves + Sync) -> (Part, Work) {
        let Self {
            part,
            socket,
            tls,
            config,
            metrics,
            stop,
        } = self;
        let listener = socket.listener;
        let work = server::serve(listener, tls, config, service, metrics, stop);
        (part, Box::pin(work))
    }
}

/// How many of a door's connections one address may have: most of them, since it may be a proxy,
/// but never all.
fn of_one_client(connections: usize) -> usize {
    (connections - connections / 8).max(1)
}

fn new_connections(served: tls::Served) -> Tls {
    watch::channel(served.config).1
}
