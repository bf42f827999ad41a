use std::{convert::Infallible, net::Ipv4Addr, path::Path, time::SystemTime};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tower::service_fn;

use super::*;
use crate::tls;

mod gone;
mod leaving;

/// Far more time than anything here takes. A test fails if it is exceeded.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    stop: Stop,
    served: tokio::task::JoinHandle<()>,
    /// A sender for each `/wait` request that came in. The request is answered when it is used.
    requests: mpsc::Receiver<tokio::sync::oneshot::Sender<()>>,
}

/// Serves a door that answers with the peer's address, without reading bodies: `/wait` when the
/// test says so, everything else at once.
async fn run(config: Config) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Stop::default();
    let (inside, requests) = mpsc::channel(16);
    let service = service_fn(move |request: Request<Incoming>| {
        let inside = inside.clone();
        async move {
            if request.uri().path() == "/wait" {
                let (go_on, wait) = tokio::sync::oneshot::channel();
                inside.send(go_on).await.unwrap();
                let _ = wait.await;
            }
            let peer = request.extensions().get::<Peer>().unwrap().0;
            let body = Full::new(Bytes::from(peer.to_string()));
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    let served = tokio::spawn(serve(
        listener,
        None,
        config,
        service,
        metrics(),
        stop.clone(),
    ));
    Running {
        address,
        stop,
        served,
        requests,
    }
}

fn metrics() -> DoorMetrics {
    Metrics::default().door("test")
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stopped(self) {
        self.stop.close();
        timeout(PATIENCE, self.served).await.unwrap().unwrap();
    }
}

/// Reads until the server closes.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    timeout(PATIENCE, read).await.unwrap().unwrap();
    text
}

async fn answer_to(running: &Running, request: &[u8]) -> String {
    let mut stream = running.connect().await;
    stream.write_all(request).await.unwrap();
    read_all(&mut stream).await
}

#[tokio::test]
async fn a_request_knows_its_peer_over_http1_and_over_http2_with_prior_knowledge() {
    let running = run(Config::default()).await;
    let url = format!("http://{}/", running.address);
    let stream = running.connect().await;
    let expected = stream.local_addr().unwrap().to_string();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let client_task = tokio::spawn(connection);
    let request = Request::get(&url).body(Full::<Bytes>::default()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, expected);
    drop(client);
    client_task.await.unwrap().unwrap();

    let mut stream = running.connect().await;
    let expected = stream.local_addr().unwrap().to_string();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    assert!(read_all(&mut stream).await.ends_with(&expected));
    running.stopped().await;
}

#[tokio::test]
async fn what_the_library_refuses_by_itself_has_a_body_that_the_client_sees() {
    let config = Config {
        error_body: Some(ErrorBody::new(|status, _| {
            format!("<{}>", status.as_u16()).into()
        })),
        ..Config::default()
    };
    let running = run(config).await;
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    let long_header = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(300_000));
    let long_path = format!("GET /{} HTTP/1.1\r\n\r\n", "b".repeat(300_000));
    for (request, status) in [
        ("garbage\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        ("GET / HTTP/7.0\r\n\r\n", 400),
        (&many_headers, 431),
        (&long_header, 431),
        (&long_path, 431),
        ("POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", 400),
    ] {
        let shown = &request[..request.len().min(40)];
        let answer = answer_to(&running, request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect(shown);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{shown}: {head}"
        );
        assert!(
            head.contains("content-type: application/json"),
            "{shown}: {head}"
        );
        assert_eq!(body, format!("<{status}>"), "{shown}");
    }
    running.stopped().await;
}

#[tokio::test]
async fn an_answer_is_seen_by_a_client_that_is_still_sending() {
    let running = run(Config::default()).await;
    let mut stream = running.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // More than the socket buffers of both sides hold.
    stream.write_all(&vec![b'a'; 8_000_000]).await.unwrap();
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
    running.stopped().await;
}

#[tokio::test]
async fn a_client_that_opens_no_request_in_time_is_dropped() {
    let config = Config {
        opening_timeout: Duration::from_millis(50),
        ..Config::default()
    };
    let running = run(config).await;
    for opening in ["", "P", "PRI * HTTP/2", "POST / HTTP/1.1\r\nhost: "] {
        assert_eq!(
            answer_to(&running, opening.as_bytes()).await,
            "",
            "{opening}"
        );
    }
    running.stopped().await;
}

#[tokio::test]
async fn a_client_that_closes_its_side_is_answered_where_that_is_wanted() {
    let config = Config {
        half_close: true,
        ..Config::default()
    };
    let mut running = run(config).await;
    let mut stream = running.connect().await;
    stream
        .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let go_on = running.requests.recv().await.unwrap();
    go_on.send(()).unwrap();
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 200"));
    running.stopped().await;
}

#[tokio::test]
async fn a_later_certificate_serves_later_connections() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let made = dirs.each_ref().map(|dir| {
        tls::self_made(dir.path(), Ipv4Addr::LOCALHOST.into(), SystemTime::now()).unwrap()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (certificate, served) = watch::channel(Arc::clone(&made[0].served.config));
    let service = axum::Router::new();
    tokio::spawn(serve(
        listener,
        Some(served),
        Config::default(),
        service,
        metrics(),
        Stop::default(),
    ));

    assert!(trusts(&made[0].ca_path, address).await);
    assert!(!trusts(&made[1].ca_path, address).await);
    certificate
        .send(Arc::clone(&made[1].served.config))
        .unwrap();
    assert!(!trusts(&made[0].ca_path, address).await);
    assert!(trusts(&made[1].ca_path, address).await);
}

/// Whether a client that trusts only this CA accepts the server's certificate.
async fn trusts(ca_path: &Path, address: SocketAddr) -> bool {
    let mut ca = RootCertStore::empty();
    ca.add(CertificateDer::from_pem_file(ca_path).unwrap())
        .unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(ca)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connecting = TlsConnector::from(Arc::new(client)).connect(name, stream);
    timeout(PATIENCE, connecting).await.unwrap().is_ok()
}

#[tokio::test]
async fn a_full_door_takes_a_new_connection_in_the_place_of_the_idlest() {
    let config = Config {
        connections_max: 2,
        ..Config::default()
    };
    let mut running = run(config).await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let go_on = running.requests.recv().await.unwrap();
    let mut silent = running.connect().await;
    let closing = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert!(
        answer_to(&running, closing)
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert_eq!(read_all(&mut silent).await, "");
    go_on.send(()).unwrap();
    busy.shutdown().await.unwrap();
    assert!(read_all(&mut busy).await.starts_with("HTTP/1.1 200"));
    running.stopped().await;
}

#[tokio::test]
async fn a_door_whose_connections_are_all_busy_closes_a_new_one_at_once() {
    let config = Config {
        connections_max: 1,
        half_close: true,
        ..Config::default()
    };
    let mut running = run(config).await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let go_on = running.requests.recv().await.unwrap();
    let mut refused = running.connect().await;
    assert_eq!(read_all(&mut refused).await, "");
    go_on.send(()).unwrap();
    busy.shutdown().await.unwrap();
    assert!(read_all(&mut busy).await.starts_with("HTTP/1.1 200"));
    running.stopped().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_over_http2_as_over_http1() {
    let config = Config {
        opening_timeout: Duration::from_millis(500),
        idle_timeout: Duration::from_millis(100),
        ..Config::default()
    };
    let running = run(config).await;
    let stream = running.connect().await;
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let client_task = tokio::spawn(connection);
    let request = Request::get(format!("http://{}/", running.address));
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    drop(answer);
    // The client gets a GOAWAY without an error, so its side ends well although it was not done.
    timeout(PATIENCE, client_task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();

    let mut stream = running.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 200"));
    running.stopped().await;
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_the_connection() {
    let config = Config {
        answer_timeout: Some(Duration::from_millis(50)),
        opening_timeout: Duration::from_millis(50),
        ..Config::default()
    };
    let mut running = run(config).await;
    let mut waiting = running.connect().await;
    waiting
        .write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let _go_on = running.requests.recv().await.unwrap();
    assert_eq!(read_all(&mut waiting).await, "");
    running.stopped().await;
}

#[tokio::test]
async fn a_stop_waits_for_the_answers_that_are_due_and_for_nothing_else() {
    let mut running = run(Config::default()).await;
    let silent = running.connect().await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let go_on = running.requests.recv().await.unwrap();
    running.stop.close();
    go_on.send(()).unwrap();
    assert!(read_all(&mut busy).await.starts_with("HTTP/1.1 200"));
    drop(busy);
    timeout(PATIENCE, running.served).await.unwrap().unwrap();
    drop(silent);
}

#[tokio::test]
async fn dropping_the_server_ends_the_connections_that_are_left() {
    let mut running = run(Config::default()).await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let _go_on = running.requests.recv().await.unwrap();
    running.served.abort();
    assert_eq!(read_all(&mut busy).await, "");
}
