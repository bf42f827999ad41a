//! Whoever searches the whole log holds up nobody else.

use std::hash::Hasher;

use crate::support::{
    bodies::call_started,
    grpc::{after, filtered, from_earliest},
    process::{Gateway, Setup},
};
use rusqlite::{Connection, params_from_iter, types::Value};
use tokio::task::JoinSet;
use twox_hash::XxHash3_64;
use verbex_gateway::proto::{
    EventFilter, GetEventRequest, ListEventsRequest, ListSubscribersRequest, SubscribeRequest,
    Subscriber, SubscriptionState,
};

const EVENTS: u64 = 150_000;
const SEARCHES: usize = 100;
const LISTS: usize = 16;
const ROUNDS: usize = 10;

/// Makes many of the one event that is there.
fn fill(setup: &Setup) {
    let mut log = Connection::open(setup.log_file()).unwrap();
    let columns = "type, event_name, trace_id, organization_id, agent_id, call_id, status,
        event_time, receive_time, raw_json, raw_headers, encoded";
    let mut first: Vec<Value> = log
        .query_row(
            &format!("SELECT sequence, id, {columns} FROM events"),
            [],
            |row| (0..14).map(|column| row.get(column)).collect(),
        )
        .unwrap();
    let transaction = log.transaction().unwrap();
    let mut insert = transaction
        .prepare(&format!(
            "INSERT INTO events (sequence, id, {columns}, checksum)
             VALUES (?{})",
            ", ?".repeat(14)
        ))
        .unwrap();
    for sequence in 2..=EVENTS {
        first[0] = Value::Integer(sequence.cast_signed());
        first[1] = Value::Blob(u128::from(sequence).to_le_bytes().to_vec());
        let sum = Value::Integer(checksum(&first));
        insert
            .execute(params_from_iter(first.iter().chain([&sum])))
            .unwrap();
    }
    drop(insert);
    transaction
        .execute_batch(&format!(
            "UPDATE log SET last_sequence = {EVENTS},
                            last_id = (SELECT id FROM events WHERE sequence = {EVENTS}),
                            event_count = {EVENTS}"
        ))
        .unwrap();
    transaction.commit().unwrap();
}

/// What the log writes beside these values.
fn checksum(values: &[Value]) -> i64 {
    let mut hasher = XxHash3_64::new();
    for value in values {
        let (kind, bytes): (u8, &[u8]) = match value {
            Value::Integer(number) => {
                hasher.write(&[1]);
                hasher.write(&number.to_le_bytes());
                continue;
            }
            Value::Text(text) => (3, text.as_bytes()),
            Value::Blob(blob) => (4, blob),
            other => panic!("{other:?}"),
        };
        hasher.write(&[kind]);
        hasher.write(&(bytes.len() as u64).to_le_bytes());
        hasher.write(bytes);
    }
    hasher.finish().cast_signed()
}

fn of_nobody(number: usize) -> EventFilter {
    EventFilter {
        statuses: vec![format!("none has it, {number}")],
        ..EventFilter::default()
    }
}

/// However fast the machine is: were each read to stand behind those that search, all of them would
/// be done long before the last round.
#[tokio::test]
async fn resumes_look_ups_short_lists_and_live_streams_pass_those_that_search_the_whole_log() {
    let gateway = Gateway::start().await;
    let first = gateway.post(call_started(1)).await;
    let setup = gateway.stop().await;
    fill(&setup);
    let gateway = setup.start().await;

    let (mut live, mut place) = gateway.subscribe(SubscribeRequest::default()).await;
    let mut searches = Vec::new();
    for number in 0..SEARCHES {
        let request = from_earliest(filtered(of_nobody(number)));
        let (stream, place) = gateway.subscribe(request).await;
        assert_eq!(place.state(), SubscriptionState::CatchingUp);
        searches.push(stream);
    }
    let mut lists = JoinSet::new();
    for number in 0..LISTS {
        let mut events = gateway.events().await;
        let request = ListEventsRequest {
            filter: Some(of_nobody(number)),
            ..ListEventsRequest::default()
        };
        lists.spawn(async move { events.list_events(request).await });
    }
    for round in 0..ROUNDS {
        let stored = gateway.post(call_started(2 + round)).await;
        assert_eq!(live.event().await.1.id, stored.id);
        let (mut resumed, _) = gateway.subscribe(after(&place.cursor)).await;
        let (cursor, event) = resumed.event().await;
        assert_eq!(event.id, stored.id);
        place.cursor = cursor;
        let id = first.id.clone();
        let got = gateway
            .events()
            .await
            .get_event(GetEventRequest { id })
            .await;
        got.unwrap();
        let newest = ListEventsRequest {
            page_size: 1,
            newest_first: true,
            ..ListEventsRequest::default()
        };
        assert_eq!(gateway.list(newest).await.unwrap().events[0].id, stored.id);
    }
    let all = ListSubscribersRequest {
        page_size: 1_000,
        ..ListSubscribersRequest::default()
    };
    let listed = gateway.admin().await.list_subscribers(all).await.unwrap();
    let subscribers = listed.into_inner().subscribers;
    let searching = |subscriber: &&Subscriber| subscriber.state() == SubscriptionState::CatchingUp;
    let left = subscribers.iter().filter(searching).count();
    assert!(left > SEARCHES / 2, "only {left} are still searching");
}
