use prost_types::{Struct, Value, value::Kind};

use super::*;
use crate::proto::{CallSummary, CallTransferred, Caller, EventType, PcaCompleted, event::Payload};

fn time(text: &str) -> Option<prost_types::Timestamp> {
    Some(crate::event::timestamp(text.parse().unwrap()))
}

fn analysed() -> Event {
    Event {
        sequence: 9_007_199_254_740_993,
        id: "0123456789abcdef0123456789abcdef".into(),
        r#type: EventType::PcaCompleted.into(),
        event_name: "callAnalysis.pcaCompleted".into(),
        trace_id: "69ef5c43425e3c729ab8c83f".into(),
        organization_id: "27117463-c11e-4c75-affd-f743216f1bef".into(),
        agent_id: "c51ab1b1-7eac-452d-8ba5-86a922d694e7".into(),
        call_id: "69ef5c43425e3c729ab8c83f".into(),
        status: "success".into(),
        event_time: time("2026-04-27T12:56:59.342041497Z"),
        receive_time: time("2026-04-27T12:57:00Z"),
        payload: Some(Payload::PcaCompleted(PcaCompleted {
            reason: "success".into(),
            pca_time: time("2026-04-27T12:56:59.2Z"),
        })),
        ..Event::default()
    }
}

fn json(event: &Event) -> String {
    canonical_json(&event_descriptor().unwrap(), event).unwrap()
}

#[test]
fn json_is_canonical_protobuf_json() {
    assert_eq!(
        json(&analysed()),
        concat!(
            r#"{"sequence":"9007199254740993","id":"0123456789abcdef0123456789abcdef","type":"EVENT_TYPE_PCA_COMPLETED","#,
            r#""eventName":"callAnalysis.pcaCompleted","traceId":"69ef5c43425e3c729ab8c83f","#,
            r#""organizationId":"27117463-c11e-4c75-affd-f743216f1bef","agentId":"c51ab1b1-7eac-452d-8ba5-86a922d694e7","#,
            r#""callId":"69ef5c43425e3c729ab8c83f","status":"success","eventTime":"2026-04-27T12:56:59.342041497Z","#,
            r#""receiveTime":"2026-04-27T12:57:00Z","pcaCompleted":{"reason":"success","pcaTime":"2026-04-27T12:56:59.200Z"}}"#,
        )
    );
}

#[test]
fn json_keeps_numbers_bytes_and_maps_as_the_mapping_says() {
    let number = |number| Value {
        kind: Some(Kind::NumberValue(number)),
    };
    let event = Event {
        payload: Some(Payload::CallTransferred(CallTransferred {
            caller: Some(Caller {
                phone_number: "+880".into(),
            }),
            call_summary: Some(CallSummary {
                duration_seconds: Some(0.0),
                ..CallSummary::default()
            }),
            ..CallTransferred::default()
        })),
        unmodeled_fields: Some(Struct {
            fields: [
                ("half".to_owned(), number(0.5)),
                (
                    "null".to_owned(),
                    Value {
                        kind: Some(Kind::NullValue(0)),
                    },
                ),
            ]
            .into(),
        }),
        raw_json: "{}".into(),
        raw_headers: [("user-agent".to_owned(), "ReactorNetty/1.1.13".to_owned())].into(),
        ..Event::default()
    };
    let read: serde_json::Value = serde_json::from_str(&json(&event)).unwrap();
    let expected = serde_json::json!({
        "callTransferred": {
            "caller": {"phoneNumber": "+880"},
            "callSummary": {"durationSeconds": 0.0},
        },
        "unmodeledFields": {"half": 0.5, "null": null},
        "rawJson": "e30=",
        "rawHeaders": {"user-agent": "ReactorNetty/1.1.13"},
    });
    assert_eq!(read, expected);
}

#[test]
fn json_is_one_line_that_a_terminal_shows_and_that_reads_as_the_same_text() {
    let mut event = analysed();
    event.status = "\u{1b}[2J\u{9b}31m\n\u{202e}\u{7f}é".into();
    let line = json(&event);
    assert_eq!(line.find(is_hazard), None, "{line}");
    let read: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(read["status"], event.status);
}

#[test]
fn a_raw_body_is_one_line_and_otherwise_byte_for_byte() {
    let check = |body: &str, expected: &str| {
        let mut line = Vec::new();
        push_one_line(body.as_bytes(), &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    };
    check(
        r#"{ "a" : 1e400, "a": "b\n c" }"#,
        r#"{ "a" : 1e400, "a": "b\n c" }"#,
    );
    check("{\r\n  \"a\": [\n\t1,\n\n  2 ]\n}\n", "{\"a\": [1,2 ]}");
    check("  {}", "{}");
    check("\u{feff}{\"\u{feff}\":1}\0\n\0", "{\"\u{feff}\":1}");
    check(" \n\u{feff} \u{feff}{}", "{}");
}

#[test]
fn only_what_is_printed_is_asked_for() {
    let check = |format, details, json, expected| {
        assert_eq!(view(format, details, json).unwrap(), expected);
    };
    check(Format::Pretty, false, None, EventView::Basic);
    check(Format::Pretty, true, None, EventView::Standard);
    check(Format::Json, false, None, EventView::Standard);
    check(Format::Json, false, Some(View::Basic), EventView::Basic);
    check(Format::Json, false, Some(View::Raw), EventView::Raw);
    check(Format::Raw, false, None, EventView::Raw);
    for (format, details, json) in [
        (Format::Json, true, None),
        (Format::Raw, true, None),
        (Format::Raw, false, Some(View::Basic)),
        (Format::Pretty, false, Some(View::Raw)),
    ] {
        assert!(view(format, details, json).is_err(), "{format:?}");
    }
}
