//! Clients of the gRPC door, made from the contract as any subscriber's would be.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_types::StatusExt;
use verbex_gateway::proto::{
    Event, EventFilter, ListEventsRequest, ListEventsResponse, Progress, StartPosition,
    SubscribeRequest, SubscribeResponse, SubscriptionState,
    admin_service_client::AdminServiceClient, event_service_client::EventServiceClient,
    subscribe_request::Start, subscribe_response::Response,
};

use super::{process::Gateway, soon};

impl Gateway {
    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.grpc)).expect("a URL");
        soon("a connection", endpoint.connect())
            .await
            .expect("the gRPC door is open")
    }

    pub(crate) async fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel().await)
    }

    pub(crate) async fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel().await)
    }

    /// A subscription on a connection of its own, with its first message still to be read.
    pub(crate) async fn try_subscribe(&self, request: SubscribeRequest) -> Result<Stream, Status> {
        let mut client = self.events().await;
        let response = soon("an answer", client.subscribe(request)).await?;
        Ok(Stream(response.into_inner()))
    }

    /// A subscription that has told where it stands.
    pub(crate) async fn subscribe(&self, request: SubscribeRequest) -> (Stream, Place) {
        let mut stream = self.try_subscribe(request).await.expect("a subscription");
        let first = stream.place().await;
        (stream, first)
    }

    /// All that the log holds.
    pub(crate) async fn all(&self, request: SubscribeRequest, count: usize) -> Vec<Event> {
        let (mut stream, _) = self.subscribe(from_earliest(request)).await;
        stream.take(count).await
    }

    pub(crate) async fn list(
        &self,
        request: ListEventsRequest,
    ) -> Result<ListEventsResponse, Status> {
        let mut client = self.events().await;
        let answer = soon("an answer", client.list_events(request)).await?;
        Ok(answer.into_inner())
    }
}

/// An open subscription.
pub(crate) struct Stream(pub(crate) Streaming<SubscribeResponse>);

/// A progress with its cursor.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) cursor: String,
    pub(crate) progress: Progress,
}

impl Place {
    pub(crate) fn state(&self) -> SubscriptionState {
        self.progress.state()
    }
}

impl Stream {
    /// The next message, or how the stream ended.
    pub(crate) async fn next(&mut self) -> Result<SubscribeResponse, Status> {
        let next = soon("a message", self.0.message()).await?;
        next.ok_or_else(|| Status::unknown("the stream ended without a status"))
    }

    /// The next message, which is a progress.
    pub(crate) async fn place(&mut self) -> Place {
        let message = self.next().await.expect("a message");
        match message.response {
            Some(Response::Progress(progress)) => Place {
                cursor: message.cursor,
                progress,
            },
            other => panic!("not a progress: {other:?}"),
        }
    }

    /// The next event and its cursor, over whatever progress comes before it.
    pub(crate) async fn event(&mut self) -> (String, Event) {
        loop {
            let message = self.next().await.expect("a message");
            match message.response {
                Some(Response::Event(event)) => return (message.cursor, event),
                Some(Response::Progress(_)) => {}
                other => panic!("not an event: {other:?}"),
            }
        }
    }

    /// So many events.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.event().await.1);
        }
        events
    }

    /// The next progress that says this state, over events and other progress.
    pub(crate) async fn state(&mut self, expected: SubscriptionState) -> Place {
        loop {
            let message = self.next().await.expect("a message");
            if let Some(Response::Progress(progress)) = message.response
                && progress.state() == expected
            {
                return Place {
                    cursor: message.cursor,
                    progress,
                };
            }
        }
    }

    /// Reads to the end: the events that came, and why there are no more.
    pub(crate) async fn end(&mut self) -> (Vec<Event>, Status) {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Ok(message) => {
                    if let Some(Response::Event(event)) = message.response {
                        events.push(event);
                    }
                }
                Err(status) => return (events, status),
            }
        }
    }
}

/// From the first event that there is.
pub(crate) fn from_earliest(request: SubscribeRequest) -> SubscribeRequest {
    SubscribeRequest {
        start: Some(Start::StartPosition(StartPosition::Earliest.into())),
        ..request
    }
}

/// From behind a cursor.
pub(crate) fn after(cursor: &str) -> SubscribeRequest {
    SubscribeRequest {
        start: Some(Start::AfterCursor(cursor.into())),
        ..SubscribeRequest::default()
    }
}

/// From a time.
pub(crate) fn since(time: impl Into<prost_types::Timestamp>) -> SubscribeRequest {
    SubscribeRequest {
        start: Some(Start::StartTime(time.into())),
        ..SubscribeRequest::default()
    }
}

/// Of a kind.
pub(crate) fn filtered(filter: EventFilter) -> SubscribeRequest {
    SubscribeRequest {
        filter: Some(filter),
        ..SubscribeRequest::default()
    }
}

/// With a progress each second, the shortest that is allowed.
pub(crate) fn impatient(request: SubscribeRequest) -> SubscribeRequest {
    SubscribeRequest {
        progress_interval: Some(prost_types::Duration {
            seconds: 1,
            nanos: 0,
        }),
        ..request
    }
}

/// So long from now, or before.
pub(crate) fn from_now(seconds: i64) -> prost_types::Timestamp {
    let amount = Duration::from_secs(seconds.unsigned_abs());
    let now = SystemTime::now();
    if seconds < 0 {
        now - amount
    } else {
        now + amount
    }
    .into()
}

/// What a refusal says to a program.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) metadata: HashMap<String, String>,
    /// Fields of the request that are wrong.
    pub(crate) fields: Vec<String>,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads the details, which every error has.
    pub(crate) fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details
            .error_info()
            .unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
        assert_eq!(info.domain, "verbex.gateway", "{status:?}");
        assert!(!status.message().is_empty(), "{status:?}");
        let violations = details.bad_request().map(|bad| bad.field_violations.iter());
        let violations = violations.into_iter().flatten();
        Self {
            code: status.code(),
            reason: info.reason.clone(),
            metadata: info.metadata.clone(),
            fields: violations
                .map(|violation| violation.field.clone())
                .collect(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        }
    }

    /// Code and reason, as the contract's table has them.
    pub(crate) fn row(&self) -> (Code, &str) {
        (self.code, &self.reason)
    }
}
