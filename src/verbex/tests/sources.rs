//! Where each field of an event is taken from, with an example for each source.

use Reason::{Unknown, UnknownName, WrongType};
use serde_json::{Value, json};

use super::*;
use crate::proto::{EventType, event::Payload};

#[test]
fn the_name_is_taken_from_the_first_source_that_has_one() {
    let check = |header: Option<&str>, body: Value, expected: &str| {
        let headers: Vec<_> = header
            .map(|value| ("X-Webhook-Event", value))
            .into_iter()
            .collect();
        assert_eq!(
            read(&headers, body.to_string()).event.event.event_name,
            expected,
            "{body}"
        );
    };
    let all = json!({"eventName": "a.b", "event": "b", "transfer_to": "x"});
    check(Some("h"), all, "a.b");
    for unusable in [json!(null), json!(""), json!(5), json!(["a"]), json!({})] {
        check(Some("h"), json!({"eventName": unusable, "event": "b"}), "h");
        check(Some(""), json!({"eventName": unusable, "event": "b"}), "b");
        check(
            None,
            json!({"eventName": unusable, "event": "b", "transfer_to": "x"}),
            "b",
        );
        check(
            None,
            json!({"eventName": unusable, "event": unusable, "transfer_to": "x"}),
            TRANSFER,
        );
        check(None, json!({"eventName": unusable, "event": unusable}), "");
    }
    check(None, json!({"payload": {"transfer_to": "x"}}), TRANSFER);
    check(None, json!({"payload": {"transfer_to": null}}), "");
    check(None, json!({"payload": {}, "transfer_to": "x"}), "");
    check(None, json!({"payload": {"event": "b"}}), "");
}

#[test]
fn the_type_is_the_last_part_of_the_name_without_regard_to_case() {
    for (name, expected) in [
        ("CallHandler.CallStarted", EventType::CallStarted),
        ("CallEnded", EventType::CallEnded),
        ("a.b.c.CALLTRANSFERRED", EventType::CallTransferred),
        ("callAnalysis.pcaCompleted", EventType::PcaCompleted),
        (".pcacompleted", EventType::PcaCompleted),
        ("CallStarted.", EventType::Other),
        ("CallHandler.CallStarted2", EventType::Other),
        ("CallHandler/CallStarted", EventType::Other),
        ("callstarted ", EventType::Other),
        ("CallHandler.CallRinging", EventType::Other),
        ("", EventType::Other),
    ] {
        let event = event(&json!({"eventName": name}).to_string());
        assert_eq!(event.r#type(), expected, "{name}");
        assert_eq!(event.event_name, name);
        assert_eq!(
            event.payload.is_some(),
            expected != EventType::Other,
            "{name}"
        );
    }
}

#[test]
fn the_trace_is_the_bodys_then_the_headers() {
    let header = [("x-WEBHOOK-traceid", "h")];
    let check = |body: Value, expected: &str| {
        assert_eq!(
            read(&header, body.to_string()).event.event.trace_id,
            expected,
            "{body}"
        );
    };
    check(json!({"traceId": "b"}), "b");
    for unusable in [json!(null), json!(""), json!(5), json!([])] {
        check(json!({"traceId": unusable}), "h");
    }
    check(json!({"payload": {"traceId": "p"}}), "h");
    assert_eq!(event("{}").trace_id, "");
}

#[test]
fn an_event_without_organization_gets_the_operators() {
    let rules = Rules {
        organization: Some("ours".into()),
        ..rules()
    };
    let check = |body: Value, expected: &str| {
        let normalized =
            normalize(&rules, Vec::new(), body.to_string().into(), receive_time()).unwrap();
        assert_eq!(normalized.event.event.organization_id, expected, "{body}");
    };
    check(json!({"organizationId": "theirs"}), "theirs");
    for unusable in [json!(null), json!(""), json!(5), json!({})] {
        check(json!({"organizationId": unusable}), "ours");
    }
    check(json!({"payload": {"organizationId": "p"}}), "ours");
    assert_eq!(event("{}").organization_id, "");
}

#[test]
fn the_operators_organization_does_not_change_the_id() {
    let ours = Rules {
        organization: Some("ours".into()),
        ..rules()
    };
    let theirs = normalize(&ours, Vec::new(), "{}".into(), receive_time()).unwrap();
    assert_eq!(theirs.event.id, read(&[], "{}").event.id);
}

#[test]
fn keys_are_strings_or_numbers_in_snake_case_then_in_camel_case() {
    let check = |payload: Value, expected: [&str; 3]| {
        for body in [payload.clone(), json!({ "payload": payload })] {
            let event = event(&body.to_string());
            assert_eq!(
                [&event.agent_id, &event.call_id, &event.status],
                expected,
                "{body}"
            );
        }
    };
    check(
        json!({"agent_id": "a", "call_id": "c", "status": "s"}),
        ["a", "c", "s"],
    );
    check(json!({"agentId": "a", "callId": "c"}), ["a", "c", ""]);
    check(
        json!({"agent_id": "a", "agentId": "b", "call_id": "", "callId": "c"}),
        ["a", "c", ""],
    );
    check(
        json!({"agent_id": null, "agentId": "b", "call_id": [], "callId": 7}),
        ["b", "7", ""],
    );
    check(
        json!({"agent_id": true, "call_id": {}, "status": ["s"]}),
        ["", "", ""],
    );
    let event = event(r#"{"agent_id": 9007199254740993, "call_id": -0.10e2, "status": 1e400}"#);
    assert_eq!(
        [event.agent_id, event.call_id, event.status],
        ["9007199254740993", "-0.10e2", "1e400"]
    );
    assert_eq!(event.unmodeled_fields, None);
}

#[test]
fn the_event_time_is_the_bodys_then_the_headers_then_the_receive_time() {
    let check = |body: Value, header: &str, expected: &str, given: bool| {
        let normalized = read(&[("X-Webhook-Timestamp", header)], body.to_string());
        let expected = crate::event::timestamp(expected.parse().unwrap());
        assert_eq!(normalized.event.event.event_time, Some(expected), "{body}");
        assert_eq!(normalized.event.event_time_given, given, "{body}");
    };
    let header = "2025-11-10T01:01:14.552985018Z";
    check(
        json!({"timestamp": "2026-04-27T12:53:25.5Z"}),
        header,
        "2026-04-27T12:53:25.5Z",
        true,
    );
    check(
        json!({"timestamp": 1_777_294_405}),
        header,
        "2026-04-27T12:53:25Z",
        true,
    );
    check(
        json!({"timestamp": "1777294405.25"}),
        header,
        "2026-04-27T12:53:25.25Z",
        true,
    );
    for unusable in [
        json!(null),
        json!(""),
        json!("soon"),
        json!([1]),
        json!(true),
        json!("0000-01-01T00:00:00Z"),
    ] {
        check(json!({"timestamp": unusable}), header, header, true);
        check(
            json!({"timestamp": unusable}),
            "1777294405",
            "2026-04-27T12:53:25Z",
            true,
        );
        check(json!({"timestamp": unusable}), "soon", RECEIVE_TIME, false);
        check(json!({"timestamp": unusable}), "", RECEIVE_TIME, false);
    }
    check(
        json!({"payload": {"timestamp": 5}}),
        "",
        RECEIVE_TIME,
        false,
    );
}

#[test]
fn the_payload_is_the_body_unless_there_is_an_object_by_that_name() {
    check_left(
        &json!({"payload": {"call_id": "p"}, "call_id": "top", "event": 1}),
        &json!({"call_id": "top"}),
        &[("*", Unknown), ("eventName", UnknownName)],
    );
    assert_eq!(event(r#"{"payload": {}, "call_id": "top"}"#).call_id, "");
    assert_eq!(
        event(r#"{"payload": null, "call_id": "top"}"#).call_id,
        "top"
    );
    for odd in [
        json!([{"call_id": "p"}]),
        json!("{}"),
        json!(5),
        json!(false),
    ] {
        let body = json!({"eventName": "CallEnded", "payload": odd, "call_id": "top"});
        let event = check_left(&body, &json!({ "payload": odd }), &[("payload", WrongType)]);
        assert_eq!(event.call_id, "top");
    }
}

#[test]
fn the_analysis_has_its_own_time_and_reason() {
    let check = |payload: Value, reason: &str, millis: Option<i64>| {
        let event = event(&json!({"eventName": "pcaCompleted", "payload": payload}).to_string());
        let Some(Payload::PcaCompleted(pca)) = event.payload else {
            panic!()
        };
        assert_eq!(pca.reason, reason, "{payload}");
        assert_eq!(
            pca.pca_time
                .map(|time| time.seconds * 1000 + i64::from(time.nanos) / 1_000_000),
            millis,
            "{payload}"
        );
    };
    check(
        json!({"reason": "r", "timestamp": 1_777_294_619_200_i64}),
        "r",
        Some(1_777_294_619_200),
    );
    check(
        json!({"reason": 5, "timestamp": "1777294619200"}),
        "",
        Some(1_777_294_619_200),
    );
    check(json!({"timestamp": {}}), "", None);
    check(json!({}), "", None);
    // In a flat body, one timestamp serves as both.
    let flat = event(r#"{"event": "pcaCompleted", "timestamp": 1777294619200}"#);
    let Some(Payload::PcaCompleted(pca)) = flat.payload else {
        panic!()
    };
    assert_eq!(pca.pca_time, flat.event_time);
    assert_eq!(flat.unmodeled_fields, None);
}
