//! Values that do not fit the schema: an example for each kind that is tolerated.

use Reason::*;
use serde_json::{Value, json};

use super::{json::from_struct, *};
use crate::proto::TranscriptEntry;

#[test]
fn null_in_a_known_field_goes_nowhere_and_in_an_unknown_one_is_kept() {
    let known = transfer(json!({
        "traceId": null, "organizationId": null, "event": null, "timestamp": null, "payload": null,
        "agent_id": null, "agentId": null, "call_id": null, "callId": null, "status": null,
        "transfer_to": null, "caller": null, "transcript": [{"role": null, "content": null}],
        "metadata": {"language": null, "call_start_time": null},
        "call_summary": {
            "duration_seconds": null, "topics_discussed": null, "transfer_reason": null,
        },
    }));
    check_left(&known, &Value::Null, &[]);
    let unknown = json!({
        "eventName": "CallEnded",
        "x": null,
        "payload": {"y": null, "reason": null, "caller": null},
    });
    let expected = json!({"x": null, "payload": {"y": null, "reason": null, "caller": null}});
    check_left(
        &unknown,
        &expected,
        &[("*", Unknown), ("payload.*", Unknown)],
    );
}

#[test]
fn unknown_fields_are_left_over_at_their_path_at_any_depth() {
    let body = json!({
        "eventName": "CallEnded",
        "new": {"deep": [{}, []]},
        "payload": {"call_id": "c", "Call_Id": "other case", "": 0},
    });
    let expected =
        json!({"new": {"deep": [{}, []]}, "payload": {"Call_Id": "other case", "": 0.0}});
    check_left(&body, &expected, &[("*", Unknown), ("payload.*", Unknown)]);

    let payload = json!({
        "caller": {"phone_number": "1", "name": "n"},
        "call_summary": {"mood": 1.5},
        "metadata": {"a": {"b": true}},
    });
    let expected = json!({
        "caller": {"name": "n"},
        "call_summary": {"mood": 1.5},
        "metadata": {"a": {"b": true}},
    });
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
        let body = json!({
            "eventName": name,
            "payload": {"reason": "r", "timestamp": 5, "transfer_to": "x", "transcript": []},
        });
        let expected = json!({
            "payload": {"reason": "r", "timestamp": 5.0, "transfer_to": "x", "transcript": []},
        });
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
        "traceId": 1, "organizationId": [], "timestamp": "soon", "agent_id": {}, "call_id": false,
        "status": [],
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
        "caller": {"phone_number": 17},
        "metadata": {"language": 1, "call_start_time": "soon", "call_end_time": {}},
        "call_summary": {
            "duration_seconds": "45", "transfer_reason": 1.5, "customer_sentiment": [],
            "actions_taken": "a",
        },
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
    let body = transfer(json!({
        "call_summary": {
            "topics_discussed": ["a", 5, "b", null, ["c"]], "actions_taken": ["x", ""],
        },
    }));
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
    let body = json!({
        "eventName": "CallEnded",
        "payload": {"agent_id": "a", "agentId": "b", "call_id": [], "callId": 5},
    });
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
    let expected = json!({
        "n": [
            0.1, 100.0, -0.0, 9_007_199_254_740_992.0, "9007199254740993", "1e400", "-1E+400",
            "1e-400", "123456789012345678901234567890",
        ],
    });
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
    let body = r#"{"eventName":"a","eventName":"CallTransferred","payload":[],
        "payload":{"call_id":"1","call_id":"2","status":"s","status":null,
        "caller":{"phone_number":"1","phone_number":"2","x":1,"x":{"y":1,"y":2}}},
        "\u0074raceId":"t1","traceId":"t2"}"#;
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
        first.event.raw.headers.clone(),
        first.event.raw.json.clone(),
        receive_time(),
    )
    .unwrap();
    assert_eq!(again.event.event, first.event.event);
    assert_eq!(again.event.raw, first.event.raw);
}
