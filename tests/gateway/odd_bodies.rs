//! An event that the gateway does not understand is still an event: stored, delivered, and nothing of it lost.

use prost_types::value::Kind;
use serde_json::json;
use verbex_gateway::proto::{
    Event, EventType, EventView, SubscribeRequest, SubscribeResponse, event::Payload,
    subscribe_response::Response,
};

use crate::support::{bodies, process::Gateway};

/// The largest message that gRPC clients take by default.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Posts bodies, and gets the events in the raw view from a standard client.
async fn delivered(bodies: Vec<Vec<u8>>) -> Vec<Event> {
    let gateway = Gateway::start().await;
    for body in &bodies {
        gateway.post(body.clone()).await;
    }
    let raw = SubscribeRequest {
        view: EventView::Raw.into(),
        ..SubscribeRequest::default()
    };
    let events = gateway.all(raw, bodies.len()).await;
    for (event, body) in events.iter().zip(&bodies) {
        assert_eq!(event.raw_json, body, "byte for byte");
        let message = SubscribeResponse {
            cursor: "c".repeat(64),
            response: Some(Response::Event(event.clone())),
        };
        assert!(prost::Message::encoded_len(&message) <= MESSAGE_BYTES_MAX);
    }
    events
}

fn unmodeled(event: &Event, field: &str) -> Option<Kind> {
    let fields = event.unmodeled_fields.as_ref()?;
    fields.fields.get(field)?.kind.clone()
}

#[tokio::test]
async fn missing_null_and_wrong_typed_fields_leave_their_place_empty() {
    let bodies = [
        "{}",
        "  {\n\"a\":{}}  ",
        r#"{"eventName":null,"traceId":7,"organizationId":[],"payload":{"call_id":{},"status":null,"agent_id":""},"timestamp":true}"#,
        r#"{"payload":"text"}"#,
        r#"{"eventName":"CallHandler.CallStarted","payload":[]}"#,
    ];
    let events = delivered(bodies.map(|body| body.as_bytes().to_vec()).to_vec()).await;
    for event in &events {
        assert_eq!(event.event_time, event.receive_time, "nothing said when");
        let texts = [
            &event.trace_id,
            &event.organization_id,
            &event.agent_id,
            &event.call_id,
            &event.status,
        ];
        assert_eq!(texts, [""; 5]);
    }
    let types = events
        .iter()
        .map(|event| event.r#type())
        .collect::<Vec<_>>();
    assert_eq!(types[..4], [EventType::Other; 4]);
    assert_eq!(types[4], EventType::CallStarted);
    assert_eq!(
        unmodeled(&events[2], "traceId"),
        Some(Kind::NumberValue(7.0))
    );
    let text = Kind::StringValue("text".into());
    assert_eq!(unmodeled(&events[3], "payload"), Some(text));
}

#[tokio::test]
async fn unknown_events_and_fields_are_kept_at_their_path() {
    let mut body = bodies::event("Verbex.SomethingNew", 1);
    body["payload"]["mood"] = json!({"tone": ["warm", null, 3]});
    body["version"] = json!(2);
    let event = delivered(vec![body.to_string().into_bytes()])
        .await
        .remove(0);
    assert_eq!(event.r#type(), EventType::Other);
    assert_eq!(event.event_name, "Verbex.SomethingNew");
    assert_eq!(event.call_id, "call-0");
    assert_eq!(event.payload, None);
    assert_eq!(unmodeled(&event, "version"), Some(Kind::NumberValue(2.0)));
    let Some(Kind::StructValue(payload)) = unmodeled(&event, "payload") else {
        panic!("no payload: {event:?}");
    };
    assert_eq!(payload.fields.keys().collect::<Vec<_>>(), ["mood"]);
}

#[tokio::test]
async fn text_and_numbers_of_any_kind_come_through() {
    let body = br#"{"eventName":"CallHandler.CallEnded","payload":{"call_id":12345678901234567890,"status":"a\ud800b","agent_id":"\u0000\"\\"},"big":9007199254740993,"huge":1e400,"tenth":0.1,"twice":1,"twice":2}"#;
    let event = delivered(vec![body.to_vec()]).await.remove(0);
    assert_eq!(event.call_id, "12345678901234567890");
    assert_eq!(event.status, "a\u{fffd}b");
    assert_eq!(event.agent_id, "\0\"\\");
    let text = |text: &str| Some(Kind::StringValue(text.into()));
    assert_eq!(unmodeled(&event, "big"), text("9007199254740993"));
    assert_eq!(unmodeled(&event, "huge"), text("1e400"));
    assert_eq!(unmodeled(&event, "tenth"), Some(Kind::NumberValue(0.1)));
    assert_eq!(unmodeled(&event, "twice"), Some(Kind::NumberValue(2.0)));
}

#[tokio::test]
async fn what_does_not_fit_in_a_list_is_kept_with_the_whole_list() {
    let body = json!({
        "transfer_to": "1000",
        "transcript": [
            {"role": "user", "content": "hello"},
            "interrupted",
            {"role": "agent", "content": "yes?"},
        ],
    });
    let event = delivered(vec![body.to_string().into_bytes()])
        .await
        .remove(0);
    let Some(Payload::CallTransferred(transferred)) = &event.payload else {
        panic!("not a transfer: {event:?}");
    };
    let said = transferred
        .transcript
        .iter()
        .map(|entry| entry.content.as_str());
    assert_eq!(said.collect::<Vec<_>>(), ["hello", "yes?"]);
    let Some(Kind::ListValue(list)) = unmodeled(&event, "transcript") else {
        panic!("no list: {event:?}");
    };
    assert_eq!(list.values.len(), 3);
}

#[tokio::test]
async fn no_event_is_too_deep_too_wide_or_too_large_for_a_standard_client() {
    let nested = |open: &str, close: &str, levels: usize| {
        let (open, close) = (open.repeat(levels), close.repeat(levels));
        format!("{{\"deep\":{open}1{close}}}").into_bytes()
    };
    let filled = |mut event: serde_json::Value, bytes: usize| {
        let rest = bytes - event.to_string().len() - r#","fill":"""#.len();
        event["fill"] = json!("x".repeat(rest));
        event.to_string().into_bytes()
    };
    let wide: serde_json::Map<_, _> = (0..60_000).map(|n| (format!("{n:x}"), json!(0))).collect();
    let limit = 1024 * 1024;
    let bodies = vec![
        nested("{\"a\":", "}", 127),
        nested("[", "]", 127),
        nested("[", "]", 20),
        serde_json::to_vec(&wide).unwrap(),
        filled(json!({"eventName": "Large"}), limit),
        bodies::large(1, limit - 600).into_bytes(),
        format!("{{\"eventName\":\"{}\"}}", "é".repeat(500_000)).into_bytes(),
        format!("{{\"zeros\":[{}0]}}", "0,".repeat(500_000)).into_bytes(),
    ];
    let events = delivered(bodies).await;
    let omitted = events.iter().map(|event| event.unmodeled_fields_omitted);
    let omitted: Vec<bool> = omitted.collect();
    assert_eq!(omitted, [true, true, false, true, true, false, false, true]);
}
