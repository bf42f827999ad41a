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
use crate::{events, pace::Pace, process::Control};

/// Who they are.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub addr: SocketAddr,
    pub ca: PathBuf,
    pub connections: usize,
    /// Agents that the events are of, in turn.
    pub agents: u64,
}

/// They are connected.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ready {
    /// For the reports of subscribers, see [`crate::pace`].
    pub pace: SocketAddr,
}

/// An order to post as fast as the server answers, for so long. Each event is a new one.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Post {
    pub duration: Duration,
    /// Where there are subscribers, the posters stay at their pace: so many get an event.
    pub deliveries_per_event: Option<u64>,
}

/// Events that may be posted before the oldest of them has arrived everywhere. A few for each
/// connection.
const EVENTS_AHEAD: u64 = 256;

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
    let pace = Pace::listen().await?;
    control.answer(&Ready { pace: pace.addr })?;

    // A log that is kept has never seen these.
    let first: u64 = rand::random();
    let number = Arc::new(AtomicU64::new(0));
    while let Some(order) = control.order::<Post>().await? {
        let start = Instant::now();
        let posting = posters.iter().cloned().map(|poster| {
            let number = number.clone();
            let mut delivered = pace.delivered_so_far();
            tokio::spawn(async move {
                let mut poster = poster.lock().await;
                let mut requests = 0;
                while start.elapsed() < order.duration {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    if let Some(deliveries) = order.deliveries_per_event {
                        let oldest = number.saturating_sub(EVENTS_AHEAD);
                        let least = oldest * deliveries;
                        delivered.wait_for(|&count| count >= least).await?;
                    }
                    let body = events::body(first.wrapping_add(number), setup.agents);
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
