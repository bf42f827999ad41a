//! A subscriber that does not read loses nothing, holds nobody up, and costs a bounded amount of
//! memory.

use verbex_gateway::proto::{
    ListSubscribersRequest, SubscribeRequest, Subscriber, SubscriptionState,
    subscribe_response::Response,
};

use crate::support::{
    PATIENCE,
    bodies::{call_started, large},
    eventually_asking,
    history::covered,
    process::{Gateway, Setup},
    webhook::Http,
};

/// Events that bring the gateway's caches and buffers to their size.
const WARMING: usize = 60;
/// Events that a slow subscriber leaves to the log: 80 MB.
const EVENTS: usize = 100;
const EVENT_BYTES: usize = 800_000;
/// What the gateway may need more for a slow subscriber.
const MEMORY_BYTES_MAX: u64 = 24 * 1024 * 1024;

fn named(name: &str) -> SubscribeRequest {
    SubscribeRequest {
        subscriber_name: name.into(),
        ..SubscribeRequest::default()
    }
}

async fn look(gateway: &Gateway, name: &str) -> Subscriber {
    let mut admin = gateway.admin().await;
    let listed = admin.list_subscribers(ListSubscribersRequest::default());
    let listed = listed.await.unwrap().into_inner().subscribers;
    let found = listed
        .into_iter()
        .find(|subscriber| subscriber.name == name);
    found.expect("a subscriber of that name")
}

/// The lag of a name as operators see it: in events, and in seconds.
async fn lag(gateway: &Gateway, name: &str) -> (f64, f64) {
    let metrics = gateway.operations("/metrics").await.text;
    let value = |unit: &str| {
        let sample = format!("verbex_gateway_subscriber_lag_{unit}{{name=\"{name}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&sample));
        line.expect("a sample").parse().unwrap()
    };
    (value("events"), value("seconds"))
}

#[tokio::test]
async fn who_does_not_read_gets_everything_later_and_holds_nobody_up() {
    let setup = Setup::new().set("GRPC_SUBSCRIBER_QUEUE_BYTES_MAX", "65536");
    let gateway = setup.start().await;
    let client = gateway.http(Http::One);
    let (mut fast, _) = gateway.subscribe(named("fast")).await;
    let mut pass = async |number: usize| {
        let stored = gateway
            .send(&client, large(number, EVENT_BYTES))
            .await
            .stored();
        // The fast one has each event while the slow one has not read any.
        assert_eq!(fast.event().await.1.id, stored.id);
    };
    for number in 0..WARMING {
        pass(number).await;
    }
    let before = gateway.resident_bytes();
    let (mut slow, first) = gateway.subscribe(named("slow")).await;
    assert_eq!(first.state(), SubscriptionState::Live);
    for number in WARMING..WARMING + EVENTS {
        pass(number).await;
    }
    let held = gateway.resident_bytes().saturating_sub(before);
    assert!(
        held < MEMORY_BYTES_MAX,
        "{held} bytes for a slow subscriber"
    );
    let subscriber = look(&gateway, "slow").await;
    assert!(
        subscriber.events_behind > EVENTS as u64 / 2,
        "{subscriber:?}"
    );

    let behind = lag(&gateway, "slow").await;
    assert!(
        behind.0 > EVENTS as f64 / 2.0 && behind.1 > 0.0,
        "{behind:?}"
    );
    assert_eq!(lag(&gateway, "fast").await, (0.0, 0.0));

    let mut states = Vec::new();
    let mut sequences = Vec::new();
    while states.last() != Some(&SubscriptionState::Live) {
        match slow.next().await.unwrap().response {
            Some(Response::Event(event)) => sequences.push(event.sequence),
            Some(Response::Progress(progress)) => states.push(progress.state()),
            other => panic!("{other:?}"),
        }
    }
    // The state is told once when it falls behind, and once when it is back.
    let once = [SubscriptionState::CatchingUp, SubscriptionState::Live];
    assert_eq!(states, once);
    let first = covered(&first.cursor) + 1;
    assert_eq!(
        sequences,
        (first..first + EVENTS as u64).collect::<Vec<_>>()
    );
    let stored = gateway.post(call_started(1)).await;
    assert_eq!(slow.event().await.1.id, stored.id);
    let caught_up = eventually_asking(PATIENCE, "it has caught up", async || {
        let subscriber = look(&gateway, "slow").await;
        let all = subscriber.events_delivered == EVENTS as u64 + 1;
        (subscriber.events_behind == 0 && all).then_some(subscriber)
    });
    assert_eq!(caught_up.await.state(), SubscriptionState::Live);
    assert_eq!(lag(&gateway, "slow").await, (0.0, 0.0));
}
