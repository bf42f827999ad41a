//! The usual way to broadcast over gRPC: plain tonic and a tokio broadcast channel. Each
//! subscriber's stream gets a clone of every event, asks its filter, and has tonic encode what it
//! wants. Nothing is stored.

use std::{net::SocketAddr, pin::Pin};

use futures_util::{Stream, StreamExt, future::ready};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::broadcast};
use tokio_stream::wrappers::BroadcastStream;
use tonic::{
    Request, Response, Status, codec::CompressionEncoding, transport::Server,
    transport::server::TcpIncoming,
};
use verbex_gateway::proto::{
    Event, EventFilter, GetEventRequest, GetEventResponse, ListEventsRequest, ListEventsResponse,
    SubscribeRequest, SubscribeResponse,
    event_service_server::{EventService, EventServiceServer},
    subscribe_response::Response as Answer,
};

use crate::{
    events::{Maker, Payload},
    pace::{Pace, Publication},
    process::Control,
    servers::Ready,
};

/// Far more than a publisher is ahead, so that nobody misses anything.
const CHANNEL_EVENTS: usize = 16 * 1024;

/// How it is set up.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub payload: Payload,
    /// Agents that the events are of, in turn.
    pub agents: u64,
    /// Whether it compresses for those who accept gzip.
    pub gzip: bool,
}

pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let (channel, addr) = serve(setup.gzip).await?;
    let mut pace = Pace::listen().await?;
    control.answer(&Ready {
        addr,
        pace: pace.addr,
    })?;

    let maker = Maker::new(setup.payload, setup.agents);
    let messages: Vec<SubscribeResponse> = (0..setup.agents.max(1))
        .map(|number| maker.message(number))
        .collect();
    let mut first = 0;
    while let Some(order) = control.order::<Publication>().await? {
        let published = pace
            .publish(order, async |number, count| {
                for number in first + number..first + number + count as u64 {
                    let message = &messages[(number % messages.len() as u64) as usize];
                    channel.send(message.clone())?;
                }
                Ok(())
            })
            .await?;
        first += published.events;
        control.answer(&published)?;
    }
    Ok(())
}

/// Serves subscribers of a channel. Returns the channel, and where it serves.
pub(super) async fn serve(
    gzip: bool,
) -> anyhow::Result<(broadcast::Sender<SubscribeResponse>, SocketAddr)> {
    let (channel, _) = broadcast::channel(CHANNEL_EVENTS);
    let mut service = EventServiceServer::new(Broadcast {
        channel: channel.clone(),
    });
    if gzip {
        service = service.send_compressed(CompressionEncoding::Gzip);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(
        Server::builder()
            .max_concurrent_streams(100_000)
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true))),
    );
    Ok((channel, addr))
}

struct Broadcast {
    channel: broadcast::Sender<SubscribeResponse>,
}

#[tonic::async_trait]
impl EventService for Broadcast {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let events = BroadcastStream::new(self.channel.subscribe()).filter_map(move |received| {
            ready(match received {
                Ok(message) => wanted(&filter, &message).then_some(Ok(message)),
                Err(lagged) => Some(Err(Status::data_loss(lagged.to_string()))),
            })
        });
        Ok(Response::new(Box::pin(events)))
    }

    async fn list_events(
        &self,
        _: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        Err(Status::unimplemented("there is no log"))
    }

    async fn get_event(
        &self,
        _: Request<GetEventRequest>,
    ) -> Result<Response<GetEventResponse>, Status> {
        Err(Status::unimplemented("there is no log"))
    }
}

fn wanted(filter: &EventFilter, message: &SubscribeResponse) -> bool {
    let Some(Answer::Event(event)) = &message.response else {
        return false;
    };
    let Event {
        agent_id,
        call_id,
        organization_id,
        event_name,
        status,
        ..
    } = event;
    let among = |values: &[String], value: &String| values.is_empty() || values.contains(value);
    (filter.event_types.is_empty() || filter.event_types.contains(&event.r#type))
        && among(&filter.agent_ids, agent_id)
        && among(&filter.call_ids, call_id)
        && among(&filter.organization_ids, organization_id)
        && among(&filter.event_names, event_name)
        && among(&filter.statuses, status)
}
