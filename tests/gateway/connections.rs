//! Nobody shuts others out by connections alone: a full door takes a new one in the place of the
//! idlest.

use std::{net::SocketAddr, path::Path};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    PATIENCE,
    bodies::call_started,
    eventually, eventually_asking,
    process::{Gateway, Setup},
    soon,
    webhook::{Answer, BOTH, Http, client},
};

/// The beginning of an HTTP/2 connection with empty settings, as an idle channel of gRPC has it.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Open connections on which the client has sent `opening`, and nothing since.
async fn idle(addr: SocketAddr, connections: usize, opening: &[u8]) -> Vec<TcpStream> {
    let mut idle = Vec::new();
    for _ in 0..connections {
        let connecting = TcpStream::connect(addr);
        let mut stream = soon("a connection", connecting).await.unwrap();
        // One that is closed already is none that holds anybody up.
        let _ = stream.write_all(opening).await;
        idle.push(stream);
    }
    idle
}

/// All that comes until the gateway closes.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset ends it as well.
    let _ = soon("the end", stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Gateway {
    fn admin_addr(&self) -> SocketAddr {
        let address = self.admin_url.trim_start_matches("http://");
        address.parse().expect("the banner has an address")
    }

    async fn is_open(&self) {
        self.post(call_started(1)).await;
        assert_eq!(self.operations("/readyz").await.status, 200);
    }

    async fn metric(&self, sample: &str) -> f64 {
        let text = self.operations("/metrics").await.text;
        let line = text.lines().find_map(|line| line.strip_prefix(sample));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{sample} in {text}"))
    }
}

#[tokio::test]
async fn idle_grpc_connections_beyond_the_soft_limit_keep_no_webhook_and_no_probe_out() {
    let gateway = Setup::new().shell("ulimit -S -n 1024").start().await;
    let _idle = idle(gateway.grpc, 1_100, HTTP2).await;
    gateway.is_open().await;
    let (_, stderr) = gateway.output();
    assert!(!stderr.contains("descriptors"), "{stderr}");
}

#[tokio::test]
async fn with_few_descriptors_each_door_has_its_share_and_says_so() {
    let gateway = Setup::new().shell("ulimit -n 256").start().await;
    for said in ["few file descriptors", "webhook=", "grpc=", "LimitNOFILE"] {
        let found = || gateway.output().1.contains(said).then_some(());
        eventually(said, found).await;
    }
    for addr in [gateway.grpc, gateway.webhook_addr(), gateway.admin_addr()] {
        let _idle = idle(addr, 300, HTTP2).await;
        gateway.is_open().await;
        let (_stream, _) = gateway.subscribe(Default::default()).await;
    }
    let (_, stderr) = gateway.output();
    assert!(!stderr.contains("cannot accept"), "{stderr}");
    assert!(
        gateway
            .metric(r#"verbex_gateway_connections{door="grpc"}"#)
            .await
            < 256.0
    );
    let evicted = |door: &str| {
        format!(r#"verbex_gateway_connections_closed_total{{door="{door}",reason="client_limit"}}"#)
    };
    for door in ["webhook", "grpc", "admin"] {
        assert!(gateway.metric(&evicted(door)).await > 0.0, "{door}");
    }
    assert!(
        stderr.contains("a client reached the limit of connections"),
        "{stderr}"
    );
}

#[tokio::test]
async fn plain_http_at_an_https_door_is_told_so() {
    let made = Gateway::start().await;
    let gateway = Setup::new().grpc_tls_of(&made).start().await;
    for addr in [gateway.webhook_addr(), gateway.grpc] {
        let url = format!("http://{addr}/webhooks/verbex");
        let plain = client(Path::new(""), Http::One);
        // More than is read at once.
        let request = plain.post(url).body("x".repeat(200_000)).send();
        let answer = Answer::of(request.await.unwrap()).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.code(), "REQUEST_INVALID");
        assert!(answer.text.contains("https://"), "{}", answer.text);
    }
    let (_, stderr) = gateway.output();
    assert!(stderr.contains("a client spoke plain HTTP"), "{stderr}");
}

#[tokio::test]
async fn tls_at_a_plain_door_is_closed_with_a_line_in_the_log() {
    let gateway = Setup::new().arg("--webhook-plain-http").start().await;
    for addr in [gateway.webhook_addr(), gateway.grpc, gateway.admin_addr()] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream
            .write_all(b"\x16\x03\x01\0\x05\x01\0\0\x01\0")
            .await
            .unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let said = async || {
        let (_, stderr) = gateway.output();
        let lines = stderr
            .lines()
            .filter(|line| line.contains("a client spoke TLS"));
        (lines.count() == 3).then_some(())
    };
    eventually_asking(PATIENCE, "a line for each door", said).await;
}

#[tokio::test]
async fn a_refusal_comes_before_the_body_and_the_connection_goes_on_or_says_that_it_does_not() {
    let gateway = Setup::new()
        .set("WEBHOOK_BODY_TIMEOUT_SECONDS", "1")
        .start()
        .await;
    let path = "/webhooks/verbex";
    let head = |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\n{more}\r\n");
    let event = call_started(7);
    let length = event.len();

    // Answered by its head; the body comes later, and the next request is served.
    let mut socket = gateway.socket().await;
    socket.write(head("/other", "content-length: 6\r\n")).await;
    let refused = socket.answer().await;
    assert_eq!((refused.status, refused.header("connection")), (404, None));
    socket.write("{\"a\":1").await;
    socket
        .write(head(path, &format!("content-length: {length}\r\n")))
        .await;
    socket.write(&event).await;
    assert_eq!(socket.answer().await.status, 200);

    let large = "content-length: 100000000\r\n";
    for (path, more, status) in [
        (
            "/other",
            "content-length: 6\r\nexpect: 100-continue\r\n",
            404,
        ),
        ("/other", large, 404),
        (path, large, 413),
        (path, "content-length: 6\r\n", 408),
    ] {
        let mut socket = gateway.socket().await;
        socket.write(head(path, more)).await;
        let refused = socket.answer().await;
        assert_eq!(refused.status, status, "{path} {more}");
        assert_eq!(refused.header("connection"), Some("close"), "{path} {more}");
    }
}

#[tokio::test]
async fn where_a_body_is_not_framed_as_http_says_the_answer_is_the_last_and_says_so() {
    let gateway = Gateway::start().await;
    for body in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}XX",
        "fffffffffffffffff\r\n{}",
    ] {
        let mut socket = gateway.socket().await;
        socket
            .write(format!(
                "POST /webhooks/verbex HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                 {body}"
            ))
            .await;
        let answer = socket.answer().await;
        assert_eq!((answer.status, answer.code()), (400, "BODY_INVALID".into()));
        assert_eq!(answer.header("connection"), Some("close"), "{body:?}");
    }
}

#[tokio::test]
async fn so_many_headers_are_too_many_over_both_protocols() {
    let gateway = Gateway::start().await;
    for http in BOTH {
        let mut request = gateway.http(http).post(&gateway.webhook_url);
        for number in 0..150 {
            request = request.header(format!("x-{number}"), "a");
        }
        let answer = Answer::of(request.body(call_started(1)).send().await.unwrap()).await;
        assert_eq!(
            (answer.status, answer.code()),
            (431, "HEADERS_TOO_LARGE".into())
        );
    }
}

#[tokio::test]
async fn an_http2_connection_without_a_request_is_closed_as_soon_as_one_over_http1() {
    let gateway = Setup::new()
        .set("WEBHOOK_PLAIN_HTTP", "true")
        .set("TLS_HANDSHAKE_SECONDS", "1")
        .start()
        .await;
    for addr in [gateway.webhook_addr(), gateway.admin_addr()] {
        for stream in &mut idle(addr, 2, HTTP2).await {
            read_all(stream).await;
        }
    }
    for door in ["webhook", "admin"] {
        let closed =
            format!(r#"verbex_gateway_connections_closed_total{{door="{door}",reason="opening"}}"#);
        assert!(gateway.metric(&closed).await >= 2.0, "{door}");
    }
}

#[tokio::test]
async fn what_is_no_grpc_is_told_what_the_grpc_port_is() {
    let gateway = Gateway::start().await;
    let url = format!("http://{}/webhooks/verbex", gateway.grpc);
    let webhook_port = format!(
        "port {}, path /webhooks/verbex",
        gateway.webhook_addr().port()
    );
    for http in BOTH {
        let client = client(Path::new(""), http);
        let posted = client
            .post(&url)
            .header("content-type", "application/json")
            .body(call_started(1));
        for (request, status) in [(posted, 415), (client.get(&url), 405)] {
            let answer = Answer::of(request.send().await.unwrap()).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.code(), "NOT_GRPC");
            for said in ["gRPC", &webhook_port] {
                assert!(answer.text.contains(said), "{}", answer.text);
            }
        }
    }
}

#[tokio::test]
async fn at_overload_each_post_is_answered() {
    const CONNECTIONS: usize = 400;
    let gateway = Setup::new()
        .set("WEBHOOK_REQUESTS_IN_FLIGHT_MAX", "4")
        .start()
        .await;
    let client = gateway.http(Http::One);
    let mut posting = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let (client, url) = (client.clone(), gateway.webhook_url.clone());
        posting.spawn(async move {
            let mut statuses = Vec::new();
            for post in 0..20 {
                let body = call_started(connection * 100 + post);
                let request = client.post(&url).body(body);
                let answer = request.send().await.expect("an answer");
                statuses.push(answer.status().as_u16());
            }
            statuses
        });
    }
    let statuses = posting.join_all().await.concat();
    assert_eq!(statuses.len(), 8_000);
    assert!(statuses.iter().all(|status| [200, 429].contains(status)));
    assert!(statuses.contains(&200));
}

#[tokio::test]
async fn of_more_new_connections_than_a_door_has_places_each_is_answered() {
    let gateway = Setup::new()
        .set("WEBHOOK_PLAIN_HTTP", "true")
        .shell("ulimit -n 256")
        .start()
        .await;
    let addr = gateway.webhook_addr();
    let mut posting = tokio::task::JoinSet::new();
    for number in 0..500 {
        posting.spawn(async move {
            let body = call_started(number);
            let head = format!(
                "POST /webhooks/verbex HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n",
                body.len()
            );
            let mut stream = TcpStream::connect(addr).await.expect("a connection");
            stream
                .write_all(&[head.as_bytes(), body.as_bytes()].concat())
                .await
                .expect("room");
            read_all(&mut stream).await
        });
    }
    for answer in posting.join_all().await {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
}
