//! Many large bodies at once take a bounded amount of memory, and do not delay small ones.

use std::{net::SocketAddr, sync::Arc};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{bodies::call_started, process::Setup, soon, webhook::Http};

/// Together they are several times as large as the room for them.
const BODIES: usize = 700;
const BODY_BYTES: usize = 1_000_000;
/// The room (128 MiB), what each request may hold without room, and buffers of connections.
const MEMORY_BYTES_MAX: u64 = 400 * 1024 * 1024;

/// Sends a body without its last byte, and returns the answer.
async fn hold(addr: SocketAddr, body: Arc<[u8]>) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "POST /webhooks/verbex HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
        body.len() + 1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut answers, mut sender) = stream.split();
    let mut answer = vec![0; 1024];
    let read = async {
        let length = answers.read(&mut answer).await.unwrap_or_default();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    let send = async {
        // An error means that the connection was closed after the answer.
        let _ = sender.write_all(&body).await;
        std::future::pending().await
    };
    tokio::select! {
        answer = read => answer,
        never = send => never,
    }
}

#[tokio::test]
async fn large_bodies_wait_for_room_and_small_ones_are_answered_meanwhile() {
    let gateway = Setup::new()
        .set("WEBHOOK_PLAIN_HTTP", "true")
        .set("WEBHOOK_BODY_TIMEOUT_SECONDS", "4")
        .start()
        .await;
    let client = gateway.http(Http::One);
    gateway.store(&client, call_started(0)).await;

    let before = gateway.resident_bytes();
    let body: Arc<[u8]> = vec![b' '; BODY_BYTES - 1].into();
    let holding = (0..BODIES).map(|_| hold(gateway.webhook_addr(), body.clone()));
    let watching = async {
        let mut most = 0;
        for number in 1.. {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            gateway.store(&client, call_started(number)).await;
            most = most.max(gateway.resident_bytes().saturating_sub(before));
            assert!(most < MEMORY_BYTES_MAX, "{most} bytes for large bodies");
        }
    };
    let answers = tokio::select! {
        answers = soon("all answers", join_all(holding)) => answers,
        () = watching => unreachable!("it watches until all have an answer"),
    };
    // Who holds room when the time is over gets 408, who still waits for it 429. Room that comes at
    // the last moment makes a 408 of a 429, so their numbers are not certain.
    for answer in &answers {
        let refused = match answer.starts_with("HTTP/1.1 429 ") {
            true => answer.contains("RATE_LIMITED") && answer.contains("retry-after: 1"),
            false => answer.starts_with("HTTP/1.1 408 "),
        };
        assert!(refused, "{answer}");
    }

    let whole = crate::support::bodies::large(1, BODY_BYTES);
    gateway.store(&client, whole).await;
}
