//! A client with questions about the past.

use std::{net::SocketAddr, time::Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tonic::transport::Channel;
use verbex_gateway::proto::{
    EventFilter, ListEventsRequest, SubscribeRequest, event_service_client::EventServiceClient,
    subscribe_request::Start, subscribe_response::Response,
};

use crate::{events, process::Control};

/// Events that a page of one agent has at the most.
const PAGE_EVENTS: i32 = 100;

/// Where to ask.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub addr: SocketAddr,
}

/// A question. All but the first are answered by their times in microseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Order {
    /// The cursor of an event that was received half way between the first and the last.
    Middle,
    /// How long until the first event after this cursor is here, on a new connection.
    Resume { after_cursor: String, times: usize },
    /// How long the newest page of an agent takes, of so many agents in turn.
    List { agents: u64, times: usize },
}

pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let url = format!("http://{}", setup.addr);
    let mut client = EventServiceClient::connect(url.clone()).await?;
    control.answer(&())?;
    while let Some(order) = control.order::<Order>().await? {
        match order {
            Order::Middle => control.answer(&middle(&mut client).await?)?,
            Order::Resume {
                after_cursor,
                times,
            } => {
                let mut micros = Vec::new();
                for _ in 0..times {
                    micros.push(resume(&url, &after_cursor).await?);
                }
                control.answer(&micros)?;
            }
            Order::List { agents, times } => {
                let mut micros = Vec::new();
                for time in 0..times as u64 {
                    // A prime, so that the agents are not in the order in which they were written.
                    let agent = events::agent(time * 7_919 % agents);
                    micros.push(list(&mut client, agent).await?);
                }
                control.answer(&micros)?;
            }
        }
    }
    Ok(())
}

async fn middle(client: &mut EventServiceClient<Channel>) -> anyhow::Result<String> {
    let ends = |newest_first| ListEventsRequest {
        page_size: 1,
        newest_first,
        ..ListEventsRequest::default()
    };
    let mut times = Vec::new();
    for newest_first in [false, true] {
        let page = client.list_events(ends(newest_first)).await?.into_inner();
        let event = page.events.into_iter().next().context("an event")?;
        let time = event.receive_time.context("a time")?;
        times.push(i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos));
    }
    let middle = (times[0] + times[1]) / 2;
    let request = SubscribeRequest {
        start: Some(Start::StartTime(prost_types::Timestamp {
            seconds: (middle / 1_000_000_000) as i64,
            nanos: (middle % 1_000_000_000) as i32,
        })),
        ..SubscribeRequest::default()
    };
    let mut stream = client.subscribe(request).await?.into_inner();
    loop {
        let message = stream.message().await?.context("the stream has ended")?;
        if let Some(Response::Event(_)) = message.response {
            return Ok(message.cursor);
        }
    }
}

async fn resume(url: &str, after_cursor: &str) -> anyhow::Result<f64> {
    let mut client = EventServiceClient::connect(url.to_owned()).await?;
    let start = Instant::now();
    let request = SubscribeRequest {
        start: Some(Start::AfterCursor(after_cursor.to_owned())),
        ..SubscribeRequest::default()
    };
    let mut stream = client.subscribe(request).await?.into_inner();
    loop {
        let message = stream.message().await?.context("the stream has ended")?;
        if let Some(Response::Event(_)) = message.response {
            return Ok(start.elapsed().as_secs_f64() * 1e6);
        }
    }
}

async fn list(client: &mut EventServiceClient<Channel>, agent: String) -> anyhow::Result<f64> {
    let start = Instant::now();
    let request = ListEventsRequest {
        filter: Some(EventFilter {
            agent_ids: vec![agent],
            ..EventFilter::default()
        }),
        page_size: PAGE_EVENTS,
        newest_first: true,
        ..ListEventsRequest::default()
    };
    let page = client.list_events(request).await?.into_inner();
    let micros = start.elapsed().as_secs_f64() * 1e6;
    anyhow::ensure!(!page.events.is_empty(), "an agent without events");
    Ok(micros)
}
