//! The wiring: opens the log, binds the doors, connects the parts, and shuts down in order. Only
//! this room knows all others.

mod certificates;
mod doors;
mod errors;
mod leave;
mod parts;
mod sockets;
#[cfg(test)]
mod tests;

use std::{future::Future, time::Instant};

use prometheus_client::{
    metrics::{counter::Counter, info::Info},
    registry::Registry,
};

use crate::{
    admin::{self, Readiness},
    auth::Tokens,
    config::{self, Config},
    fanout::{self, Fanout},
    grpc, log,
    server::Shares,
    tls, verbex, vitals,
    webhook::{self, Webhook},
};

pub(crate) use doors::Addresses;
use doors::Doors;
pub(crate) use errors::{Broken, StartError};
use leave::Leaving;
use parts::{Part, Parts, Work};
pub(crate) use sockets::Sockets;

/// A gateway whose doors are bound.
pub(crate) struct Gateway {
    addresses: Addresses,
    has_new_log: bool,
    /// The parts that must run until the end.
    parts: Vec<(Part, Work)>,
    reader: log::Reader,
    certificates: tls::Watch,
    leaving: Leaving,
}

impl Gateway {
    /// Opens the log and binds every door. Nothing is served before [`Gateway::run`].
    /// `log_lines_dropped` counts lines of the gateway's own log that could not be written.
    ///
    /// # Errors
    /// See [`StartError`].
    pub(crate) async fn build(
        config: Config,
        sockets: Sockets,
        log_lines_dropped: Counter,
    ) -> Result<Self, StartError> {
        let started = Instant::now();
        // Counted before anything opens a file.
        let shares = Shares::of_this_process();
        let mut metrics = registry(log_lines_dropped);
        let log = log::open(&config.log, log::Metrics::register(&mut metrics))?;
        let log_files = log::FILES.map(|name| config.log.data_dir.join(name));
        vitals::register(log_files.into(), &mut metrics);
        let webhook_metrics = webhook::Metrics::register(&mut metrics);
        let doors = Doors::bind(
            &config,
            sockets,
            &shares,
            webhook_metrics.clone(),
            &mut metrics,
        )?;

        let rules = verbex::Rules {
            organization: config.organization,
            id_key: log.identity.id_key,
        };
        let webhook = Webhook::new(
            &config.webhook.service,
            rules,
            log.appender.clone(),
            webhook_metrics,
        );
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
                loopback: config::is_loopback(doors.grpc.addr()),
                compression: config.grpc.compression,
                cors_origins: config.grpc.cors_allowed_origins,
                webhooks: format!(
                    "post webhooks to port {}, path {}",
                    doors.webhook.addr().port(),
                    webhook::PATH
                ),
            },
            grpc::Parts {
                epoch: log.identity.epoch,
                reader: log.reader.clone(),
                eraser: log.eraser,
                fanout: fanout.clone(),
                started,
            },
        )?;
        let readiness = Readiness::new(log.tail.clone());
        let operators = admin::router(readiness.clone(), metrics, grpc::descriptor_set()?.into());
        Ok(Self {
            addresses: doors.addresses,
            has_new_log: log.is_new,
            parts: vec![
                (Part::Fanout, Box::pin(router)),
                doors.webhook.serve(webhook.clone()),
                doors.grpc.serve(grpc),
                doors.admin.serve(operators),
            ],
            reader: log.reader,
            certificates: doors.certificates,
            leaving: Leaving {
                drain: config.drain,
                readiness,
                health,
                fanout,
                webhook,
                appender: log.appender,
                stop: doors.stop,
            },
        })
    }

    /// The addresses of the doors, with the ports that the system chose.
    #[must_use]
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Whether this start made the log.
    #[must_use]
    pub(crate) fn has_new_log(&self) -> bool {
        self.has_new_log
    }

    /// A reader of the log, beside those of the doors.
    #[must_use]
    pub(crate) fn reader(&self) -> log::Reader {
        self.reader.clone()
    }

    /// Serves until `shutdown`, then shuts down in order: subscribers have until the drain
    /// deadline, everything else some seconds more.
    ///
    /// # Errors
    /// If a part ends that must run until the end.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Broken> {
        let Self {
            parts,
            certificates,
            leaving,
            ..
        } = self;
        // Set before the doors open, because calls may already wait there.
        leaving.health.set(true).await;
        let mut parts = Parts::start(parts);
        leaving.readiness.set(true);

        let appender = leaving.appender.clone();
        tokio::select! {
            () = shutdown => {}
            Some(ended) = parts.next_ended() => return Err(Broken(ended)),
            () = appender.gone() => return Err(Broken(Part::Log)),
            never = certificates.run() => match never {},
        }
        leaving.in_order(parts).await;
        tracing::info!("drained");
        Ok(())
    }
}

/// The registry, with metrics of the process.
fn registry(log_lines_dropped: Counter) -> Registry {
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
    metrics
}
