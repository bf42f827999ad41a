//! Each rule of the table of sources, and each tolerance, by example.

use Reason::*;
use serde_json::{Value, json};

use super::{
    json::{doubles, from_struct},
    *,
};
use crate::proto::{Event, EventType, TranscriptEntry, event::Payload};

const TRANSFER: &str = "CallHandler.CallTransferred";

/// What is left of a body, and why.
#[track_caller]
fn check_left(body: &Value, unmodeled: &Value, reasons: &[(&str, Reason)]) -> Event {
    let normalized = read(&[], body.to_string());
    let event = &normalized.event.event;
    assert_eq!(
        from_struct(event.unmodeled_fields.as_ref()),
        doubles(unmodeled),
        "{body}"
    );
    let reasons: Vec<_> = reasons
        .iter()
        .map(|&(field, reason)| (field.to_owned(), reason))
        .collect();
    let found: Vec<_> = surprises(&normalized)
        .into_iter()
        .filter(|(_, reason)| *reason != Missing)
        .collect();
    assert_eq!(found, reasons, "{body}");
    normalized.event.event
}

fn transfer(fields: Value) -> Value {
    let mut body = json!({ "eventName": TRANSFER });
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body
}

fn transferred(event: Event) -> proto::CallTransferred {
    match event.payload {
        Some(Payload::CallTransferred(payload)) => payload,
        other => panic!("{other:?}"),
    }
}

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
        let normalized = normalize(&rules, &[], body.to_string().into(), receive_time()).unwrap();
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
    let theirs = normalize(&ours, &[], "{}".into(), receive_time()).unwrap();
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
    // Flat, one timestamp is both.
    let flat = event(r#"{"event": "pcaCompleted", "timestamp": 1777294619200}"#);
    let Some(Payload::PcaCompleted(pca)) = flat.payload else {
        panic!()
    };
    assert_eq!(pca.pca_time, flat.event_time);
    assert_eq!(flat.unmodeled_fields, None);
}

#[test]
fn null_in_a_known_field_goes_nowhere_and_in_an_unknown_one_is_kept() {
    let known = transfer(json!({
        "traceId": null, "organizationId": null, "event": null, "timestamp": null, "payload": null,
        "agent_id": null, "agentId": null, "call_id": null, "callId": null, "status": null, "transfer_to": null,
        "caller": null, "transcript": [{"role": null, "content": null}], "metadata": {"language": null, "call_start_time": null},
        "call_summary": {"duration_seconds": null, "topics_discussed": null, "transfer_reason": null},
    }));
    check_left(&known, &Value::Null, &[]);
    let unknown = json!({"eventName": "CallEnded", "x": null, "payload": {"y": null, "reason": null, "caller": null}});
    let expected = json!({"x": null, "payload": {"y": null, "reason": null, "caller": null}});
    check_left(
        &unknown,
        &expected,
        &[("*", Unknown), ("payload.*", Unknown)],
    );
}

#[test]
fn unknown_fields_are_left_over_at_their_path_at_any_depth() {
    let body = json!({"eventName": "CallEnded", "new": {"deep": [{}, []]}, "payload": {"call_id": "c", "Call_Id": "other case", "": 0}});
    let expected =
        json!({"new": {"deep": [{}, []]}, "payload": {"Call_Id": "other case", "": 0.0}});
    check_left(&body, &expected, &[("*", Unknown), ("payload.*", Unknown)]);

    let payload = json!({"caller": {"phone_number": "1", "name": "n"}, "call_summary": {"mood": 1.5}, "metadata": {"a": {"b": true}}});
    let expected = json!({"caller": {"name": "n"}, "call_summary": {"mood": 1.5}, "metadata": {"a": {"b": true}}});
    check_left(
        &transfer(payload.clone()),
        &expected,
        &[
            ("call_summary.*", Unknown),
            ("caller.*", Unknown),
            ("metadata.*", Unknown),
        ],
    );
    check_left(
        &json!({"eventName": TRANSFER, "payload": payload}),
        &json!({ "payload": expected }),
        &[
            ("payload.call_summary.*", Unknown),
            ("payload.caller.*", Unknown),
            ("payload.metadata.*", Unknown),
        ],
    );
}

#[test]
fn fields_of_another_type_of_event_are_left_over() {
    for name in ["CallStarted", "CallEnded"] {
        let body = json!({"eventName": name, "payload": {"reason": "r", "timestamp": 5, "transfer_to": "x", "transcript": []}});
        let expected = json!({"payload": {"reason": "r", "timestamp": 5.0, "transfer_to": "x", "transcript": []}});
        check_left(&body, &expected, &[("payload.*", Unknown)]);
    }
    check_left(
        &transfer(json!({"reason": "r"})),
        &json!({"reason": "r"}),
        &[("*", Unknown)],
    );
    check_left(
        &json!({"eventName": "x", "status": "s", "z": 1}),
        &json!({"z": 1.0}),
        &[("*", Unknown), ("eventName", UnknownName)],
    );
}

#[test]
fn what_does_not_fit_leaves_its_field_empty_and_is_left_over() {
    let odd = json!({
        "traceId": 1, "organizationId": [], "timestamp": "soon", "agent_id": {}, "call_id": false, "status": [],
        "transfer_to": 2, "caller": "c", "call_summary": 3, "transcript": {}, "metadata": [],
    });
    let reasons = [
        ("agent_id", WrongType),
        ("call_id", WrongType),
        ("call_summary", WrongType),
        ("caller", WrongType),
        ("metadata", WrongType),
        ("organizationId", WrongType),
        ("status", WrongType),
        ("timestamp", NotATime),
        ("traceId", WrongType),
        ("transcript", WrongType),
        ("transfer_to", WrongType),
    ];
    let event = check_left(&transfer(odd.clone()), &odd, &reasons);
    assert_eq!(transferred(event), proto::CallTransferred::default());

    let odd = json!({
        "caller": {"phone_number": 17}, "metadata": {"language": 1, "call_start_time": "soon", "call_end_time": {}},
        "call_summary": {"duration_seconds": "45", "transfer_reason": 1.5, "customer_sentiment": [], "actions_taken": "a"},
    });
    let reasons = [
        ("call_summary.actions_taken", WrongType),
        ("call_summary.customer_sentiment", WrongType),
        ("call_summary.duration_seconds", WrongType),
        ("call_summary.transfer_reason", WrongType),
        ("caller.phone_number", WrongType),
        ("metadata.call_end_time", NotATime),
        ("metadata.call_start_time", NotATime),
        ("metadata.language", WrongType),
    ];
    let payload = transferred(check_left(&transfer(odd.clone()), &odd, &reasons));
    assert_eq!(payload.call_summary, Some(proto::CallSummary::default()));
    assert_eq!(payload.caller, Some(proto::Caller::default()));
}

#[test]
fn of_a_list_the_fitting_elements_are_typed_and_the_whole_list_is_left_over() {
    let body = transfer(
        json!({"call_summary": {"topics_discussed": ["a", 5, "b", null, ["c"]], "actions_taken": ["x", ""]}}),
    );
    let expected = json!({"call_summary": {"topics_discussed": ["a", 5.0, "b", null, ["c"]]}});
    let payload = transferred(check_left(
        &body,
        &expected,
        &[("call_summary.topics_discussed", OddElement)],
    ));
    let summary = payload.call_summary.unwrap();
    assert_eq!(summary.topics_discussed, ["a", "b"]);
    assert_eq!(summary.actions_taken, ["x", ""]);

    let entry = |role: &str, content: &str| TranscriptEntry {
        role: role.into(),
        content: content.into(),
    };
    let check = |transcript: Value, typed: &[TranscriptEntry], left: bool| {
        let expected = if left {
            json!({ "transcript": transcript })
        } else {
            Value::Null
        };
        let reasons: &[_] = if left {
            &[("transcript", OddElement)]
        } else {
            &[]
        };
        let payload = transferred(check_left(
            &transfer(json!({ "transcript": transcript })),
            &expected,
            reasons,
        ));
        assert_eq!(payload.transcript, typed, "{transcript}");
    };
    check(json!([]), &[], false);
    check(
        json!([{"role": "user", "content": "hi"}, {}]),
        &[entry("user", "hi"), entry("", "")],
        false,
    );
    check(
        json!([{"role": "user", "content": "hi", "at": "1"}]),
        &[entry("user", "hi")],
        true,
    );
    check(
        json!(["hi", {"role": "user"}, null, []]),
        &[entry("user", "")],
        true,
    );
    check(
        json!([{"role": false, "content": "hi"}]),
        &[entry("", "hi")],
        true,
    );
}

#[test]
fn the_envelopes_event_is_never_left_over() {
    for event in [
        json!("CallEnded"),
        json!("Other"),
        json!(""),
        json!(5),
        json!({"a": 1}),
        json!(["x"]),
        json!(null),
    ] {
        check_left(
            &json!({"eventName": "CallHandler.CallEnded", "event": event}),
            &Value::Null,
            &[],
        );
    }
    let inside = json!({"eventName": "CallEnded", "payload": {"event": "x"}});
    check_left(
        &inside,
        &json!({"payload": {"event": "x"}}),
        &[("payload.*", Unknown)],
    );
}

#[test]
fn another_spelling_of_a_used_field_is_left_over() {
    let body = json!({"eventName": "CallEnded", "payload": {"agent_id": "a", "agentId": "b", "call_id": [], "callId": 5}});
    let expected = json!({"payload": {"agentId": "b", "call_id": []}});
    check_left(
        &body,
        &expected,
        &[("payload.agentId", Unused), ("payload.call_id", WrongType)],
    );
}

#[test]
fn a_number_that_no_double_holds_is_left_over_as_its_text() {
    let body = r#"{"eventName":"CallEnded","n":[0.1,1e2,-0,9007199254740992,9007199254740993,1e400,-1E+400,1e-400,123456789012345678901234567890]}"#;
    let left = from_struct(event(body).unmodeled_fields.as_ref());
    let expected = json!({"n": [0.1, 100.0, -0.0, 9_007_199_254_740_992.0, "9007199254740993", "1e400", "-1E+400", "1e-400", "123456789012345678901234567890"]});
    assert_eq!(left, expected);

    let check = |number: &str, typed: Option<f64>, left: Value| {
        let event = event(&format!(
            r#"{{"eventName":"CallTransferred","call_summary":{{"duration_seconds":{number}}}}}"#
        ));
        assert_eq!(
            from_struct(event.unmodeled_fields.as_ref()),
            left,
            "{number}"
        );
        assert_eq!(
            transferred(event).call_summary.unwrap().duration_seconds,
            typed,
            "{number}"
        );
    };
    check("0", Some(0.0), Value::Null);
    check("45.621591", Some(45.621591), Value::Null);
    check(
        "1e400",
        None,
        json!({"call_summary": {"duration_seconds": "1e400"}}),
    );
    check(
        "9007199254740993",
        Some(9_007_199_254_740_992.0),
        json!({"call_summary": {"duration_seconds": "9007199254740993"}}),
    );
}

#[test]
fn a_lone_surrogate_is_a_replacement_character_and_nul_stays() {
    let body = r#"{"eventName":"x.\ud800","traceId":"a\u0000b","call_id":"\ude00\ud83d","k\udfff":"\ud83d\ude00\ud83d"}"#;
    let normalized = read(&[], body);
    let event = normalized.event.event;
    assert_eq!(event.event_name, "x.\u{fffd}");
    assert_eq!(event.trace_id, "a\0b");
    assert_eq!(event.call_id, "\u{fffd}\u{fffd}");
    assert_eq!(
        from_struct(event.unmodeled_fields.as_ref()),
        json!({"k\u{fffd}": "😀\u{fffd}"})
    );
    assert_eq!(normalized.event.raw.json, body);
}

#[test]
fn of_repeated_keys_the_last_counts_at_every_level() {
    let body = r#"{"eventName":"a","eventName":"CallTransferred","payload":[],"payload":{"call_id":"1","call_id":"2","status":"s","status":null,
        "caller":{"phone_number":"1","phone_number":"2","x":1,"x":{"y":1,"y":2}}},"\u0074raceId":"t1","traceId":"t2"}"#;
    let event = event(body);
    assert_eq!(
        [
            &*event.event_name,
            &*event.call_id,
            &*event.status,
            &*event.trace_id
        ],
        ["CallTransferred", "2", "", "t2"]
    );
    assert_eq!(
        from_struct(event.unmodeled_fields.as_ref()),
        json!({"payload": {"caller": {"x": {"y": 2.0}}}})
    );
    assert_eq!(transferred(event).caller.unwrap().phone_number, "2");
}

#[test]
fn too_deep_or_too_large_is_omitted_and_said_so() {
    let check = |body: String, kept: bool, reason: Reason| {
        let normalized = read(&[], body);
        let event = &normalized.event.event;
        assert_eq!(event.unmodeled_fields.is_some(), kept);
        assert_eq!(event.unmodeled_fields_omitted, !kept);
        let told = surprises(&normalized).contains(&("unmodeled_fields".into(), reason));
        assert_eq!(told, !kept);
    };
    let arrays = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}0{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let in_payload = |levels: usize| format!(r#"{{"payload":{{"a":{}}}}}"#, objects(levels));
    check(arrays(29), true, TooDeep);
    check(arrays(30), false, TooDeep);
    check(objects(30), true, TooDeep);
    check(objects(31), false, TooDeep);
    check(in_payload(28), true, TooDeep);
    check(in_payload(29), false, TooDeep);
    check(arrays(127), false, TooDeep);
    // {"a": "x…"}: entry, key, value and string take 15 bytes.
    let text = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes));
    check(text(256 * 1024 - 15), true, TooLarge);
    check(text(256 * 1024 - 14), false, TooLarge);
    check(
        format!("{{\"a\":[{}0]}}", "0,".repeat(100_000)),
        false,
        TooLarge,
    );
}

#[test]
fn what_the_guide_has_and_the_webhook_has_not_is_counted() {
    let missing = |body: Value| {
        let normalized = read(&[], body.to_string());
        surprises(&normalized)
            .into_iter()
            .filter(|(_, reason)| *reason == Missing)
            .map(|(field, _)| field)
            .collect::<Vec<_>>()
    };
    let expected = [
        "organizationId",
        "payload.agent_id",
        "payload.call_id",
        "payload.status",
        "timestamp",
        "traceId",
    ];
    assert_eq!(
        missing(json!({"eventName": "CallEnded", "timestamp": null, "payload": {}})),
        expected
    );
    let expected = [
        "agent_id",
        "call_id",
        "call_summary",
        "caller.phone_number",
        "metadata",
        "status",
        "transcript",
    ];
    assert_eq!(missing(json!({"transfer_to": "x", "caller": {}})), expected);
    assert!(missing(json!({"eventName": "x"})).is_empty());
}

#[test]
fn headers_are_kept_with_the_event_and_give_the_same_event_again() {
    let first = read(
        &[
            ("X-Webhook-Event", "CallHandler.CallEnded"),
            ("Authorization", "s"),
            ("User-Agent", "u"),
        ],
        "{}",
    );
    let kept = [
        ("user-agent", "u"),
        ("x-webhook-event", "CallHandler.CallEnded"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(first.event.raw.headers, kept);
    let again = normalize(
        &rules(),
        &first.event.raw.headers,
        first.event.raw.json.clone(),
        receive_time(),
    )
    .unwrap();
    assert_eq!(again.event.event, first.event.event);
    assert_eq!(again.event.raw, first.event.raw);
}
