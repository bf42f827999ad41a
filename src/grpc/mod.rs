//! The gRPC door: thin services over the log and the fan-out, with health and reflection.
//!
//! A request passes these layers, from the outside in:
//!
//! | layer | does |
//! |---|---|
//! | CORS | answers browsers, where origins are configured |
//! | `foreign` | refuses requests that are not gRPC |
//! | gRPC-Web | turns it into gRPC |
//! | `origin` | keeps web pages out of a loopback door without credentials |
//! | `access` | checks credentials, and gives the request its caller's grant |
//! | `deadline` | ends the call in time |
//! | `complete` | adds details to the errors that the library makes |
//! | `incoming` | bounds the memory, time and number of requests |
//! | `stream` | puts a subscription's frames into its response |
//!
//! Behind them are tonic's routes. `grpc` knows nothing of SQLite or webhooks.

mod access;
mod admin_service;
mod complete;
mod deadline;
mod descriptor;
mod erase;
mod event_service;
mod foreign;
mod health;
mod incoming;
mod list;
mod origin;
mod page_token;
mod reflection;
mod request;
mod status;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, middleware};
use http::{HeaderName, HeaderValue, Method, Request};
use tonic::{body::Body, codec::CompressionEncoding, service::Routes};
use tonic_web::GrpcWebLayer;
use tower::{ServiceBuilder, util::MapResponseLayer};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::{
    auth::Tokens,
    event::Epoch,
    fanout::{Encoding, Fanout},
    log::{Eraser, Reader},
    proto::{admin_service_server::AdminServiceServer, event_service_server::EventServiceServer},
};

pub(crate) use descriptor::{DescriptorError, descriptor_set};
pub(crate) use health::Health;

use access::Access;
use admin_service::Admin;
use event_service::Events;
use incoming::Incoming;
use list::Lists;

/// Who may use the door, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bearer tokens. Without tokens, everybody who reaches the door may subscribe.
    pub tokens: Tokens,
    /// Whether the door is bound to a loopback address.
    pub loopback: bool,
    /// How streams may be compressed, in order of preference.
    pub compression: Vec<Encoding>,
    /// Origins of web pages that may read answers.
    pub cors_origins: Vec<HeaderValue>,
    /// Where webhooks go: a part of the sentence for clients that post them to this door.
    pub webhooks: String,
}

/// What the services use.
pub struct Parts {
    /// Identity of the log.
    pub epoch: Epoch,
    /// Reads past events.
    pub reader: Reader,
    /// Erases events.
    pub eraser: Eraser,
    /// Delivers new events.
    pub fanout: Fanout,
    /// When the gateway was started.
    pub started: Instant,
}

/// The most bytes of a page, below the 4 MiB that every gRPC client accepts by default. A larger
/// event is a page of its own.
const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024 - 64 * 1024;

/// The most bytes of a request message, also after decompression, for services without credentials.
const OPEN_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Headers of an answer that a web page may read.
const EXPOSED: [&str; 5] = [
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
    "grpc-encoding",
    "grpc-accept-encoding",
];
/// How long a browser may keep the answer to a CORS preflight. Chromium keeps none for longer.
const CORS_MAX_AGE: Duration = Duration::from_secs(2 * 60 * 60);

/// Makes the service of this door, and the handle to its health, which is "not serving" at first.
///
/// # Errors
/// See [`DescriptorError`].
pub fn service(config: Config, parts: Parts) -> Result<(Router, Health), DescriptorError> {
    let health = Health::new();
    let epoch = parts.epoch;
    let services = services(parts, config.compression, &health)?;
    let cors = (!config.cors_origins.is_empty()).then(|| cors(config.cors_origins.clone()));
    let local = (config.tokens.is_empty() && config.loopback).then(|| {
        let origins = config.cors_origins.iter();
        let allowed: Arc<[String]> = origins
            .filter_map(|origin| origin.to_str().ok())
            .map(str::to_owned)
            .collect();
        middleware::from_fn_with_state(allowed, origin::check)
    });
    let access = Access {
        tokens: config.tokens,
        loopback: config.loopback,
        serving: health.serving(),
    };
    let router = services.layer(
        ServiceBuilder::new()
            .option_layer(cors)
            .layer(middleware::from_fn_with_state(
                Arc::<str>::from(config.webhooks),
                foreign::refuse,
            ))
            .layer(GrpcWebLayer::new())
            .map_request(|request: Request<Body>| request.map(axum::body::Body::new))
            .option_layer(local)
            .layer(middleware::from_fn_with_state(
                Arc::new(access),
                access::admit,
            ))
            .layer(middleware::from_fn_with_state(epoch, deadline::enforce))
            .layer(middleware::from_fn(complete::complete))
            .layer(middleware::from_fn_with_state(
                Incoming::default(),
                incoming::bound,
            )),
    );
    Ok((router, health))
}

/// The services, for requests that have passed all layers.
fn services(
    parts: Parts,
    compression: Vec<Encoding>,
    health: &Health,
) -> Result<Router, DescriptorError> {
    let Parts {
        epoch,
        reader,
        eraser,
        fanout,
        started,
    } = parts;
    let events = Events {
        epoch,
        reader: reader.clone(),
        fanout: fanout.clone(),
        compression,
        lists: Lists::new(epoch, reader.clone()),
    };
    let admin = Admin {
        epoch,
        reader,
        eraser,
        fanout,
        started,
    };
    let events = EventServiceServer::new(events)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let admin = AdminServiceServer::new(admin)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd);
    let routes = Routes::new(events)
        .add_service(admin)
        .add_service(health.service())
        .into_axum_router();
    Ok(reflection::add(routes)?.layer(MapResponseLayer::new(stream::swap)))
}

/// The CORS answers that browsers need for gRPC-Web from these origins. Any header is allowed,
/// since tracing and libraries add their own.
fn cors(origins: Vec<HeaderValue>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED.map(HeaderName::from_static))
        .max_age(CORS_MAX_AGE)
}
