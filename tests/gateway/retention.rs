//! Retention removes events from a log that runs. Who has not got them hears of it, once.

use tonic::Code;
use verbex_gateway::proto::{
    ExpiredCursorAction, SubscribeRequest, SubscriptionState, subscribe_response::Response,
};

use crate::support::{
    bodies::large,
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
