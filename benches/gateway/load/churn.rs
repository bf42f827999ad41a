//! Subscribers that come and go.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use verbex_gateway::proto::{EventFilter, SubscribeRequest};

use super::streams::{Connection, Http2};
use crate::{events, process::Control};

/// Agents from here on never call.
const FIRST_AGENT: u64 = 2_000_000_000;
/// How many of them are subscribed at a time: each stays for so many others to come.
const STAYING: usize = 100;

/// Who they are.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub addr: SocketAddr,
    pub per_second: u64,
}

/// Begins to come and go, until the process ends. Each order is answered with how many have come so
/// far.
pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let joined = Arc::new(AtomicU64::new(0));
    let mut churning = tokio::spawn(come_and_go(setup, joined.clone()));
    control.answer(&())?;
    while let Some(()) = tokio::select! {
        order = control.order() => order?,
        ended = &mut churning => return ended?,
    } {
        control.answer(&joined.load(Ordering::Relaxed))?;
    }
    Ok(())
}

async fn come_and_go(setup: Setup, joined: Arc<AtomicU64>) -> anyhow::Result<()> {
    let connection = Connection::open(setup.addr, None, Http2::default()).await?;
    let mut staying: VecDeque<JoinHandle<anyhow::Result<()>>> = VecDeque::new();
    let mut due = interval(Duration::from_secs(1) / setup.per_second as u32);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for agent in FIRST_AGENT.. {
        due.tick().await;
        staying.push_back(tokio::spawn(join(
            connection.clone(),
            agent,
            joined.clone(),
        )));
        if staying.len() > STAYING
            && let Some(oldest) = staying.pop_front()
        {
            // Whoever has failed says so; whoever reads leaves.
            match oldest.is_finished() {
                true => oldest.await??,
                false => oldest.abort(),
            }
        }
    }
    Ok(())
}

/// Subscribes with a filter that nobody else has, sees the first message, and reads on.
async fn join(connection: Connection, agent: u64, joined: Arc<AtomicU64>) -> anyhow::Result<()> {
    let request = SubscribeRequest {
        filter: Some(EventFilter {
            agent_ids: vec![events::agent(agent)],
            ..EventFilter::default()
        }),
        ..SubscribeRequest::default()
    };
    let (mut body, _) = connection.subscribe(&request, None).await?;
    let first = body.data().await.context("no first message")??;
    ensure!(!first.is_empty(), "an empty message");
    joined.fetch_add(1, Ordering::Relaxed);
    while body.data().await.is_some() {}
    Ok(())
}
