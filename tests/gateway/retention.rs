//! Retention removes events from a log that runs. Who has not got them hears of it, once.

use tonic::Code;
use verbex_gateway::proto::{
    ExpiredCursorAction, GetStatusRequest, GetStatusResponse, SubscribeRequest, SubscriptionState,
    subscribe_response::Response,
};

use crate::support::{
    PATIENCE,
    bodies::{call_started, large},
    eventually_asking,
    grpc::{Refusal, Stream},
    history::covered,
    process::{Gateway, Setup},
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
