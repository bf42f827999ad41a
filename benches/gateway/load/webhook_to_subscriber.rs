//! One caller and one subscriber in one process: how long a webhook takes to its answer, and to its
//! subscriber.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use h2::RecvStream;
use serde::{Deserialize, Serialize};
use verbex_gateway::proto::SubscribeRequest;

use super::{
    http1::Poster,
    messages::Messages,
    streams::{Connection, Http2, tls_config},
};
use crate::{events, process::Control};

/// Between two webhooks, so that each finds everything at rest.
const PAUSE: Duration = Duration::from_millis(2);

/// Who they are.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub webhook: SocketAddr,
    pub ca: PathBuf,
    /// Without one there is no subscriber.
    pub grpc: Option<SocketAddr>,
}

/// An order to post so many, one at a time.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct PostOneByOne(pub usize);

/// How long each took from the first byte of its request, in microseconds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Times {
    pub to_answer: Vec<f64>,
    /// Empty without a subscriber.
    pub to_subscriber: Vec<f64>,
}

pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let tls = tls_config(&setup.ca, b"http/1.1")?;
    let mut poster = Poster::connect(setup.webhook, tls).await?;
    let mut subscriber = match setup.grpc {
        Some(addr) => {
            let connection = Connection::open(addr, None, Http2::default()).await?;
            let request = SubscribeRequest::default();
            let (body, _) = connection.subscribe(&request, None).await?;
            // The connection lives as long as somebody can ask more of it.
            Some((body, Messages::default(), connection))
        }
        None => None,
    };
    control.answer(&())?;

    let mut number: u64 = rand::random();
    while let Some(PostOneByOne(count)) = control.order().await? {
        let mut times = Times::default();
        for _ in 0..count {
            tokio::time::sleep(PAUSE).await;
            number = number.wrapping_add(1);
            let body = events::body(number, 1);
            let start = Instant::now();
            let micros = || start.elapsed().as_secs_f64() * 1e6;
            let answered = async {
                poster.post(&body).await?;
                anyhow::Ok(micros())
            };
            match &mut subscriber {
                Some((stream, messages, _)) => {
                    let delivered = async {
                        event(stream, messages).await?;
                        anyhow::Ok(micros())
                    };
                    let (answered, delivered) = tokio::try_join!(answered, delivered)?;
                    times.to_answer.push(answered);
                    times.to_subscriber.push(delivered);
                }
                None => times.to_answer.push(answered.await?),
            }
        }
        control.answer(&times)?;
    }
    Ok(())
}

/// Waits for the next event.
async fn event(body: &mut RecvStream, messages: &mut Messages) -> anyhow::Result<()> {
    loop {
        let chunk = body.data().await.context("the stream has ended")??;
        body.flow_control().release_capacity(chunk.len())?;
        match messages.take(&chunk) {
            0 => {}
            1 => return Ok(()),
            more => bail!("{more} events for one webhook"),
        }
    }
}
