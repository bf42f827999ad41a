//! The door as a service, and in-process behind real TLS; its log is a real one.

mod secrets;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::SystemTime,
};

use http_body_util::{BodyExt, StreamBody};
use prometheus_client::{encoding::text::encode, registry::Registry};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tower::ServiceExt;

use super::*;
use crate::{
    log::{self, Log},
    tls,
};

/// Far more than anything here takes; a promise that is not kept fails by it.
const PATIENCE: Duration = Duration::from_secs(20);
const PEER: &str = "192.0.2.1:1234";
const EVENT: &str = r#"{"eventName": "CallHandler.CallEnded", "payload": {"call_id": "c"}}"#;

/// A door with a log of its own.
struct Site {
    webhook: Webhook,
    log: Log,
    metrics: Registry,
    dir: TempDir,
}

fn site(config: Config) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let mut metrics = Registry::default();
    let log_config = log::Config {
        data_dir: dir.path().into(),
        consent: Default::default(),
        limits: log::Limits::NONE,
    };
    let log = log::open(&log_config, log::Metrics::register(&mut metrics)).unwrap();
    let rules = Rules {
        organization: None,
        id_key: log.identity.id_key,
    };
    let door_metrics = Metrics::register(&mut metrics);
    let webhook = Webhook::new(&config, rules, log.appender.clone(), door_metrics);
    Site {
        webhook,
        log,
        metrics,
        dir,
    }
}

/// A request from [`PEER`] that is fine, to be spoilt.
fn post() -> http::request::Builder {
    let peer: SocketAddr = PEER.parse().unwrap();
    Request::post(PATH).extension(Peer(peer))
}

/// Status and JSON of an answer.
async fn ask<B>(webhook: &Webhook, request: Request<B>) -> (u16, Value)
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let response = webhook.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn send(webhook: &Webhook, body: impl Into<Bytes>) -> (u16, Value) {
    ask(webhook, post().body(Full::new(body.into())).unwrap()).await
}

#[tokio::test]
async fn an_event_is_stored_once_and_told_so() {
    let site = site(Config::default());
    let (status, first) = send(&site.webhook, EVENT).await;
    let id = first["id"].as_str().unwrap();
    assert_eq!(status, 200);
    assert_eq!(
        first,
        json!({"id": id, "sequence": "1", "duplicate": false})
    );
    let again = json!({"id": id, "sequence": "1", "duplicate": true});
    assert_eq!(send(&site.webhook, EVENT).await, (200, again));
    let stored = site.log.reader.get(id.parse().unwrap()).await.unwrap();
    assert_eq!(stored.unwrap().raw.unwrap().json, EVENT);
}

/// One request with every fault; then the first one told is mended, and the next one is told.
#[tokio::test]
async fn of_several_faults_the_first_in_the_table_is_told() {
    let mut config = Config {
        path_secret: Some(Secret::new("s3cret")),
        credentials: vec![Credential::Bearer {
            token: Secret::new("t0ken"),
        }],
        addresses_allowed: vec!["198.51.100.0/24".parse().unwrap()],
        requests_in_flight_max: 0,
        body_bytes_max: 100,
        ..Config::default()
    };
    let mut faulty = Request::builder()
        .method("GET")
        .uri("/webhooks/verbex/wrong")
        .header(header::CONTENT_TYPE, "text/plain")
        .header(header::CONTENT_ENCODING, "br")
        .body(())
        .unwrap();
    faulty.extensions_mut().insert(Peer(PEER.parse().unwrap()));
    let mut body = Bytes::from(vec![b'['; 101]);
    let mut draining = true;

    for expected in [
        "NOT_FOUND",
        "METHOD_NOT_ALLOWED",
        "CREDENTIALS_INVALID",
        "ADDRESS_DENIED",
        "RATE_LIMITED",
        "CONTENT_TYPE_UNSUPPORTED",
        "ENCODING_UNSUPPORTED",
        "BODY_TOO_LARGE",
        "BODY_INVALID",
        "DRAINING",
        "stored",
    ] {
        let site = site(config.clone());
        if draining {
            site.log.appender.finish().await;
        }
        let request = faulty.clone().map(|()| Full::new(body.clone()));
        let (_, answer) = ask(&site.webhook, request).await;
        let told = answer["error"]["code"].as_str().unwrap_or("stored");
        assert_eq!(told, expected);

        let headers = faulty.headers_mut();
        match expected {
            "NOT_FOUND" => *faulty.uri_mut() = "/webhooks/verbex/s3cret".parse().unwrap(),
            "METHOD_NOT_ALLOWED" => *faulty.method_mut() = Method::POST,
            "CREDENTIALS_INVALID" => {
                let token = HeaderValue::from_static("Bearer t0ken");
                headers.insert(header::AUTHORIZATION, token);
            }
            "ADDRESS_DENIED" => config.addresses_allowed.clear(),
            "RATE_LIMITED" => config.requests_in_flight_max = 1,
            "CONTENT_TYPE_UNSUPPORTED" => drop(headers.remove(header::CONTENT_TYPE)),
            "ENCODING_UNSUPPORTED" => drop(headers.remove(header::CONTENT_ENCODING)),
            "DRAINING" => draining = false,
            "BODY_TOO_LARGE" => body = Bytes::from_static(b"["),
            _ => body = Bytes::from_static(b"{}"),
        }
    }
}

#[tokio::test]
async fn a_body_is_refused_only_for_what_it_is_not() {
    let site = site(Config::default());
    let check = async |body: &[u8], expected: &str| {
        let (_, answer) = send(&site.webhook, body.to_vec()).await;
        let told = answer["error"]["code"].as_str().unwrap_or("stored");
        assert_eq!(told, expected, "{}", String::from_utf8_lossy(body));
    };
    let nested = |levels: usize| {
        let arrays = levels - 1;
        format!("{{\"a\":{}{}}}", "[".repeat(arrays), "]".repeat(arrays))
    };
    check(b"{}", "stored").await;
    check(
        br#"{"payload": [], "eventName": 7, "new": {"a": null}}"#,
        "stored",
    )
    .await;
    check(nested(128).as_bytes(), "stored").await;
    check(nested(129).as_bytes(), "BODY_TOO_DEEP").await;
    check(b"", "BODY_INVALID").await;
    check(b"[]", "BODY_INVALID").await;
    check(b"{", "BODY_INVALID").await;
    check(b"{\"a\": \"\xff\"}", "BODY_INVALID").await;
}

/// Clients that look for an answer only once they have sent everything would take a reset for a
/// failure.
#[tokio::test]
async fn a_request_is_refused_by_its_head_at_once_and_its_body_taken_behind_the_answer() {
    let site = site(Config::default());
    let (feed, fed) = mpsc::channel::<Bytes>(1);
    let frames =
        ReceiverStream::new(fed).map(|data| Ok::<_, Infallible>(http_body::Frame::data(data)));
    let request = post().uri("/nowhere").body(StreamBody::new(frames));
    assert_eq!(ask(&site.webhook, request.unwrap()).await.0, 404);
    for _ in 0..100 {
        feed.send(Bytes::from_static(b" ")).await.unwrap();
    }
}

#[tokio::test]
async fn it_is_empty_when_the_last_request_inside_has_its_answer() {
    let site = site(Config::default());
    let (feed, fed) = mpsc::channel::<Bytes>(1);
    let frames =
        ReceiverStream::new(fed).map(|data| Ok::<_, Infallible>(http_body::Frame::data(data)));
    let webhook = site.webhook.clone();
    let inside = tokio::spawn(async move {
        let request = post().body(StreamBody::new(frames)).unwrap();
        ask(&webhook, request).await
    });
    // Two pieces in a channel of one: the first has been read, so the request is inside.
    feed.send(Bytes::from_static(b" ")).await.unwrap();
    feed.send(Bytes::from_static(b" ")).await.unwrap();

    let webhook = site.webhook.clone();
    let mut emptied = tokio::spawn(async move { webhook.emptied().await });
    assert_eq!(send(&site.webhook, "{}").await.0, 200);
    assert!(!emptied.is_finished());

    feed.send(EVENT.into()).await.unwrap();
    drop(feed);
    assert_eq!(inside.await.unwrap().0, 200);
    timeout(PATIENCE, &mut emptied).await.unwrap().unwrap();
}

/// As an HTTP/2 client that cancels its request: the library drops it.
#[tokio::test]
async fn an_event_is_kept_when_its_request_is_dropped_while_it_waits_for_the_log_or_for_room() {
    let mut site = site(Config::default());
    for waits_for_room in [false, true] {
        let worst = vec![b'['; BODY_BYTES_LIMIT];
        let until = tokio::time::Instant::now() + PATIENCE;
        let room = &site.webhook.0.room;
        let mut taken = Some(room.for_event(&worst, until).await.unwrap());
        if !waits_for_room {
            taken = None;
        }
        let body = format!("{{\"{waits_for_room}\":[{}1]}}", "1,".repeat(200_000));
        let request = post().body(Full::new(Bytes::from(body))).unwrap();
        let mut answering = Box::pin(site.webhook.clone().oneshot(request));
        assert!(answering.as_mut().now_or_never().is_none());
        drop(answering);
        assert_eq!(
            site.log.tail.borrow().position.sequence.0,
            u64::from(waits_for_room)
        );
        drop(taken);
        let expected = 1 + u64::from(waits_for_room);
        let tail = &mut site.log.tail;
        let stored = tail.wait_for(|tail| tail.position.sequence.0 == expected);
        timeout(PATIENCE, stored).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_closed_log_is_a_refusal_and_never_a_200() {
    let site = site(Config::default());
    site.log.appender.finish().await;
    let (status, answer) = send(&site.webhook, EVENT).await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (503, Some("DRAINING"))
    );
}

#[tokio::test]
async fn answers_duplicates_and_surprises_are_counted() {
    let site = site(Config::default());
    for body in [EVENT, EVENT, "[", r#"{"surprise": 1}"#] {
        send(&site.webhook, body).await;
    }
    let mut text = String::new();
    encode(&mut text, &site.metrics).unwrap();
    for line in [
        r#"verbex_gateway_webhooks_total{code="OK"} 3"#,
        r#"verbex_gateway_webhooks_total{code="BODY_INVALID"} 1"#,
        "verbex_gateway_webhook_duplicates_total 1",
        "verbex_gateway_webhook_seconds_count 4",
        r#"verbex_gateway_webhook_surprises_total{field="#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

/// The door behind TLS.
struct Running {
    site: Site,
    address: SocketAddr,
    ca: RootCertStore,
}

async fn running(config: Config) -> Running {
    let site = site(config);
    let made = tls::self_made(
        &site.dir.path().join("tls"),
        Ipv4Addr::LOCALHOST.into(),
        SystemTime::now(),
    )
    .unwrap();
    let mut ca = RootCertStore::empty();
    ca.add(CertificateDer::from_pem_file(&made.ca_path).unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server::serve(
        listener,
        Some(watch::channel(made.served.config).1),
        server_config(Metrics::register(&mut Registry::default())),
        site.webhook.clone(),
        server::Metrics::default().door("test"),
        server::Stop::default(),
    ));
    Running { site, address, ca }
}

impl Running {
    fn client_config(&self, alpn: &str) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.ca.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.into()];
        config
    }

    /// A client for HTTP/1.1 and one for HTTP/2.
    fn clients(&self) -> [(http::Version, reqwest::Client); 2] {
        let client =
            |alpn| reqwest::Client::builder().tls_backend_preconfigured(self.client_config(alpn));
        [
            (
                http::Version::HTTP_11,
                client("http/1.1").http1_only().build().unwrap(),
            ),
            (
                http::Version::HTTP_2,
                client("h2").http2_prior_knowledge().build().unwrap(),
            ),
        ]
    }

    fn url(&self) -> String {
        format!("https://localhost:{}{PATH}", self.address.port())
    }

    async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(self.client_config("http/1.1")));
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, stream).await.unwrap()
    }
}

#[tokio::test]
async fn every_refusal_is_json_that_the_client_sees_over_both_protocols() {
    let running = running(Config {
        body_timeout: Duration::from_secs(2),
        ..Config::default()
    })
    .await;
    let large = || vec![b' '; 3 << 20];
    for (version, client) in running.clients() {
        let post = || client.post(running.url());
        let check = async |request: reqwest::RequestBuilder, status: u16, code: Option<&str>| {
            let answer = timeout(PATIENCE, request.send()).await.unwrap().unwrap();
            assert_eq!(
                (answer.status().as_u16(), answer.version()),
                (status, version),
                "{code:?}"
            );
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
            let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
            assert_eq!(body["error"]["code"].as_str(), code, "{version:?}");
        };
        check(post().body(EVENT), 200, None).await;
        check(client.get(running.url()), 405, Some("METHOD_NOT_ALLOWED")).await;
        check(
            client.post(format!("{}/no", running.url())).body(large()),
            404,
            Some("NOT_FOUND"),
        )
        .await;
        check(
            post().header("content-type", "text/plain").body(large()),
            415,
            Some("CONTENT_TYPE_UNSUPPORTED"),
        )
        .await;
        check(post().body(large()), 413, Some("BODY_TOO_LARGE")).await;
        check(
            post().header("x-large", "x".repeat(20_000)),
            431,
            Some("HEADERS_TOO_LARGE"),
        )
        .await;
        check(
            post().header("x-large", "x".repeat(100_000)),
            431,
            Some("HEADERS_TOO_LARGE"),
        )
        .await;
        check(post().body("["), 400, Some("BODY_INVALID")).await;
        let (_never, silent) = mpsc::channel::<Result<Bytes, Infallible>>(1);
        let silent = reqwest::Body::wrap(StreamBody::new(
            ReceiverStream::new(silent).map(|data| data.map(http_body::Frame::data)),
        ));
        check(post().body(silent), 408, Some("BODY_TIMEOUT")).await;
    }
}

#[tokio::test]
async fn what_is_no_http_gets_a_json_answer_too() {
    let running = running(Config::default()).await;
    for (request, status, code) in [
        ("garbage\r\n\r\n".to_string(), 400, "REQUEST_INVALID"),
        (
            format!("POST {PATH} HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(400_000)),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            format!("POST /{} HTTP/1.1\r\n\r\n", "b".repeat(100_000)),
            414,
            "PATH_TOO_LONG",
        ),
    ] {
        let mut stream = running.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        timeout(PATIENCE, read).await.expect(code).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], code);
    }
}

#[tokio::test]
async fn an_event_is_kept_when_its_sender_does_not_wait_for_the_answer() {
    let mut running = running(Config::default()).await;
    let length = EVENT.len();
    let mut stream = running.connect().await;
    let request =
        format!("POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{EVENT}");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    drop(stream);
    let tail = &mut running.site.log.tail;
    let stored = tail.wait_for(|tail| tail.position.sequence.0 == 1);
    timeout(PATIENCE, stored).await.unwrap().unwrap();
}
