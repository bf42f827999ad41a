//! A subscriber gets what its filter matches, and nothing else, replayed and live.

use verbex_gateway::proto::{
    Event, EventFilter, EventType, EventView, ListEventsRequest, SubscribeRequest,
};

use crate::support::{
    bodies::{expected, mixed},
    grpc::{filtered, from_earliest},
    process::Gateway,
    promises::matches,
};

/// Every event that the filters below can tell from another.
const EVENTS: usize = 60;

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(String::from).to_vec()
}

/// Each field, alternatives, combinations, and what matches nothing.
fn filters() -> Vec<EventFilter> {
    let every = EventFilter::default;
    vec![
        every(),
        EventFilter {
            event_types: vec![EventType::CallStarted.into()],
            ..every()
        },
        EventFilter {
            event_types: vec![EventType::CallEnded.into(), EventType::PcaCompleted.into()],
            ..every()
        },
        EventFilter {
            event_types: vec![EventType::Other.into()],
            ..every()
        },
        EventFilter {
            event_names: texts(["CallHandler.CallParked"]),
            ..every()
        },
        EventFilter {
            agent_ids: texts(["agent-1", "agent-3"]),
            ..every()
        },
        EventFilter {
            call_ids: texts(["call-7"]),
            ..every()
        },
        EventFilter {
            organization_ids: texts(["organization-1"]),
            ..every()
        },
        EventFilter {
            statuses: texts(["failed"]),
            ..every()
        },
        EventFilter {
            event_types: vec![EventType::CallTransferred.into()],
            statuses: texts(["failed"]),
            ..every()
        },
        EventFilter {
            event_types: vec![EventType::CallStarted.into(), EventType::Other.into()],
            agent_ids: texts(["agent-0", "agent-2"]),
            organization_ids: texts(["organization-0"]),
            statuses: texts(["success"]),
            ..every()
        },
        // Exactly, case and all.
        EventFilter {
            agent_ids: texts(["AGENT-1", "agent-", "agent-1 "]),
            ..every()
        },
        EventFilter {
            call_ids: (0..1000).map(|n| format!("call-{}", n * 2)).collect(),
            ..every()
        },
    ]
}

fn trace_ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.trace_id.clone()).collect()
}

fn matching(filter: &EventFilter) -> Vec<String> {
    let events: Vec<Event> = (0..EVENTS).map(|number| expected(&mixed(number))).collect();
    let matching = events.into_iter().filter(|event| matches(filter, event));
    trace_ids(&matching.collect::<Vec<_>>())
}

#[tokio::test]
async fn a_subscription_gets_exactly_what_matches_live_replayed_and_listed() {
    let gateway = Gateway::start().await;
    let mut live = Vec::new();
    for filter in filters() {
        live.push(gateway.subscribe(filtered(filter)).await.0);
    }
    gateway.post_all((0..EVENTS).map(mixed)).await;
    for (filter, live) in filters().into_iter().zip(&mut live) {
        let expected = matching(&filter);
        assert_eq!(trace_ids(&live.take(expected.len()).await), expected);
        let request = from_earliest(filtered(filter.clone()));
        let (mut replayed, _) = gateway.subscribe(request).await;
        assert_eq!(trace_ids(&replayed.take(expected.len()).await), expected);
        // A list has an end, so it shows that nothing comes after.
        let request = ListEventsRequest {
            filter: Some(filter),
            page_size: 1000,
            ..ListEventsRequest::default()
        };
        let listed = gateway.list(request).await.unwrap();
        assert_eq!(trace_ids(&listed.events), expected);
    }
}

#[tokio::test]
async fn what_does_not_match_does_not_come_before_what_does() {
    let gateway = Gateway::start().await;
    let filter = EventFilter {
        call_ids: texts(["call-500"]),
        ..EventFilter::default()
    };
    let (mut live, _) = gateway.subscribe(filtered(filter)).await;
    gateway.post_all((0..EVENTS).map(mixed)).await;
    gateway.post(mixed(1000)).await;
    assert_eq!(live.event().await.1.trace_id, "trace-1000");
}

#[tokio::test]
async fn filters_and_views_go_together() {
    let gateway = Gateway::start().await;
    let bodies: Vec<String> = (0..EVENTS).map(mixed).collect();
    gateway.post_all(bodies.clone()).await;
    for filter in filters() {
        let expected = bodies
            .iter()
            .filter(|body| matches(&filter, &expected(body)));
        let expected: Vec<&String> = expected.collect();
        let request = SubscribeRequest {
            view: EventView::Raw.into(),
            ..filtered(filter.clone())
        };
        let events = gateway.all(request, expected.len()).await;
        let raw: Vec<_> = events.iter().map(|event| &event.raw_json[..]).collect();
        let expected: Vec<_> = expected.iter().map(|body| body.as_bytes()).collect();
        assert_eq!(raw, expected);
    }
}
