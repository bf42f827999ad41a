//! The subscriber against a gateway that follows a script.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::proto::{
    Event, GetEventRequest, GetEventResponse, ListEventsRequest, ListEventsResponse, Progress,
    SubscribeRequest, SubscribeResponse,
    event_service_server::{EventService, EventServiceServer},
    subscribe_request::Start as WireStart,
    subscribe_response::Response as Kind,
};

type Message = Result<SubscribeResponse, Status>;

/// What happens on one connection: these messages, and then silence if it does not end with an error.
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
    let gateway = Gateway::new(address, None, None).unwrap();
    subscribe(
        gateway,
        Subscription {
            start: Start::Earliest,
            progress_interval: Duration::from_millis(150),
            ..Subscription::default()
        },
    )
}

/// The next item in a word.
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
    let earliest = WireStart::StartPosition(crate::proto::StartPosition::Earliest.into());
    // A message of an unknown kind moves the cursor too.
    assert_eq!(
        gateway.starts(),
        [earliest, after("c2"), after("c2"), after("c5")]
    );
}

#[tokio::test]
async fn without_any_message_it_begins_as_it_was_told() {
    let (gateway, address) = ScriptedGateway::start([
        vec![Err(Status::unavailable("a proxy says so"))],
        vec![progress("c0")],
    ])
    .await;
    let mut items = follow(&address);
    assert_eq!(next(&mut items).await, "interrupted: ");
    assert_eq!(next(&mut items).await, "progress c0");
    let starts = gateway.starts();
    assert_eq!(starts[0], starts[1]);
}

#[tokio::test]
async fn silence_for_two_intervals_is_a_dead_connection() {
    let (gateway, address) =
        ScriptedGateway::start([vec![progress("c0"), event(1)], vec![event(2)]]).await;
    let mut items = follow(&address);
    assert_eq!(next(&mut items).await, "progress c0");
    assert_eq!(next(&mut items).await, "event 1");
    match items.next().await {
        Some(Ok(Item::Interrupted {
            error: Error::Silent { after, .. },
            ..
        })) => assert_eq!(after, Duration::from_millis(300)),
        other => panic!("{other:?}"),
    }
    assert_eq!(next(&mut items).await, "event 2");
    assert_eq!(gateway.starts()[1], after("c1"));
}

#[tokio::test]
async fn it_never_leaves_a_refused_cursor_by_itself() {
    for reason in ["CURSOR_INVALID", "CURSOR_FOREIGN_LOG", "CURSOR_EXPIRED"] {
        let refused = Err(refusal(Code::FailedPrecondition, reason));
        let (gateway, address) = ScriptedGateway::start([vec![refused]]).await;
        let mut items = follow(&address);
        let told = next(&mut items).await;
        assert!(
            told.starts_with("failed: ") && told.contains(reason),
            "{told}"
        );
        assert_eq!(next(&mut items).await, "end");
        assert_eq!(gateway.starts().len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn it_waits_as_long_as_the_gateway_asks_for() {
    let mut details = ErrorDetails::with_error_info(
        "SUBSCRIBER_LIMIT",
        "verbex.gateway",
        HashMap::<String, String>::new(),
    );
    details.set_retry_info(Some(Duration::from_secs(40)));
    let full = Status::with_error_details(Code::ResourceExhausted, "full", details);
    let (_, address) = ScriptedGateway::start([vec![Err(full)]]).await;
    match follow(&address).next().await {
        Some(Ok(Item::Interrupted { retry_in, .. })) => {
            assert_eq!(retry_in, Duration::from_secs(40));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_reason_of_the_contract_has_one_way_on() {
    let check = |code, reason: &str, may_pass| {
        let error = Error::from_status("http://gateway", &refusal(code, reason));
        assert_eq!(error.may_pass(), may_pass, "{reason}");
        assert_eq!(error.reason(), reason);
    };
    check(Code::Unavailable, "DRAINING", true);
    check(Code::Unavailable, "LOG_UNAVAILABLE", true);
    check(Code::ResourceExhausted, "SUBSCRIBER_LIMIT", true);
    check(Code::Internal, "INTERNAL", true);
    check(Code::InvalidArgument, "INVALID_REQUEST", false);
    check(Code::InvalidArgument, "CURSOR_INVALID", false);
    check(Code::FailedPrecondition, "CURSOR_FOREIGN_LOG", false);
    check(Code::OutOfRange, "CURSOR_EXPIRED", false);
    check(Code::NotFound, "EVENT_NOT_FOUND", false);
    check(Code::NotFound, "SUBSCRIBER_NOT_FOUND", false);
    check(Code::Unauthenticated, "CREDENTIALS_INVALID", false);
    check(Code::PermissionDenied, "SCOPE_DENIED", false);
    check(Code::DataLoss, "LOG_DAMAGED", false);
    check(Code::Aborted, "DISCONNECTED", false);
    // A reason that a later gateway makes is judged by its code.
    check(Code::Unavailable, "MOON_IS_FULL", true);
    check(Code::FailedPrecondition, "MOON_IS_FULL", false);
}

#[test]
fn an_expired_cursor_says_where_the_log_now_begins() {
    let metadata = HashMap::from([
        ("earliest_cursor".to_owned(), "c7".to_owned()),
        (
            "earliest_time".to_owned(),
            "2026-04-27T12:00:00Z".to_owned(),
        ),
    ]);
    let details = ErrorDetails::with_error_info("CURSOR_EXPIRED", "verbex.gateway", metadata);
    let status = Status::with_error_details(Code::OutOfRange, "gone", details);
    match Error::from_status("http://gateway", &status) {
        Error::CursorExpired {
            earliest_cursor,
            earliest_time,
        } => {
            assert_eq!(earliest_cursor.as_deref(), Some("c7"));
            assert_eq!(earliest_time, "2026-04-27T12:00:00Z".parse().ok());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_token_is_on_every_call() {
    let (_, address) = ScriptedGateway::start([]).await;
    let gateway = Gateway::new(&address, None, Some("secret\n")).unwrap();
    let mut connection = gateway.connect().await.unwrap();
    let event = connection.get_event("any".to_owned()).await.unwrap();
    assert_eq!(event.id, "Bearer secret");
    assert!(!format!("{gateway:?}").contains("secret"));
}

#[test]
fn what_cannot_be_a_gateway_is_refused_before_connecting() {
    let check = |address: &str, ca: Option<&str>, token: Option<&str>, expected: &str| {
        let error = Gateway::new(address, ca, token).unwrap_err();
        assert!(!error.may_pass());
        assert!(error.to_string().contains(expected), "{error}");
    };
    check("127.0.0.1:50051", None, None, "write http://HOST:PORT");
    check("ftp://gateway", None, None, "write http://HOST:PORT");
    check("", None, None, "write http://HOST:PORT");
    check("http://gateway", None, Some("two\nlines"), "the token");
    check(
        "https://gateway",
        Some("no PEM"),
        None,
        "cannot use these CA certificates",
    );
}

/// What a failed connection says.
async fn refused_by(address: &str, ca_pem: Option<&str>) -> String {
    let gateway = Gateway::new(address, ca_pem, None).unwrap();
    let error = match gateway.connect().await {
        Err(error) => error,
        Ok(mut connection) => connection.get_event("any".to_owned()).await.unwrap_err(),
    };
    assert!(error.may_pass());
    error.to_string()
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_named_with_the_way_to_start_one() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", port.local_addr().unwrap());
    drop(port);
    let told = refused_by(&address, None).await;
    assert!(
        told.contains(&address) && told.contains("`verbex-gateway serve`"),
        "{told}"
    );
}

#[tokio::test]
async fn tls_on_one_side_only_is_told_with_what_to_change() {
    let (_, plain) = ScriptedGateway::start([]).await;
    let secure = plain.replace("http://", "https://");
    let (ca, tls) = tls_door().await;
    let told = refused_by(&secure, Some(&ca)).await;
    assert!(told.contains("write http:// instead of https://"), "{told}");
    let told = refused_by(&tls.replace("https://", "http://"), None).await;
    assert!(told.contains("does it perhaps want https://"), "{told}");
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_not_trusted() {
    let (_, address) = tls_door().await;
    let (other_ca, _) = tls_door().await;
    let told = refused_by(&address, Some(&other_ca)).await;
    assert!(told.contains("is not trusted"), "{told}");
}

/// A port that speaks TLS and then HTTP/2, with its certificate.
async fn tls_door() -> (String, String) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let handshake = acceptor.accept(socket);
            tokio::spawn(async move { handshake.await.map(drop) });
        }
    });
    (cert.pem(), address)
}
