//! The wiring: opens the log, binds every door, hands out the handles, and leaves in order. The
//! only file that knows every room.

mod certificates;
mod sockets;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    time::{Duration, Instant},
};

use prometheus_client::{
    metrics::{counter::Counter, info::Info},
    registry::Registry,
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    admin::{self, Readiness},
    auth::Tokens,
    config::{self, Config},
    fanout::{self, Fanout},
    grpc::{self, Health},
    log::{self, Appender, Tail},
    server::{self, Tls},
    tls, verbex, vitals,
    webhook::{self, Webhook},
};

use certificates::certificate;
pub(crate) use sockets::Sockets;
use sockets::bind;

/// How long the webhook door stays open for connections that are kept. Each answer ends one: so a
/// proxy has none left that it would take just when it is closed.
const KEPT_CONNECTIONS: Duration = Duration::from_secs(1);
/// How long the webhook door waits for a moment without a request before it closes.
const LAST_WEBHOOKS: Duration = Duration::from_secs(5);
/// How long webhooks may take to come in and be answered once their door is closed.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// How long the log may take to close once nothing comes in any more.
const LOG_CLOSING: Duration = Duration::from_secs(5);
/// How long connections of the gRPC door may take to close once every stream has ended.
const CLOSING: Duration = Duration::from_secs(1);
/// The parts that are waited for, by name.
const WEBHOOK_DOOR: &str = "the webhook door";
const GRPC_DOOR: &str = "the gRPC door";
/// Room above the subscriber limit on one connection: clients queue silently at
/// `MAX_CONCURRENT_STREAMS`, and one that has as many subscriptions as allowed must still hear
/// `SUBSCRIBER_LIMIT` and be able to ask.
const STREAMS_SPARE: usize = 1_000;

/// How long a gRPC connection may be without a call. Channels of gRPC's own libraries give theirs
/// up after the same time.
const CHANNEL_IDLE: Duration = Duration::from_secs(30 * 60);

/// A gateway whose doors are bound.
pub(crate) struct Gateway {
    addresses: Addresses,
    has_new_log: bool,
    drain: Duration,
    /// What must run until the end, by name.
    tasks: Vec<(&'static str, Task)>,
    /// Closes the doors for subscribers, for Verbex and for operators, each on its own.
    stop: Stop,
    tail: watch::Receiver<Tail>,
    reader: log::Reader,
    readiness: Readiness,
    health: Health,
    webhook: Webhook,
    appender: Appender,
    fanout: Fanout,
    certificates: tls::Watch,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
struct Stop {
    grpc: server::Stop,
    webhook: server::Stop,
    admin: server::Stop,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// Where Verbex posts, without a path secret.
    pub webhook_url: String,
    /// The gRPC door.
    pub grpc: SocketAddr,
    /// The operators' door.
    pub admin: SocketAddr,
    /// The CA of the certificate that the gateway made for itself.
    pub ca_pem: Option<PathBuf>,
}

/// Why the gateway does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The log.
    #[error(transparent)]
    Log(#[from] log::OpenError),
    /// A certificate.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// A door.
    #[error(
        "cannot listen on {addr} ({flag}): {source}; choose another address, or port 0 for any that is free"
    )]
    Bind {
        /// What chose the address.
        flag: &'static str,
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The descriptors.
    #[error(transparent)]
    Descriptors(#[from] grpc::DescriptorError),
}

/// A part that must run until the end did not.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} has ended unexpectedly; nothing that was answered with 200 is lost, start the gateway again"
)]
pub(crate) struct Broken(&'static str);

impl Gateway {
    /// Opens the log and binds every door. Nothing is served before [`Gateway::run`].
    /// `log_lines_dropped` counts the lines of the gateway's own log that were not written.
    ///
    /// # Errors
    /// See [`StartError`].
    pub(crate) async fn build(
        config: Config,
        sockets: Sockets,
        log_lines_dropped: Counter,
    ) -> Result<Self, StartError> {
        let started = Instant::now();
        // Before anything opens a file.
        let shares = server::Shares::of_this_process();
        let mut metrics = Registry::default();
        metrics.register(
            "verbex_gateway_build",
            "The gateway that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        metrics.register(
            "verbex_gateway_log_lines_dropped",
            "Lines of the gateway's own log that were not written, since nobody read standard error",
            log_lines_dropped,
        );
        let log = log::open(&config.log, log::Metrics::register(&mut metrics))?;
        let data_dir = &config.log.data_dir;
        let log_files = log::FILES.map(|name| data_dir.join(name));
        vitals::register(log_files.into(), &mut metrics);
        let certificate = certificate(&config.webhook, data_dir)?;
        let grpc_served = match &config.grpc.tls {
            Some(files) => Some(tls::load(&files.cert, &files.key)?),
            None => None,
        };
        let watched = [("webhook", &certificate.served), ("grpc", &grpc_served)];
        let watched = watched.into_iter().filter_map(|(door, served)| {
            let validity = served.as_ref()?.validity.clone();
            Some((door, validity))
        });
        let certificates = tls::Watch::register(watched.collect(), &mut metrics);
        let (webhook_tls, grpc_tls) = (
            certificate.served.map(new_connections),
            grpc_served.map(new_connections),
        );
        let webhook_door = bind("--webhook-addr", config.webhook.addr, sockets.webhook)?;
        let grpc_door = bind("--grpc-addr", config.grpc.addr, sockets.grpc)?;
        let admin_door = bind("--admin-addr", config.admin.addr, sockets.admin)?;

        let (fanout, router) = Fanout::new(
            config.grpc.fanout,
            log.identity.epoch,
            log.reader.clone(),
            log.followers,
            fanout::Metrics::register(&mut metrics),
        );
        metrics.register_collector(fanout.collector());
        let (grpc, health) = grpc::service(
            grpc::Config {
                tokens: Tokens::new(config.tokens),
                loopback: config::is_loopback(grpc_door.addr),
                compression: config.grpc.compression,
                cors_origins: config.grpc.cors_allowed_origins,
                webhooks: format!(
                    "webhooks are posted to port {} under {}",
                    webhook_door.addr.port(),
                    webhook::PATH
                ),
            },
            grpc::Parts {
                epoch: log.identity.epoch,
                reader: log.reader.clone(),
                fanout: fanout.clone(),
                started,
            },
        )?;
        let rules = verbex::Rules {
            organization: config.organization,
            id_key: log.identity.id_key,
        };
        let scheme = if webhook_tls.is_some() {
            "https"
        } else {
            "http"
        };
        let webhook_metrics = webhook::Metrics::register(&mut metrics);
        let webhook = Webhook::new(
            config.webhook.service,
            rules,
            log.appender.clone(),
            webhook_metrics.clone(),
        );
        let readiness = Readiness::new(log.tail.clone());

        let addresses = Addresses {
            webhook_url: format!("{scheme}://{}{}", webhook_door.addr, webhook::PATH),
            grpc: grpc_door.addr,
            admin: admin_door.addr,
            ca_pem: certificate.ca_pem,
        };
        let stop = Stop::default();
        let opening_timeout = config.tls_handshake;
        let door_metrics = server::Metrics::register(&mut metrics);
        let webhook_served = server::Config {
            connections_max: shares.webhook,
            client_connections_max: of_one_client(shares.webhook),
            opening_timeout,
            ..webhook::server_config(webhook_metrics)
        };
        let grpc_served = server::Config {
            connections_max: shares.grpc,
            client_connections_max: of_one_client(shares.grpc),
            opening_timeout,
            idle_timeout: CHANNEL_IDLE,
            answer_timeout: None,
            streams_max: u32::try_from(config.grpc.fanout.subscribers_max + STREAMS_SPARE)
                .unwrap_or(u32::MAX),
            ..server::Config::default()
        };
        let operators = admin::router(readiness.clone(), metrics, grpc::descriptor_set()?.into());
        let tasks: Vec<(&'static str, Task)> = vec![
            ("the fan-out", Box::pin(router)),
            (
                WEBHOOK_DOOR,
                Box::pin(server::serve(
                    webhook_door.listener,
                    webhook_tls,
                    webhook_served,
                    webhook.clone(),
                    door_metrics.door("webhook"),
                    stop.webhook.clone(),
                )),
            ),
            (
                GRPC_DOOR,
                Box::pin(server::serve(
                    grpc_door.listener,
                    grpc_tls,
                    grpc_served,
                    grpc,
                    door_metrics.door("grpc"),
                    stop.grpc.clone(),
                )),
            ),
            (
                "the operators' door",
                Box::pin(server::serve(
                    admin_door.listener,
                    None,
                    server::Config {
                        connections_max: shares.admin,
                        client_connections_max: of_one_client(shares.admin),
                        opening_timeout,
                        ..server::Config::default()
                    },
                    operators,
                    door_metrics.door("admin"),
                    stop.admin.clone(),
                )),
            ),
        ];
        Ok(Self {
            addresses,
            has_new_log: log.is_new,
            drain: config.drain,
            tasks,
            stop,
            tail: log.tail,
            reader: log.reader,
            readiness,
            health,
            webhook,
            appender: log.appender,
            fanout,
            certificates,
        })
    }

    /// Where everything is, with the ports that the system chose.
    #[must_use]
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Whether there was no log in the data folder before.
    #[must_use]
    pub(crate) fn has_new_log(&self) -> bool {
        self.has_new_log
    }

    /// Reads the log, beside all who read it through a door.
    #[must_use]
    pub(crate) fn reader(&self) -> log::Reader {
        self.reader.clone()
    }

    /// Serves until `shutdown`, then leaves in order: subscribers within the drain deadline, all
    /// else within some seconds more.
    ///
    /// # Errors
    /// If a part ends that must not.
    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), Broken> {
        // Before the door opens: it has calls waiting.
        self.health.set(true).await;
        let mut tasks = JoinSet::new();
        for (name, task) in std::mem::take(&mut self.tasks) {
            tasks.spawn(async move {
                task.await;
                name
            });
        }
        self.readiness.set(true);

        let mut tail = self.tail.clone();
        let appender_gone = async { while tail.changed().await.is_ok() {} };
        tokio::select! {
            () = shutdown => {}
            Some(ended) = tasks.join_next() => return Err(Broken(ended.unwrap_or("a part of the gateway"))),
            () = appender_gone => return Err(Broken("the log")),
            never = self.certificates.clone().run() => match never {},
        }
        self.leave(tasks).await;
        tracing::info!("drained");
        Ok(())
    }

    /// The order of leaving, read from top to bottom.
    async fn leave(self, mut tasks: JoinSet<&'static str>) {
        // Load balancers look elsewhere from now on, nobody new subscribes, and who posts is asked
        // to connect anew.
        self.readiness.set(false);
        self.health.set(false).await;
        self.fanout.close();
        self.stop.webhook.leave();
        let unkept = timeout(KEPT_CONNECTIONS, self.stop.webhook.emptied());
        // Subscribers first: each stream ends behind what is in its queue, and resumes by cursor.
        // Webhooks are taken all the while.
        if timeout(self.drain, self.fanout.drain()).await.is_err() {
            tracing::warn!(
                seconds = self.drain.as_secs(),
                "the drain deadline has passed; streams that are left are cut, and resume by cursor"
            );
        }
        self.health.end().await;
        self.stop.grpc.close();
        // What is written has time to go out. What else is open, such as a reflection stream, has
        // nothing more to come.
        if timeout(CLOSING, ended(&mut tasks, GRPC_DOOR))
            .await
            .is_err()
        {
            tracing::debug!("connections of subscribers that are still open are cut");
        }
        // Then the webhook door, which nobody else can answer for. What comes in now is there for
        // those who resume.
        let _ = unkept.await;
        // It stays open while a body trickles in: the others are not to wait for that.
        let _ = timeout(LAST_WEBHOOKS, self.webhook.emptied()).await;
        // From here on nobody is answered until the next start, so nothing waits for longer than it
        // must.
        self.stop.webhook.close();
        self.stop.admin.close();
        let last_webhooks = async {
            ended(&mut tasks, WEBHOOK_DOOR).await;
            self.webhook.emptied().await;
        };
        if timeout(LAST_ANSWERS, last_webhooks).await.is_err() {
            tracing::warn!("a webhook that is still coming in is left behind");
        }
        if timeout(LOG_CLOSING, self.appender.finish()).await.is_err() {
            tracing::warn!(
                "the log takes long to close and is left as it is; the next start makes up for it"
            );
        }
    }
}

/// Resolves when the part of this name has ended.
async fn ended(tasks: &mut JoinSet<&'static str>, name: &str) {
    while let Some(part) = tasks.join_next().await {
        if part.is_ok_and(|part| part == name) {
            return;
        }
    }
}

/// How many of a door's connections one address may have: most, since it may be a proxy's, but
/// never all.
fn of_one_client(connections: usize) -> usize {
    (connections - connections / 8).max(1)
}

fn new_connections(served: tls::Served) -> Tls {
    watch::channel(served.config).1
}
