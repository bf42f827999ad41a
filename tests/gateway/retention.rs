//! Retention removes events from a log that runs. Who has not got them hears of it, once.

use std::time::Duration;

use tonic::Code;
use verbex_gateway::proto::{
    EventFilter, ExpiredCursorAction, GetStatusRequest, GetStatusResponse, SubscribeRequest,
    SubscriptionState, subscribe_response::Response,
};

use crate::support::{
    PATIENCE,
    bodies::{call_started, large},
    eventually_asking,
    grpc::{Refusal, Stream, after, filtered},
    history::covered,
    process::{Gateway, Setup},
    soon,
    webhook::Http,
};

const EVENTS: u64 = 20;
/// So large that few of them are on the way to a subscriber that does not read.
const EVENT_BYTES: usize = 800_000;
const REMOVED: u64 = 18;

/// As retention does it: through another connection, while the gateway runs.
fn remove(gateway: &Gateway) {
    let log = rusqlite::Connection::open(gateway.setup.log_file()).unwrap();
    let sql = format!(
        "BEGIN IMMEDIATE;
         UPDATE log SET trimmed_sequence = {REMOVED};
         DELETE FROM events WHERE sequence <= {REMOVED};
         COMMIT"
    );
    log.execute_batch(&sql).unwrap();
}

async fn status(gateway: &Gateway) -> GetStatusResponse {
    let mut admin = gateway.admin().await;
    let status = admin.get_status(GetStatusRequest {}).await;
    status.expect("a status").into_inner()
}

async fn live(gateway: &Gateway, action: ExpiredCursorAction) -> Stream {
    let request = SubscribeRequest {
        expired_cursor_action: action.into(),
        ..SubscribeRequest::default()
    };
    let (stream, first) = gateway.subscribe(request).await;
    assert_eq!(first.state(), SubscriptionState::Live);
    stream
}

#[tokio::test]
async fn a_slow_subscriber_that_is_overtaken_ends_or_gets_one_gap() {
    let setup = Setup::new().set("GRPC_SUBSCRIBER_QUEUE_BYTES_MAX", "65536");
    let gateway = setup.start().await;
    let mut ends = live(&gateway, ExpiredCursorAction::Fail).await;
    let mut goes_on = live(&gateway, ExpiredCursorAction::Earliest).await;
    let client = gateway.http(Http::One);
    for number in 1..=EVENTS {
        gateway
            .send(&client, large(number as usize, EVENT_BYTES))
            .await
            .stored();
    }
    remove(&gateway);

    let (events, status) = ends.end().await;
    let refusal = Refusal::of(&status);
    assert_eq!(refusal.row(), (Code::OutOfRange, "CURSOR_EXPIRED"));
    assert_eq!(covered(&refusal.metadata["earliest_cursor"]), REMOVED);
    let got: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    let first: Vec<u64> = (1..=REMOVED).take(got.len()).collect();
    assert_eq!(
        got, first,
        "what was on its way, and nothing behind the gap"
    );

    let (mut got, mut gaps) = (Vec::new(), Vec::new());
    while got.last() != Some(&EVENTS) {
        let message = goes_on.next().await.unwrap();
        match message.response.unwrap() {
            Response::Event(event) => got.push(event.sequence),
            Response::Gap(_) => gaps.push((got.len(), covered(&message.cursor))),
            Response::Progress(_) => {}
        }
    }
    let before = got.len() - (EVENTS - REMOVED) as usize;
    let rest = (1..=before as u64).chain(REMOVED + 1..=EVENTS);
    assert_eq!(got, rest.collect::<Vec<u64>>());
    assert_eq!(gaps, [(before, REMOVED)]);
}

#[tokio::test]
async fn events_go_when_they_are_too_old_and_come_again_as_new_ones() {
    let gateway = Setup::new().arg("--retention-age").arg("2s").start().await;
    assert!(gateway.output().0.contains(", events kept for 2s\n"));
    let first = gateway.post(call_started(1)).await;
    gateway.post(call_started(2)).await;
    let gone = eventually_asking(PATIENCE, "both are gone", async || {
        let status = status(&gateway).await;
        (status.event_count == 0).then_some(status)
    });
    let gone = gone.await;
    assert_eq!((gone.earliest_sequence, gone.latest_sequence), (0, 2));
    assert_eq!(gone.event_bytes, 0);
    let removed = "verbex_gateway_log_removed_events_total 2\n";
    assert!(gateway.operations("/metrics").await.text.contains(removed));

    let again = gateway.post(call_started(1)).await;
    assert_eq!((&again.id, again.duplicate), (&first.id, false));
    assert_eq!(again.sequence, 3);
}

#[tokio::test]
async fn a_silent_stream_is_told_a_place_beyond_events_before_they_go() {
    let gateway = Setup::new().arg("--retention-age").arg("3s").start().await;
    let nothing = EventFilter {
        agent_ids: vec!["nobody".into()],
        ..EventFilter::default()
    };
    let (mut stream, first) = gateway.subscribe(filtered(nothing)).await;
    assert_eq!(covered(&first.cursor), 0);
    let last = gateway.post_all((1..=3).map(call_started)).await;
    // By itself a progress comes after 30 s only.
    let mut told = first;
    while covered(&told.cursor) < last[2].sequence {
        told = soon("a progress", stream.place()).await;
        assert_eq!(told.state(), SubscriptionState::Live);
    }
    let gone = eventually_asking(PATIENCE, "they are gone", async || {
        (status(&gateway).await.event_count == 0).then_some(())
    });
    gone.await;
    gateway.subscribe(after(&told.cursor)).await;
}

#[tokio::test]
async fn the_files_stay_within_their_bytes_and_the_newest_events_are_there() {
    const BYTES_MAX: u64 = 64 * 1024 * 1024;
    let setup = Setup::new().set("LOG_RETENTION_BYTES", &BYTES_MAX.to_string());
    let gateway = setup.start().await;
    let client = gateway.http(Http::One);
    let files = || -> u64 {
        let size = |end| {
            let path = format!("{}{end}", gateway.setup.log_file().display());
            std::fs::metadata(path).map_or(0, |file| file.len())
        };
        size("") + size("-wal")
    };
    for number in 1..=100 {
        gateway
            .send(&client, large(number, EVENT_BYTES))
            .await
            .stored();
    }
    // It looks ten times a second, so after a second without a removal it has removed enough.
    let settled = eventually_asking(PATIENCE, "the files are small", async || {
        let before = status(&gateway).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = status(&gateway).await;
        let is_settled = before.earliest_sequence == now.earliest_sequence;
        (is_settled && files() <= BYTES_MAX).then_some(now)
    });
    let status = settled.await;
    assert!(status.event_count >= 10, "{status:?}");
    let expected = status.earliest_sequence..=100;
    let events = gateway.all(SubscribeRequest::default(), expected.clone().count());
    let events = events.await;
    let got: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(got, expected.collect::<Vec<u64>>());
}

#[tokio::test]
async fn with_too_little_free_space_nothing_is_taken_and_old_events_go() {
    let gateway = Gateway::start().await;
    gateway.post_all((1..=3).map(call_started)).await;
    let setup = gateway.stop().await;
    let all_of_it = (1u64 << 60).to_string();
    let short = setup.clone().set("LOG_DISK_FREE_BYTES_MIN", &all_of_it);
    let gateway = short.clone().start().await;
    let answer = gateway
        .send(&gateway.http(Http::One), call_started(4))
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "LOG_UNAVAILABLE")
    );
    assert!(answer.header("retry-after").is_some());
    assert_eq!(gateway.operations("/readyz").await.status, 503);
    let metrics = gateway.operations("/metrics").await.text;
    assert!(
        metrics.contains("verbex_gateway_log_disk_low 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("verbex_gateway_log_available 0\n"));
    assert_eq!(gateway.all(SubscribeRequest::default(), 3).await.len(), 3);
    assert!(gateway.output().1.contains("log.disk_free_bytes_min"));
    gateway.stop().await;

    let gateway = short.arg("--retention-age").arg("1s").start().await;
    let gone = eventually_asking(PATIENCE, "they are gone", async || {
        (status(&gateway).await.event_count == 0).then_some(())
    });
    gone.await;
    gateway.stop().await;
    setup.start().await.post(call_started(4)).await;
}
