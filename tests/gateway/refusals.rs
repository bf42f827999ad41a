//! A webhook that is not answered with 200 leaves a trace that says why and whose it was, and
//! nothing of what was in it.

use std::{io, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::Body;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{
    PATIENCE,
    bodies::call_started,
    eventually, eventually_asking,
    process::{Gateway, Setup},
    webhook::{BOTH, Http, client},
};

/// Lines of the gateway's own log that have all of these words.
fn lines(gateway: &Gateway, words: &[&str]) -> Vec<String> {
    let (_, stderr) = gateway.output();
    let lines = stderr
        .lines()
        .filter(|line| words.iter().all(|word| line.contains(word)));
    lines.map(str::to_owned).collect()
}

async fn count(gateway: &Gateway, sample: &str) -> u64 {
    let metrics = gateway.operations("/metrics").await.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample));
    let value = line.and_then(|line| line.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {sample} in\n{metrics}"))
}

async fn counted(gateway: &Gateway, code: &str, expected: u64) {
    let sample = format!("verbex_gateway_webhooks_total{{code=\"{code}\"}} ");
    eventually_asking(PATIENCE, "it is counted", async || {
        (count(gateway, &sample).await == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_said_with_its_code_and_client_and_many_of_them_in_few_lines() {
    let gateway = Gateway::start().await;
    let client = gateway.http(Http::Two);
    for _ in 0..40 {
        assert_eq!(gateway.send(&client, "[").await.status, 400);
    }
    let refused = ["a webhook was refused", "BODY_INVALID", "127.0.0.1"];
    eventually("the first is said", || {
        (!lines(&gateway, &refused).is_empty()).then_some(())
    })
    .await;
    // The window of the first ones may end in between.
    let left_out = || -> u64 {
        let more = lines(
            &gateway,
            &[
                "more webhooks of this client ended with the same code",
                "BODY_INVALID",
            ],
        );
        let counts = more.iter().filter_map(|line| {
            let count = line.split("more=").nth(1)?;
            count.split_whitespace().next()?.parse::<u64>().ok()
        });
        counts.sum()
    };
    eventually("the others are counted", || {
        (left_out() + lines(&gateway, &refused).len() as u64 == 40).then_some(())
    })
    .await;
    assert!(lines(&gateway, &refused).len() <= 3);
    counted(&gateway, "BODY_INVALID", 40).await;
}

#[tokio::test]
async fn nothing_that_was_sent_is_in_the_log_however_much_is_logged() {
    let setup = Setup::new()
        .set("WEBHOOK_SECRET", "s3cretpath")
        .set("WEBHOOK_BEARER_TOKEN", "t0kenvalue")
        .set("LOGGING_LEVEL", "trace");
    let gateway = setup.start().await;
    let door = format!("https://{}/webhooks/verbex", gateway.webhook_addr());
    let secret = format!("{door}/s3cretpath");
    let body = call_started(1).replace("call-0", "+8801712345678");
    for http in BOTH {
        let client = gateway.http(http);
        for (url, token, body, status) in [
            (&secret, "t0kenvalue", &*body, 200),
            (&secret, "wr0ngvalue", &body, 401),
            (&secret, "t0kenvalue", "+8801712345678", 400),
            (&format!("{door}/wr0ngpath"), "t0kenvalue", &body, 404),
        ] {
            let request = client.post(url).bearer_auth(token).body(body.to_owned());
            let request = request.header("x-webhook-note", "n0tevalue");
            assert_eq!(request.send().await.unwrap().status(), status);
        }
    }
    // A path that no URL has: what the HTTP/2 library says of it.
    let mut socket = gateway.socket().await;
    socket
        .write("POST /webhooks/verbex/s3cretpath\u{7f} HTTP/1.1\r\nhost: h\r\n\r\n")
        .await;
    socket.answer().await;
    eventually("a refusal is said", || {
        (!lines(&gateway, &["NOT_FOUND"]).is_empty()).then_some(())
    })
    .await;
    let (_, stderr) = gateway.output();
    for sent in [
        "s3cret",
        "t0ken",
        "wr0ng",
        "8801712345678",
        "n0te",
        "trace-1",
    ] {
        assert!(!stderr.contains(sent), "{sent} in\n{stderr}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_before_its_answer_is_counted_and_said() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.socket().await;
    socket
        .write("POST /webhooks/verbex HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n{")
        .await;
    drop(socket);
    counted(&gateway, "CLIENT_GONE", 1).await;

    // A body that does not end, and a client that does not wait for it: HTTP/2 resets the stream.
    let client = gateway.http(Http::Two);
    let (sender, body) = mpsc::channel::<Result<Frame<Bytes>, io::Error>>(1);
    sender.send(Ok(Frame::data("{".into()))).await.unwrap();
    let body = StreamBody::new(ReceiverStream::new(body));
    let request = client.post(&gateway.webhook_url).body(Body::wrap(body));
    let asked = tokio::time::timeout(Duration::from_millis(300), request.send());
    assert!(asked.await.is_err(), "no answer yet");
    counted(&gateway, "CLIENT_GONE", 2).await;
    drop(sender);
    eventually("it is said", || {
        let said = lines(&gateway, &["client left", "CLIENT_GONE", "127.0.0.1"]);
        (!said.is_empty()).then_some(())
    })
    .await;
    counted(&gateway, "BODY_INVALID", 0).await;
}

#[tokio::test]
async fn a_webhook_that_takes_longer_than_verbex_waits_is_counted_and_said() {
    let gateway = Gateway::start().await;
    gateway.post(call_started(1)).await;
    assert_eq!(
        count(&gateway, "verbex_gateway_webhooks_slow_total ").await,
        0
    );
    let mut socket = gateway.socket().await;
    let body = call_started(2);
    let head = format!(
        "POST /webhooks/verbex HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write(head).await;
    sleep(Duration::from_millis(1200)).await;
    socket.write(&body).await;
    assert_eq!(socket.answer().await.status, 200);
    eventually_asking(PATIENCE, "it is counted", async || {
        (count(&gateway, "verbex_gateway_webhooks_slow_total ").await == 1).then_some(())
    })
    .await;
    eventually("it is said where the time went", || {
        let said = lines(&gateway, &["took over 1 s", "127.0.0.1", "body_ms=1"]);
        (!said.is_empty()).then_some(())
    })
    .await;
}

/// A frame of HTTP/2; RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A head with a header of so many bytes; RFC 7541.
fn head(bytes: usize) -> Vec<u8> {
    // POST, http, / and a literal whose length is 127 and what comes in groups of seven bits.
    let mut head = vec![0x83, 0x86, 0x84, 0x00, 1, b'a', 0x7f];
    let mut rest = bytes - 127;
    while rest > 127 {
        head.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    head.push(u8::try_from(rest).unwrap());
    head.extend(vec![b'x'; bytes]);
    head
}

#[tokio::test]
async fn what_the_http_library_refuses_by_itself_is_counted_too() {
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    let gateway = Setup::new().arg("--webhook-plain-http").start().await;
    let connect = async || TcpStream::connect(gateway.webhook_addr()).await.unwrap();

    let mut one = connect().await;
    one.write_all(b"this is no request\r\n\r\n").await.unwrap();
    counted(&gateway, "REQUEST_INVALID", 1).await;
    let mut one = connect().await;
    let large = format!("POST / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(200_000));
    // It answers before it has read everything.
    let _ = one.write_all(large.as_bytes()).await;
    counted(&gateway, "HEADERS_TOO_LARGE", 1).await;

    let preface = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
    ]
    .concat();
    let mut two = connect().await;
    two.write_all(&preface).await.unwrap();
    // A method and nothing else.
    two.write_all(&frame(HEADERS, 5, 1, &[0x83])).await.unwrap();
    counted(&gateway, "REQUEST_INVALID", 2).await;
    let head = head(140_000);
    let pieces: Vec<_> = head.chunks(16_384).collect();
    for (piece, number) in pieces.iter().zip(1..) {
        let kind = if number == 1 { HEADERS } else { CONTINUATION };
        let end = if number == pieces.len() { 4 } else { 0 };
        two.write_all(&frame(kind, 1 + end, 3, piece))
            .await
            .unwrap();
    }
    counted(&gateway, "HEADERS_TOO_LARGE", 2).await;
    for code in ["REQUEST_INVALID", "HEADERS_TOO_LARGE"] {
        eventually("it is said", || {
            (!lines(&gateway, &["a webhook was refused", code, "127.0.0.1"]).is_empty())
                .then_some(())
        })
        .await;
    }
    // The door's own answers are counted once, those without a body for the client too.
    for http in BOTH {
        let client = client(std::path::Path::new(""), http);
        let head = client.head(&gateway.webhook_url).send().await.unwrap();
        assert_eq!(head.status(), 405);
    }
    counted(&gateway, "METHOD_NOT_ALLOWED", 2).await;
    counted(&gateway, "REQUEST_INVALID", 2).await;
    counted(&gateway, "HEADERS_TOO_LARGE", 2).await;
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_the_log_is_counted_and_its_event_is_stored() {
    let gateway = Gateway::start().await;
    let log = rusqlite::Connection::open(gateway.setup.log_file()).unwrap();
    // Somebody else writes: appends wait.
    log.execute_batch("BEGIN IMMEDIATE").unwrap();
    let body = call_started(1);
    let mut socket = gateway.socket().await;
    let length = body.len();
    let request = format!(
        "POST /webhooks/verbex HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    socket.write(request).await;
    // Both leave well before the 700 ms after which they would get a 503.
    let client = gateway.http(Http::Two);
    let request = client.post(&gateway.webhook_url).body(call_started(2));
    let asked = tokio::time::timeout(Duration::from_millis(100), request.send());
    assert!(asked.await.is_err(), "no answer yet");
    drop(socket);
    sleep(Duration::from_millis(100)).await;
    log.execute_batch("ROLLBACK").unwrap();
    counted(&gateway, "CLIENT_GONE", 2).await;
    counted(&gateway, "OK", 0).await;
    for number in [1, 2] {
        let again = gateway.post(call_started(number)).await;
        assert!(again.duplicate, "{again:?}");
    }
}
