//! An axum handler that takes a webhook, stores nothing and answers as the gateway would, behind
//! the same accept loop and TLS.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::SystemTime,
};

use axum::{Router, body::Bytes, http::header, routing::post};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::watch};
use verbex_gateway::inside::{server, tls, webhook};

use crate::process::Control;

/// How it is set up.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    /// Where its certificate is kept.
    pub folder: PathBuf,
}

/// Where it is.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ready {
    pub addr: SocketAddr,
    pub ca: PathBuf,
}

const ANSWER: &str =
    r#"{"id":"00112233445566778899aabbccddeeff","sequence":"1000000","duplicate":false}"#;

pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let ready = serve(&setup, |body| {
        std::hint::black_box(body);
    })
    .await?;
    control.answer(&ready)?;
    while control.order::<()>().await?.is_some() {}
    Ok(())
}

/// Answers webhooks after `take` had their bodies.
pub(super) async fn serve(
    setup: &Setup,
    take: impl Fn(Bytes) + Clone + Send + Sync + 'static,
) -> anyhow::Result<Ready> {
    let made = tls::self_made(
        &setup.folder.join("tls"),
        Ipv4Addr::LOCALHOST.into(),
        SystemTime::now(),
    )?;
    let handler = |body: Bytes| async move {
        take(body);
        ([(header::CONTENT_TYPE, "application/json")], ANSWER)
    };
    let router: Router = Router::new().route(webhook::PATH, post(handler));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(server::serve(
        listener,
        Some(watch::channel(made.served.config).1),
        webhook::server_config(webhook::Metrics::register(&mut Registry::default())),
        router,
        server::Metrics::default().door("test"),
        server::Stop::default(),
    ));
    Ok(Ready {
        addr,
        ca: made.ca_path,
    })
}
