//! `grpc.health.v1`: whether events are served.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, async_trait, codec::CompressionEncoding};
use tonic_health::{
    pb::{
        HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
        health_server, health_server::HealthServer,
    },
    server::{HealthReporter, HealthService},
};

use super::OPEN_MESSAGE_BYTES_MAX;
use crate::proto::{admin_service_server, event_service_server};

/// Names in `grpc.health.v1`: the gateway as a whole, and each service.
const NAMES: [&str; 3] = [
    "",
    event_service_server::SERVICE_NAME,
    admin_service_server::SERVICE_NAME,
];

/// Whether events are served. `grpc.health.v1` and the access rules use it.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    serving: Arc<AtomicBool>,
    end: CancellationToken,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            reporter: HealthReporter::new(),
            serving: Arc::default(),
            end: CancellationToken::new(),
        }
    }

    pub(super) fn service(&self) -> HealthServer<impl health_server::Health> {
        HealthServer::new(Service {
            known: HealthService::from_health_reporter(self.reporter.clone()),
            end: self.end.clone(),
        })
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(OPEN_MESSAGE_BYTES_MAX)
    }

    pub(super) fn serving(&self) -> Arc<AtomicBool> {
        self.serving.clone()
    }

    /// Sets whether events are served.
    pub async fn set(&self, serving: bool) {
        self.serving.store(serving, Ordering::Relaxed);
        let status = match serving {
            true => tonic_health::ServingStatus::Serving,
            false => tonic_health::ServingStatus::NotServing,
        };
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }

    /// Ends all `Watch` streams.
    pub async fn end(mut self) {
        for name in NAMES {
            self.reporter.clear_service_status(name).await;
        }
        self.end.cancel();
    }
}

/// Tonic's health service, with one difference: `Watch` for an unknown service reports that on a
/// stream that stays open, as the protocol demands.
struct Service {
    known: HealthService,
    end: CancellationToken,
}

type Watched = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[async_trait]
impl health_server::Health for Service {
    type WatchStream = Watched;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.known.check(request).await
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Watched>, Status> {
        let watched: Watched = match self.known.watch(request).await {
            Ok(known) => Box::pin(known.into_inner()),
            Err(status) if status.code() == Code::NotFound => {
                let unknown = HealthCheckResponse {
                    status: ServingStatus::ServiceUnknown.into(),
                };
                // No service is added while the gateway runs, so the stream has nothing more to
                // report.
                let end = self.end.clone().cancelled_owned();
                Box::pin(
                    stream::iter([Ok(unknown)])
                        .chain(stream::pending())
                        .take_until(end),
                )
            }
            Err(status) => return Err(status),
        };
        Ok(Response::new(watched))
    }
}
