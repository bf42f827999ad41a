//! Whoever searches the whole log holds up nobody else.

use rusqlite::Connection;
use tokio::task::JoinSet;
use verbex_gateway::proto::{
    EventFilter, GetEventRequest, ListEventsRequest, ListSubscribersRequest, SubscribeRequest,
    Subscriber, SubscriptionState,
};

use crate::support::{
    bodies::call_started,
    grpc::{after, filtered, from_earliest},
    process::{Gateway, Setup},
};

const EVENTS: u64 = 150_000;
const SEARCHES: usize = 100;
const LISTS: usize = 16;
const ROUNDS: usize = 10;

/// Makes many of the one event that is there.
fn fill(setup: &Setup) {
    let log = Connection::open(setup.log_file()).unwrap();
    log.execute_batch(&format!(
        "INSERT INTO events
             SELECT value, randomblob(16), type, event_name, trace_id, organization_id, agent_id,
                    call_id, status, event_time, receive_time, raw_json, raw_headers, encoded, 0
             FROM events, (WITH RECURSIVE numbers(value) AS (
                 SELECT 2 UNION ALL SELECT value + 1 FROM numbers WHERE value < {EVENTS}
             ) SELECT * FROM numbers);
         UPDATE log SET last_sequence = {EVENTS},
                        last_id = (SELECT id FROM events WHERE sequence = {EVENTS})"
    ))
    .unwrap();
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
