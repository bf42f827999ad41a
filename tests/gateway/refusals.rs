//! A webhook that is not answered with 200 leaves a trace that says why and whose it was, and nothing of what was in it.

use std::{io, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::Body;
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{
    PATIENCE,
    bodies::call_started,
    eventually, eventually_asking,
    process::{Gateway, Setup},
    webhook::{BOTH, Http},
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
            &["more webhooks went the same way", "BODY_INVALID"],
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
        .set("LOG_LEVEL", "trace");
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
        let said = lines(&gateway, &["client has gone", "CLIENT_GONE", "127.0.0.1"]);
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
