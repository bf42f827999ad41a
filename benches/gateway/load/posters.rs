//! Callers of the webhook door: keep-alive HTTPS connections, each with one request at a time.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{http1::Poster, streams::tls_config};
use crate::{events, process::Control};

/// Who they are.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub addr: SocketAddr,
    pub ca: PathBuf,
    pub connections: usize,
}

/// An order to post as fast as the server answers, for so long. Each event is a new one.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Post(pub Duration);

/// What came of it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Posted {
    pub requests: u64,
    pub elapsed: Duration,
}

pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let tls = tls_config(&setup.ca, b"http/1.1")?;
    let connecting = (0..setup.connections).map(|_| Poster::connect(setup.addr, tls.clone()));
    let posters: Vec<Arc<Mutex<Poster>>> = try_join_all(connecting)
        .await?
        .into_iter()
        .map(|poster| Arc::new(Mutex::new(poster)))
        .collect();
    control.answer(&())?;

    // A log that is kept has never seen these.
    let number = Arc::new(AtomicU64::new(rand::random()));
    while let Some(Post(duration)) = control.order().await? {
        let start = Instant::now();
        let posting = posters.iter().cloned().map(|poster| {
            let number = number.clone();
            tokio::spawn(async move {
                let mut poster = poster.lock().await;
                let mut requests = 0;
                while start.elapsed() < duration {
                    let body = events::body(number.fetch_add(1, Ordering::Relaxed));
                    poster.post(&body).await?;
                    requests += 1;
                }
                anyhow::Ok(requests)
            })
        });
        let mut requests = 0;
        for posted in try_join_all(posting).await? {
            requests += posted?;
        }
        control.answer(&Posted {
            requests,
            elapsed: start.elapsed(),
        })?;
    }
    Ok(())
}
