//! Webhooks at a steady rate, whatever the server does: how long each waits for its answer.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until},
};

use super::{http1::Poster, streams::tls_config};
use crate::{events, process::Control};

/// Enough that one answer that takes long delays no other webhook.
const CONNECTIONS: u64 = 64;

/// Who they are.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub addr: SocketAddr,
    pub ca: PathBuf,
    /// Agents that the events are of, in turn.
    pub agents: u64,
}

/// An order to post. The answer has, in milliseconds, how long each webhook took from the moment
/// at which it was to be sent. This includes up to a millisecond of the timer.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct PostSteadily {
    pub per_second: u64,
    pub duration: Duration,
}

pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let tls = tls_config(&setup.ca, b"http/1.1")?;
    let connecting = (0..CONNECTIONS).map(|_| Poster::connect(setup.addr, tls.clone()));
    let posters = try_join_all(connecting).await?;
    let posters: Vec<_> = posters.into_iter().map(Mutex::new).map(Arc::new).collect();
    control.answer(&())?;

    // A log that is kept has never seen these.
    let mut first: u64 = rand::random();
    while let Some(order) = control.order::<PostSteadily>().await? {
        let count = (order.duration.as_secs_f64() * order.per_second as f64).ceil() as u64;
        let start = Instant::now();
        let posting = posters.iter().cloned().zip(0..).map(|(poster, place)| {
            tokio::spawn(async move {
                let mut poster = poster.lock().await;
                let mut took = Vec::new();
                for number in (place..count).step_by(CONNECTIONS as usize) {
                    let planned = number as f64 / order.per_second as f64;
                    let due = start + Duration::from_secs_f64(planned);
                    sleep_until(due).await;
                    let body = events::body(first.wrapping_add(number), setup.agents);
                    poster.post(&body).await?;
                    took.push(due.elapsed().as_secs_f64() * 1e3);
                }
                anyhow::Ok(took)
            })
        });
        let mut took = Vec::new();
        for of_one in try_join_all(posting).await? {
            took.extend(of_one?);
        }
        first = first.wrapping_add(count);
        control.answer(&took)?;
    }
    Ok(())
}
