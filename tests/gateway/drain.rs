//! On a graceful stop nobody is cut off in the middle, and everybody is told to come back.

use std::time::{Duration, Instant};

use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use verbex_gateway::proto::{SubscribeRequest, event_service_client::EventServiceClient};

use crate::support::{
    PATIENCE,
    bodies::{call_started, large},
    eventually, eventually_asking,
    grpc::{Refusal, Stream, after},
    history::{History, Load, Recorder, last_stored},
    process::{Gateway, Setup},
    promises::judge,
    soon,
};

/// A subscriber that does not read, so that the gateway has something to wait for.
async fn holding(gateway: &Gateway) -> Stream {
    let (stream, _) = gateway.subscribe(SubscribeRequest::default()).await;
    gateway
        .post_all((0..12).map(|number| large(number, 900_000)))
        .await;
    stream
}

#[tokio::test]
async fn streams_get_what_was_stored_and_then_a_reason_to_come_back() {
    let gateway = Gateway::start().await;
    let (mut stream, _) = gateway.subscribe(SubscribeRequest::default()).await;
    let stored = gateway.post_all((0..50).map(call_started)).await;
    gateway.terminate();
    let (events, status) = stream.end().await;
    let ids: Vec<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(
        ids,
        stored.iter().map(|stored| &stored.id).collect::<Vec<_>>()
    );
    let refusal = Refusal::of(&status);
    assert_eq!(refusal.row(), (Code::Unavailable, "DRAINING"));
    assert!(refusal.retry_after.is_some());
    let finished = gateway.finished().await;
    assert_eq!(finished.code, Some(0), "{finished}");
}

#[tokio::test]
async fn while_it_drains_subscribers_are_sent_away_and_webhooks_are_taken() {
    let gateway = Setup::new().set("DRAIN_SECONDS", "20").start().await;
    let mut stream = holding(&gateway).await;
    let channel = gateway.channel().await;
    let mut health = HealthClient::new(channel.clone());
    let mut watched = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    let serving = watched.message().await.unwrap().unwrap();
    assert_eq!(serving.status(), ServingStatus::Serving);
    let mut half = gateway.socket().await;
    half.write("POST /webhooks/verbex HTTP/1.1\r\nhost: x\r\ncontent-length: 21\r\n\r\n{")
        .await;
    // Taken in before the end begins: another request on another connection has its answer.
    gateway.post(call_started(1)).await;

    gateway.terminate();
    let told = soon("health", watched.message()).await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::NotServing);
    assert_eq!(gateway.operations("/readyz").await.status, 503);
    assert_eq!(gateway.operations("/livez").await.status, 200);
    // Who posts is served to the very end, and told to connect anew.
    let mut again = gateway.socket().await;
    again
        .write("POST /webhooks/verbex HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        .await;
    let stored = again.answer().await;
    assert_eq!(stored.status, 200, "{stored:?}");
    assert_eq!(stored.header("connection"), Some("close"));
    for http in crate::support::webhook::BOTH {
        let client = gateway.http(http);
        for number in 2..5 {
            let answer = gateway.send(&client, call_started(number)).await;
            assert_eq!(answer.status, 200, "{http:?}: {answer:?}");
        }
    }

    let mut events = EventServiceClient::new(channel);
    let refused = events
        .subscribe(SubscribeRequest::default())
        .await
        .unwrap_err();
    assert_eq!(Refusal::of(&refused).row(), (Code::Unavailable, "DRAINING"));

    // Who was inside gets an answer, and the event is durable if it says so.
    half.write("\"eventName\":\"Last\"}\n").await;
    let last = half.answer().await;
    assert_eq!(last.status, 200, "{last:?}");

    let (events, status) = stream.end().await;
    assert_eq!(Refusal::of(&status).reason, "DRAINING");
    assert!(!events.is_empty());
    let finished = gateway.finished().await;
    assert_eq!(finished.code, Some(0), "{finished}");
}

#[tokio::test]
async fn who_watches_its_health_does_not_hold_it_up() {
    let gateway = Gateway::start().await;
    let mut health = HealthClient::new(gateway.channel().await);
    let watched = health.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watched = watched.into_inner();
    watched.message().await.unwrap().unwrap();
    gateway.terminate();
    let finished = gateway.finished().await;
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!(finished.stderr.contains("drained"), "{finished}");
}

#[tokio::test]
async fn a_webhook_that_never_comes_in_whole_costs_no_stream_its_end() {
    let gateway = Setup::new().set("DRAIN_SECONDS", "4").start().await;
    let (mut stream, _) = gateway.subscribe(SubscribeRequest::default()).await;
    let mut half = gateway.socket().await;
    half.write("POST /webhooks/verbex HTTP/1.1\r\nhost: x\r\ncontent-length: 21\r\n\r\n{")
        .await;
    let stored = gateway.post(call_started(1)).await;
    gateway.terminate();
    let (events, status) = stream.end().await;
    assert_eq!(events[0].id, stored.id);
    assert_eq!(Refusal::of(&status).row(), (Code::Unavailable, "DRAINING"));
    let finished = gateway.finished().await;
    assert_eq!(finished.code, Some(0), "{finished}");
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_cut_at_the_deadline_and_resumes() {
    let gateway = Setup::new().set("DRAIN_SECONDS", "1").start().await;
    let (_, first) = gateway.subscribe(SubscribeRequest::default()).await;
    let _unread = holding(&gateway).await;
    let began = Instant::now();
    let setup = gateway.stop().await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    let gateway = setup.start().await;
    let (mut stream, _) = gateway.subscribe(after(&first.cursor)).await;
    assert_eq!(stream.take(12).await.len(), 12);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let gateway = Setup::new().set("DRAIN_SECONDS", "600").start().await;
    let _unread = holding(&gateway).await;
    gateway.terminate();
    let draining = eventually_asking(PATIENCE, "it drains", async || {
        let ready = gateway.operations("/readyz").await;
        (ready.status == 503).then_some(())
    });
    draining.await;
    gateway.terminate();
    let finished = gateway.finished().await;
    assert_ne!(finished.code, Some(0), "{finished}");
}

#[tokio::test]
async fn restarts_under_load_break_no_promise() {
    let mut gateway = Gateway::start().await;
    let recorder = Recorder::start(gateway.grpc, SubscribeRequest::default());
    recorder.subscribed().await;
    let load = Load::start(&gateway, (0..1200).map(call_started));
    for stored in [200, 400] {
        load.stored(stored).await;
        gateway = gateway.stop().await.start().await;
    }
    let posts = load.finished().await;
    let last = last_stored(&posts);
    judge(&History {
        posts,
        subscribers: vec![recorder.until(last).await],
    });
}

#[tokio::test]
async fn a_terminal_that_closes_lets_it_drain_unless_it_is_to_outlive_it() {
    // Under `nohup` these tests themselves ignore it, and so would the gateway, which a shell alone
    // cannot change.
    let as_in_a_terminal =
        r#"env --default-signal=HUP true 2>&- && exec env --default-signal=HUP "$0" "$@""#;
    for (shell, drains) in [(as_in_a_terminal, true), ("trap '' HUP", false)] {
        let setup = Setup::new().set("DRAIN_SECONDS", "20").shell(shell);
        let gateway = setup.start().await;
        let mut stream = holding(&gateway).await;
        gateway.signal("HUP");
        if drains {
            eventually("it drains", || {
                gateway.output().1.contains("draining").then_some(())
            })
            .await;
        } else {
            // Were it the first one, this would be the second, which ends it at once.
            gateway.terminate();
        }
        let (_, status) = stream.end().await;
        let refusal = Refusal::of(&status);
        assert_eq!(refusal.row(), (Code::Unavailable, "DRAINING"));
        let finished = gateway.finished().await;
        assert_eq!(finished.code, Some(0), "{finished}");
    }
}
