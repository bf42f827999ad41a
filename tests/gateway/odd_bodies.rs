//! An event that the gateway does not understand is still an event: stored, delivered, and nothing
//! of it lost.

use prost_types::value::Kind;
use serde_json::json;
use verbex_gateway::proto::{
    Event, EventType, EventView, SubscribeRequest, SubscribeResponse, event::Payload,
    subscribe_response::Response,
};

use crate::support::{
    bodies,
    process::{Gateway, run},
    webhook::Http,
};

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
async fn what_stands_around_the_json_is_kept_and_makes_no_other_event() {
    let gateway = Gateway::start().await;
    let plain = gateway.post(bodies::CALL_STARTED).await;
    for body in [
        format!("\u{feff}{}", bodies::CALL_STARTED),
        format!("{}\0", bodies::CALL_STARTED),
        format!("\u{feff}\r\n{}\n\0", bodies::CALL_STARTED),
    ] {
        let again = gateway.post(body).await;
        assert_eq!((again.id, again.duplicate), (plain.id.clone(), true));
    }
    let mut others = [
        "\u{feff}{\"a\":1}",
        "{\"a\":2}\n\0\0",
        "\u{feff}{\"a\":3}\0",
    ]
    .map(|body| body.as_bytes().to_vec());
    delivered(others.to_vec()).await;

    // Lines for people and programs hold the JSON alone.
    for body in &mut others {
        gateway.post(std::mem::take(body)).await;
    }
    let address = format!("http://{}", gateway.grpc);
    let args = ["events", "--format", "raw", "--address", &address];
    let printed = run(gateway.setup.folder(), &args, "").await;
    let last = printed.stdout.lines().skip(1).collect::<Vec<_>>();
    assert_eq!(last, ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"], "{printed}");
}

#[tokio::test]
async fn utf_16_is_refused_by_name() {
    let gateway = Gateway::start().await;
    let client = gateway.http(Http::One);
    for body in ["{\"a\":1}", "\u{feff}{\"a\":1}"] {
        let units: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let answer = gateway.send(&client, units).await;
        assert_eq!((answer.status, &*answer.code()), (400, "BODY_INVALID"));
        assert!(answer.text.contains("UTF-16"), "{answer:?}");
    }
}

#[tokio::test]
async fn times_are_read_as_other_senders_write_them() {
    let times = [
        "2026-04-27T12:53:00Z",
        "2026-04-27T12:53Z",
        "2026-04-27T12:53:00+0000",
        "2026-04-27T18:53:00+06",
        "2026-04-27t12:53:00,000z",
        "2026-04-27 12:53:00 UTC",
        "2026-04-27T12:53:00Z[UTC]",
        "2026-04-27T14:53:00+02:00[Europe/Berlin]",
        "1777294380",
        "1777294380000",
    ];
    let bodies = times.iter().enumerate();
    let bodies = bodies.map(|(n, time)| json!({"n": n, "timestamp": time}).to_string().into());
    for (event, time) in delivered(bodies.collect()).await.iter().zip(times) {
        let seconds = event.event_time.map(|time| (time.seconds, time.nanos));
        assert_eq!(seconds, Some((1_777_294_380, 0)), "{time}");
    }
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
