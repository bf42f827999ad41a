//! The gRPC door: thin services over the log and the fan-out, and all that gRPC users expect beside them.
//!
//! From the outside in: CORS, gRPC-Web, the guard (who, from where, until when), the swap of a subscription's frames into its
//! response, and tonic's routes. `grpc` knows nothing of SQLite or webhooks.

mod admin_service;
mod descriptor;
mod event_service;
mod guard;
mod health;
mod page_token;
mod request;
mod status;
mod stream;

use std::{sync::Arc, time::Instant};

use axum::{Router, middleware};
use http::{HeaderValue, Method, Request, header};
use tokio::sync::Semaphore;
use tonic::{body::Body, service::Routes};
use tonic_web::GrpcWebLayer;
use tower::{ServiceBuilder, util::MapResponseLayer};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    auth::Tokens,
    event::Epoch,
    fanout::{Encoding, Fanout},
    log::Reader,
    proto::{admin_service_server::AdminServiceServer, event_service_server::EventServiceServer},
};

pub use descriptor::{DescriptorError, descriptor_set};
pub use health::Health;

use admin_service::Admin;
use event_service::Events;
use guard::Guard;

/// Who may come in.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bearer tokens; if there are none, everybody may subscribe.
    pub tokens: Tokens,
    /// Whether the door is bound to a loopback address.
    pub loopback: bool,
    /// How streams may be compressed, what is liked best first.
    pub compression: Vec<Encoding>,
    /// Origins of web pages that may read answers. None by default.
    pub cors_origins: Vec<HeaderValue>,
}

/// What the services work with.
pub struct Parts {
    /// Identity of the log.
    pub epoch: Epoch,
    /// The way to what was.
    pub reader: Reader,
    /// The way to what comes.
    pub fanout: Fanout,
    /// When the gateway was started.
    pub started: Instant,
}

/// Bytes of one page; a larger event is a page of its own. Under the 4 MiB that every gRPC client takes by default.
const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024 - 64 * 1024;

/// Makes the service of this door, and the handle to its health, which begins as not serving.
///
/// # Errors
/// See [`DescriptorError`].
pub fn service(config: Config, parts: Parts) -> Result<(Router, Health), DescriptorError> {
    let Parts {
        epoch,
        reader,
        fanout,
        started,
    } = parts;
    let health = Health::new();
    let described = descriptor_set()?;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(&described)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(
                tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
            )
            .include_reflection_service(false)
    };
    let events = Events {
        epoch,
        reader: reader.clone(),
        fanout: fanout.clone(),
        compression: config.compression,
        turns: Semaphore::new(event_service::TURNS),
    };
    let admin = Admin {
        epoch,
        reader,
        fanout,
        started,
    };
    let routes = Routes::new(EventServiceServer::new(events))
        .add_service(AdminServiceServer::new(admin))
        .add_service(health.service())
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);

    let origins = config
        .cors_origins
        .iter()
        .filter_map(|origin| origin.to_str().ok())
        .map(str::to_owned)
        .collect();
    let guard = Guard {
        serving: health.serving(),
        tokens: config.tokens,
        loopback: config.loopback,
        cors_origins: origins,
    };
    let cors = (!config.cors_origins.is_empty()).then(|| cors(config.cors_origins));
    let router = routes
        .into_axum_router()
        .layer(MapResponseLayer::new(stream::swap))
        .layer(middleware::from_fn_with_state(
            Arc::new(guard),
            guard::guard,
        ))
        .layer(
            ServiceBuilder::new()
                .option_layer(cors)
                .layer(GrpcWebLayer::new())
                .map_request(|request: Request<Body>| request.map(axum::body::Body::new)),
        );
    Ok((router, health))
}

/// What browsers must be told for gRPC-Web from these origins.
fn cors(origins: Vec<HeaderValue>) -> CorsLayer {
    let names = |names: &[&'static str]| {
        names
            .iter()
            .map(|&name| http::HeaderName::from_static(name))
            .collect::<Vec<_>>()
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::POST])
        .allow_headers(
            [
                vec![header::AUTHORIZATION, header::CONTENT_TYPE],
                names(&["grpc-timeout", "x-grpc-web", "x-user-agent"]),
            ]
            .concat(),
        )
        .expose_headers(names(&[
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
        ]))
}
