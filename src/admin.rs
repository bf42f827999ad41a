//! The operators' door: `/livez`, `/readyz`, `/metrics` and `/descriptor.binpb`.

mod accept;
mod pages;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use bytes::Bytes;
use http::{HeaderMap, header};
use prometheus_client::{
    encoding::{prometheus_text, text as openmetrics},
    registry::Registry,
};
use tokio::{sync::watch, task::spawn_blocking};

use crate::log::Tail;

/// Media type of the OpenMetrics text format, version 1.0.0.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Media type of protobuf that tools use; none is registered.
const PROTOBUF: &str = "application/x-protobuf";

/// Whether the gateway accepts webhooks and subscribers. Clones share the state.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    /// True from the end of the start until the drain begins.
    open: Arc<AtomicBool>,
    tail: watch::Receiver<Tail>,
}

impl Readiness {
    /// The gateway is not ready yet.
    #[must_use]
    pub(crate) fn new(tail: watch::Receiver<Tail>) -> Self {
        Self {
            open: Arc::default(),
            tail,
        }
    }

    /// Sets whether the gateway is ready.
    pub(crate) fn set(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), &'static str> {
        if !self.open.load(Ordering::Relaxed) {
            return Err("starting or draining");
        }
        if !self.tail.borrow().available {
            return Err("the log cannot take events");
        }
        Ok(())
    }
}

/// The door's service. `descriptor_set` is that of the gRPC door.
pub(crate) fn router(readiness: Readiness, metrics: Registry, descriptor_set: Bytes) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .fallback(pages::not_found)
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(export).with_state(Arc::new(metrics)))
        .route(
            "/descriptor.binpb",
            get(async || ([(header::CONTENT_TYPE, PROTOBUF)], descriptor_set)),
        )
        .method_not_allowed_fallback(pages::read_only)
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    match readiness.check() {
        Ok(()) => (StatusCode::OK, "ready\n".into()),
        Err(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {reason}\n"),
        ),
    }
}

async fn export(State(metrics): State<Arc<Registry>>, headers: HeaderMap) -> impl IntoResponse {
    let openmetrics = accept::prefers_openmetrics(&headers);
    // With thousands of subscribers and descriptors this takes a while. No webhook should wait for
    // it.
    let written = spawn_blocking(move || write(&metrics, openmetrics)).await;
    match written {
        Ok(Ok((media_type, text))) => ([(header::CONTENT_TYPE, media_type)], text).into_response(),
        Ok(Err(_)) | Err(_) => {
            tracing::error!("cannot write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The metrics, and the format that they are in.
fn write(metrics: &Registry, openmetrics: bool) -> Result<(&'static str, String), fmt::Error> {
    let mut text = String::new();
    if openmetrics {
        openmetrics::encode(&mut text, metrics)?;
        return Ok((OPENMETRICS, text));
    }
    prometheus_text::encode(&mut text, metrics)?;
    Ok((prometheus_text::CONTENT_TYPE, text))
}
