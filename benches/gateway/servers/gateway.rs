//! The gateway from its log to its gRPC door, with events from inside: ingest over HTTPS is
//! measured apart.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use futures_util::future::try_join_all;
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::watch};
use verbex_gateway::inside::{
    auth::Tokens,
    event::{Group, StoredEvent},
    fanout::{self, Encoding, Fanout},
    grpc, log, server, tls,
};

use super::Ready;
use crate::{
    events::{Maker, Payload},
    pace::{Pace, Publication, Published},
    process::Control,
};

/// How it is set up.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    /// Where the log is. Certificates go there, too.
    pub data_dir: PathBuf,
    pub source: Source,
    pub payload: Payload,
    /// Agents that the events are of, in turn.
    pub agents: u64,
    /// Whether subscribers connect over TLS.
    pub tls: bool,
    pub ping_interval: Duration,
}

/// Where events come from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Source {
    /// They are committed to the log, each batch by appends that wait at the same time.
    Log,
    /// They are handed to the fan-out as groups that were just committed, and are in no log:
    /// fan-out alone.
    Groups,
}

impl Setup {
    pub(crate) fn new(data_dir: impl Into<PathBuf>, source: Source) -> Self {
        Self {
            data_dir: data_dir.into(),
            source,
            payload: Payload::Small,
            agents: 1,
            tls: false,
            ping_interval: server::Config::default().ping_interval,
        }
    }
}

pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let mut metrics = Registry::default();
    let log = log::open(
        &log::Config {
            data_dir: setup.data_dir.clone(),
            consent: Default::default(),
            limits: log::Limits::NONE,
        },
        log::Metrics::register(&mut metrics),
    )?;
    let (publisher, past_the_log) = log::followers(log.reader.clone(), *log.tail.borrow());
    let followers = match setup.source {
        Source::Log => log.followers.clone(),
        Source::Groups => past_the_log,
    };
    let (fanout, router) = Fanout::new(
        fanout::Config {
            subscribers_max: 100_000,
            queue_bytes_max: 1024 * 1024,
            queues_bytes_max: 256 * 1024 * 1024,
        },
        log.identity.epoch,
        log.reader.clone(),
        followers,
        fanout::Metrics::register(&mut metrics),
    );
    tokio::spawn(router);
    let addr = serve(&setup, fanout, &log).await?;
    let mut pace = Pace::listen().await?;
    control.answer(&Ready {
        addr,
        pace: pace.addr,
    })?;

    let maker = Maker::new(setup.payload, setup.agents);
    // Other events than those of any run before, in a log that is kept.
    let series: u64 = rand::random();
    // Made once, so that what is measured is not their making.
    let mut cycle = None;
    let mut first = 0;
    while let Some(order) = control.order::<Publication>().await? {
        let published = match setup.source {
            Source::Log => {
                let groups_before = groups_committed(&metrics)?;
                let published = pace
                    .publish(order, async |number, count| {
                        let events = first + number..first + number + count as u64;
                        let appends = events
                            .map(|number| maker.event(series, number))
                            .map(|event| log.appender.append(event));
                        try_join_all(appends).await?;
                        Ok(())
                    })
                    .await?;
                Published {
                    groups: Some(groups_committed(&metrics)? - groups_before),
                    ..published
                }
            }
            Source::Groups => {
                let cycle = cycle.get_or_insert_with(|| Cycle::new(&maker, setup.agents));
                pace.publish(order, async |number, count| {
                    publisher.committed(cycle.group(first + number, count));
                    Ok(())
                })
                .await?
            }
        };
        first += published.events;
        control.answer(&published)?;
    }
    Ok(())
}

/// As the log's own metric says.
pub(super) fn groups_committed(metrics: &Registry) -> anyhow::Result<u64> {
    let mut text = String::new();
    encode(&mut text, metrics)?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("verbex_gateway_log_group_events_count "));
    Ok(count.context("no metric of groups")?.parse()?)
}

/// Events made beforehand: only their places change, as cheaply as that can be.
struct Cycle {
    events: Vec<StoredEvent>,
}

impl Cycle {
    /// One event of each agent.
    fn new(maker: &Maker, agents: u64) -> Self {
        Self {
            events: (0..agents).map(|number| maker.stored(number)).collect(),
        }
    }

    /// The encoded event keeps the sequence that it was made with. Who only counts messages does
    /// not see it.
    fn group(&self, number: u64, count: usize) -> Group {
        (number..number + count as u64)
            .map(|number| {
                let event = &self.events[(number % self.events.len() as u64) as usize];
                StoredEvent {
                    sequence: verbex_gateway::inside::event::Sequence(number + 1),
                    ..event.clone()
                }
            })
            .collect::<Arc<[_]>>()
    }
}

async fn serve(
    setup: &Setup,
    fanout: Fanout,
    log: &log::Log,
) -> anyhow::Result<std::net::SocketAddr> {
    let (service, health) = grpc::service(
        grpc::Config {
            tokens: Tokens::new([]),
            loopback: true,
            cors_origins: Vec::new(),
            webhooks: String::new(),
            // For those who ask. Most do not.
            compression: vec![Encoding::Zstd, Encoding::Gzip],
        },
        grpc::Parts {
            epoch: log.identity.epoch,
            reader: log.reader.clone(),
            eraser: log.eraser.clone(),
            fanout,
            started: Instant::now(),
        },
    )?;
    health.set(true).await;
    let certificate = match setup.tls {
        true => {
            let made = tls::self_made(
                &setup.data_dir.join("tls"),
                Ipv4Addr::LOCALHOST.into(),
                SystemTime::now(),
            )?;
            Some(watch::channel(made.served.config).1)
        }
        false => None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let config = server::Config {
        streams_max: 100_000,
        ping_interval: setup.ping_interval,
        ..server::Config::default()
    };
    tokio::spawn(server::serve(
        listener,
        certificate,
        config,
        service,
        server::Metrics::default().door("test"),
        server::Stop::default(),
    ));
    Ok(addr)
}
