//! The subscriber against a gateway that follows a script.

// These need a server that speaks TLS.
#[cfg(feature = "gateway")]
mod doors;
mod reaching;
mod retry;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use futures_util::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::proto::{
    Event, ExpiredCursorAction, Gap, GetEventRequest, GetEventResponse, ListEventsRequest,
    ListEventsResponse, Progress, StartPosition, SubscribeRequest, SubscribeResponse,
    event_service_server::{EventService, EventServiceServer},
    subscribe_request::Start as WireStart,
    subscribe_response::Response as Kind,
};

type Message = Result<SubscribeResponse, Status>;

/// The messages of one connection. If they do not end with an error, silence follows.
type Script = Vec<Message>;

#[derive(Clone, Default)]
struct ScriptedGateway {
    scripts: Arc<Mutex<VecDeque<Script>>>,
    requests: Arc<Mutex<Vec<SubscribeRequest>>>,
}

impl ScriptedGateway {
    /// Serves until the runtime of the test ends.
    async fn start(scripts: impl Into<VecDeque<Script>>) -> (Self, String) {
        let this = Self {
            scripts: Arc::new(Mutex::new(scripts.into())),
            requests: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = EventServiceServer::new(this.clone());
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        (this, address)
    }

    fn starts(&self) -> Vec<WireStart> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .map(|request| request.start.clone().unwrap())
            .collect()
    }
}

#[tonic::async_trait]
impl EventService for ScriptedGateway {
    type SubscribeStream = std::pin::Pin<Box<dyn Stream<Item = Message> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        self.requests.lock().unwrap().push(request.into_inner());
        let mut script = self.scripts.lock().unwrap().pop_front().unwrap_or_default();
        if let [Err(status)] = script.as_slice() {
            return Err(status.clone());
        }
        let ends = script.last().is_some_and(Result::is_err);
        let messages = stream::iter(std::mem::take(&mut script));
        Ok(Response::new(if ends {
            messages.boxed()
        } else {
            messages.chain(stream::pending()).boxed()
        }))
    }

    async fn list_events(
        &self,
        _: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        Err(refusal(Code::Unauthenticated, "CREDENTIALS_INVALID"))
    }

    async fn get_event(
        &self,
        request: Request<GetEventRequest>,
    ) -> Result<Response<GetEventResponse>, Status> {
        let authorization = request.metadata().get("authorization");
        let event = Event {
            id: authorization.map_or(String::new(), |value| value.to_str().unwrap().to_owned()),
            ..Event::default()
        };
        Ok(Response::new(GetEventResponse { event: Some(event) }))
    }
}

fn message(cursor: &str, response: Option<Kind>) -> Message {
    Ok(SubscribeResponse {
        cursor: cursor.to_owned(),
        response,
    })
}

fn event(sequence: u64) -> Message {
    let event = Event {
        sequence,
        ..Event::default()
    };
    message(&format!("c{sequence}"), Some(Kind::Event(event)))
}

fn progress(cursor: &str) -> Message {
    message(cursor, Some(Kind::Progress(Progress::default())))
}

fn refusal(code: Code, reason: &str) -> Status {
    let details =
        ErrorDetails::with_error_info(reason, "verbex.gateway", HashMap::<String, String>::new());
    Status::with_error_details(code, "as the script says", details)
}

fn after(cursor: &str) -> WireStart {
    WireStart::AfterCursor(cursor.to_owned())
}

fn follow(address: &str) -> Subscriber {
    follow_from(address, Start::Earliest)
}

fn follow_from(address: &str, start: Start) -> Subscriber {
    let gateway = Gateway::new(address).unwrap();
    gateway.subscribe(Subscription::new(start))
}

/// The next item as a short text.
async fn next(items: &mut Subscriber) -> String {
    let item = tokio::time::timeout(Duration::from_secs(20), items.next()).await;
    match item.expect("the subscriber hands out nothing") {
        None => "end".to_owned(),
        Some(Err(error)) => format!("failed: {error}"),
        Some(Ok(Item::Event { event, .. })) => format!("event {}", event.sequence),
        Some(Ok(Item::Progress { cursor, .. })) => format!("progress {cursor}"),
        Some(Ok(Item::Gap { cursor, .. })) => format!("gap {cursor}"),
        Some(Ok(Item::Interrupted { error, .. })) => format!("interrupted: {}", error.reason()),
    }
}

#[tokio::test]
async fn it_resumes_after_the_last_cursor_it_handed_out() {
    let lost = || Err(refusal(Code::Unavailable, "DRAINING"));
    let (gateway, address) = ScriptedGateway::start([
        vec![progress("c0"), event(1), event(2), lost()],
        vec![lost()],
        vec![progress("c2"), message("c5", None), lost()],
        vec![progress("c5"), event(6)],
    ])
    .await;
    let mut items = follow(&address);
    for expected in [
        "progress c0",
        "event 1",
        "event 2",
        "interrupted: DRAINING",
        "interrupted: DRAINING",
        "progress c2",
        "interrupted: DRAINING",
        "progress c5",
        "event 6",
    ] {
        assert_eq!(next(&mut items).await, expected);
    }
    let earliest = WireStart::StartPosition(StartPosition::Earliest.into());
    // A message of an unknown kind also moves the cursor.
    assert_eq!(
        gateway.starts(),
        [earliest, after("c2"), after("c2"), after("c5")]
    );
}

#[tokio::test]
async fn until_the_first_message_it_begins_as_it_was_told_and_never_after_it() {
    let lost = || Err(Status::unavailable("a proxy says so"));
    let latest = WireStart::StartPosition(StartPosition::Latest.into());
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
    let at = WireStart::StartTime(prost_types::Timestamp {
        seconds: 1,
        nanos: 500_000_000,
    });
    for (start, expected) in [(Start::Latest, latest), (Start::At(time), at)] {
        let (gateway, address) =
            ScriptedGateway::start([vec![lost()], vec![progress("c0"), lost()], vec![event(1)]])
                .await;
        let mut items = follow_from(&address, start);
        assert_eq!(next(&mut items).await, "interrupted: ");
        assert_eq!(next(&mut items).await, "progress c0");
        assert_eq!(next(&mut items).await, "interrupted: ");
        assert_eq!(next(&mut items).await, "event 1");
        assert_eq!(gateway.starts(), [expected.clone(), expected, after("c0")]);
    }
}

#[tokio::test]
async fn silence_for_two_intervals_is_a_dead_connection() {
    let (gateway, address) =
        ScriptedGateway::start([vec![progress("c0"), event(1)], vec![event(2)]]).await;
    let mut items = Gateway::new(&address).unwrap().subscribe(Subscription {
        progress_interval: Duration::from_millis(500),
        ..Subscription::new(Start::Earliest)
    });
    assert_eq!(next(&mut items).await, "progress c0");
    assert_eq!(next(&mut items).await, "event 1");
    match items.next().await {
        Some(Ok(Item::Interrupted {
            error: Error::Silent { after, .. },
            ..
        })) => assert_eq!(after, Duration::from_secs(1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(next(&mut items).await, "event 2");
    assert_eq!(gateway.starts()[1], after("c1"));
}

#[tokio::test]
async fn what_retention_took_is_told_as_a_gap_to_who_asked_for_that() {
    let gap = message("c7", Some(Kind::Gap(Gap::default())));
    let (gateway, address) = ScriptedGateway::start([vec![gap, event(8)]]).await;
    let mut items = Gateway::new(&address).unwrap().subscribe(Subscription {
        expired_cursor_action: ExpiredCursorAction::Earliest,
        ..Subscription::new(Start::After("c1".into()))
    });
    assert_eq!(next(&mut items).await, "gap c7");
    assert_eq!(next(&mut items).await, "event 8");
    let requests = gateway.requests.lock().unwrap();
    assert_eq!(
        requests[0].expired_cursor_action(),
        ExpiredCursorAction::Earliest
    );
}

#[tokio::test]
async fn a_call_that_is_given_up_loses_nothing() {
    let (_, address) = ScriptedGateway::start([(1..=100).map(event).collect::<Script>()]).await;
    let mut items = follow(&address);
    let mut given_up = 0;
    for sequence in 1..=100 {
        // Each call is polled once and then dropped, unless there is an item already.
        let item = loop {
            tokio::select! {
                biased;
                item = items.try_next() => break item,
                () = tokio::task::yield_now() => given_up += 1,
            }
        };
        match item {
            Ok(Some(Item::Event { event, .. })) => assert_eq!(event.sequence, sequence),
            other => panic!("{other:?}"),
        }
    }
    assert!(given_up > 0);
}

#[tokio::test]
async fn an_interval_that_cannot_be_is_for_the_gateway_to_refuse() {
    for interval in [Duration::ZERO, Duration::MAX] {
        let refused = Err(refusal(Code::InvalidArgument, "INVALID_REQUEST"));
        let (gateway, address) = ScriptedGateway::start([vec![refused]]).await;
        let mut items = Gateway::new(&address).unwrap().subscribe(Subscription {
            progress_interval: interval,
            ..Subscription::new(Start::Latest)
        });
        let error = items.try_next().await.unwrap_err();
        assert_eq!(error.reason(), "INVALID_REQUEST");
        let asked = gateway.requests.lock().unwrap()[0].progress_interval;
        assert!(asked.is_some(), "30 s would be taken instead");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_ends_the_stream() {
    let truncated = [0, 0, 0, 0, 2, 0x12, 0x7f];
    let too_large = [0, 0x00, 0x50, 0, 0, 0, 0];
    for message in [truncated, too_large] {
        let mut items = follow(&nonsense(message).await);
        match items.try_next().await {
            Err(error @ Error::Unreadable { .. }) => assert!(!error.may_pass()),
            other => panic!("{other:?}"),
        }
        assert!(items.try_next().await.unwrap().is_none());
    }
}

/// A gateway that answers with this gRPC message.
async fn nonsense(message: [u8; 7]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let mut open = Vec::new();
        while let Some(Ok((_, mut answer))) = connection.accept().await {
            let head = tonic::codegen::http::Response::builder()
                .header("content-type", "application/grpc")
                .body(());
            let mut body = answer.send_response(head.unwrap(), false).unwrap();
            let message = prost::bytes::Bytes::copy_from_slice(&message);
            body.send_data(message, false).unwrap();
            open.push(body);
        }
    });
    address
}
