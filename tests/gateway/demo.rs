//! The gateway with made-up calls.

use std::collections::HashSet;

use verbex_gateway::proto::{Event, EventType, ListEventsRequest};

use crate::support::{
    PATIENCE, eventually_asking,
    process::{Gateway, Setup},
    webhook::{Http, client},
};

/// The calls of these events that have a start and no end.
fn open(events: &[Event]) -> HashSet<&str> {
    let calls = |kind| {
        let of_kind = events.iter().filter(move |event| event.r#type() == kind);
        of_kind.map(|event| event.call_id.as_str())
    };
    let ended: HashSet<_> = calls(EventType::CallEnded).collect();
    calls(EventType::CallStarted)
        .filter(|call| !ended.contains(call))
        .collect()
}

async fn logged(gateway: &Gateway) -> Vec<Event> {
    let mut client = gateway.events().await;
    let page = client.list_events(ListEventsRequest {
        page_size: 1000,
        ..Default::default()
    });
    page.await.unwrap().into_inner().events
}

#[tokio::test]
async fn a_demo_that_is_killed_and_started_again_ends_the_calls_that_were_open() {
    let gateway = Setup::new().arg("--demo").start().await;
    let several = eventually_asking(PATIENCE, "calls that are open", async || {
        let events = logged(&gateway).await;
        let open: HashSet<String> = open(&events).into_iter().map(str::to_owned).collect();
        (open.len() >= 2).then_some(open)
    });
    let left_open = several.await;
    // One that is nobody's concern.
    let own = r#"{"eventName":"CallHandler.CallStarted","call_id":"own","agent_id":"2"}"#;
    let ca = gateway
        .setup
        .data()
        .join("verbex-gateway-demo/tls/dev-ca.pem");
    let answer = gateway.send(&client(&ca, Http::One), own).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let gateway = gateway.kill().await.start().await;
    let ended = eventually_asking(PATIENCE, "their ends", async || {
        let events = logged(&gateway).await;
        let open = open(&events);
        assert!(open.contains("own"));
        left_open
            .iter()
            .all(|call| !open.contains(call.as_str()))
            .then_some(())
    });
    ended.await;
}
