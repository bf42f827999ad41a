//! No body, however deep, wide or odd, makes a message that a standard client cannot read.

use std::fmt::Write;

use proptest::prelude::{prop, proptest};
use prost::Message;

use super::*;
use crate::{
    proto::{SubscribeResponse, subscribe_response::Response},
    verbex::headers,
};

/// The largest message that every gRPC client accepts by default.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The largest body that the door can be configured to accept: 1.75 MiB.
const BODY_BYTES_MAX: usize = 7 * 256 * 1024;

/// Delivers the event as to a subscriber that gets everything. prost stops at 100 levels, as other
/// decoders do.
fn check(body: String) {
    assert!(body.len() <= BODY_BYTES_MAX);
    let huge = "h".repeat(headers::BYTES_MAX / 2 - 32);
    let event_name = if body.contains("transcript") || body.contains("topics") {
        "x.CallTransferred"
    } else {
        &huge
    };
    let headers = [
        ("x-webhook-event", event_name),
        ("x-webhook-traceid", &huge),
        ("user-agent", &huge),
    ];
    let normalized = read(&headers, body);
    let receive_time = receive_time();
    let stored = normalized
        .event
        .place(crate::event::Sequence(u64::MAX), receive_time);
    let raw = stored.raw.unwrap();

    let mut event = proto::Event::decode(stored.encoded).unwrap();
    event.raw_json = raw.json;
    event.raw_headers = raw.headers.into_iter().collect();
    let response = SubscribeResponse {
        cursor: "c".repeat(64),
        response: Some(Response::Event(event)),
    };
    let message = response.encode_to_vec();
    assert!(
        message.len() <= MESSAGE_BYTES_MAX,
        "{} bytes",
        message.len()
    );
    assert_eq!(SubscribeResponse::decode(&*message).unwrap(), response);
}

/// `before`, then `repeated` as often as it fits, then `after`.
fn filled(before: &str, repeated: &str, after: &str) -> String {
    let count = (BODY_BYTES_MAX - before.len() - after.len()) / repeated.len();
    format!("{before}{}{after}", repeated.repeat(count))
}

#[test]
fn hostile_bodies_of_the_largest_size_fit_into_a_message() {
    check(filled(r#"{"a":""#, "x", r#""}"#));
    check(filled(r#"{"traceId":""#, "x", r#""}"#));
    check(filled(r#"{"eventName":""#, "é", r#""}"#));
    check(filled(r#"{"eventName":""#, r"\u0000", r#""}"#));
    check(filled(r#"{"call_id":"#, "1", "}"));
    check(filled(r#"{"a":["#, "0,", "0]}"));
    check(filled(r#"{"a":["#, "[],", "0]}"));
    check(filled(r#"{"a":["#, "{},", "0]}"));
    check(filled("{", r#""":0,"#, r#""":0}"#));
    check(filled(r#"{"payload":{"#, r#""payload":0,"#, r#""a":0}}"#));
    check(filled(
        r#"{"call_summary":{"topics_discussed":["#,
        r#""","#,
        r#"""]}}"#,
    ));
    check(filled(
        r#"{"call_summary":{"topics_discussed":["#,
        r#""","#,
        r#"0]}}"#,
    ));
    check(filled(r#"{"transcript":["#, "{},", "{}]}"));
    check(filled(r#"{"transcript":["#, r#"{"role":0},"#, "{}]}"));
    check(filled(
        r#"{"transcript":["#,
        r#"{"role":"","content":""},"#,
        "{}]}",
    ));
    check(filled(r#"{"transcript":[{"content":""#, "x", r#""}]}"#));
}

#[test]
fn many_different_keys_fit_into_a_message() {
    let mut body = String::from("{");
    for key in (0_u32..).map(|n| n.wrapping_mul(2_654_435_761)) {
        write!(body, "\"{key}\":0,").unwrap();
        if body.len() > BODY_BYTES_MAX - 32 {
            break;
        }
    }
    check(body + "\"transcript\":[]}");
}

#[test]
fn unmodeled_fields_of_every_shape_stay_within_what_decoders_take() {
    for levels in [1, 28, 29, 30, 31, 127] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[{"a":"#, "}]")] {
            let count = if open.len() > 5 { levels / 2 } else { levels };
            check(format!(
                "{{\"a\":{}0{}}}",
                open.repeat(count),
                close.repeat(count)
            ));
            check(format!(
                "{{\"payload\":{{\"a\":{}0{}}}}}",
                open.repeat(count.min(126)),
                close.repeat(count.min(126))
            ));
        }
    }
}

proptest! {
    #[test]
    fn any_nesting_and_width_fits_into_a_message(
        containers in "[\\[{]{0,120}",
        width in 0_usize..3000,
        leaf in prop::sample::select(vec![
            "null", "0", "1e400", "\"\"", "[]", "{}", "{\"\":{}}", "\"\\ud800\"",
        ]),
    ) {
        let mut body = String::from(r#"{"transcript":[],"a":"#);
        for container in containers.chars() {
            body.push(container);
            if container == '{' {
                body.push_str(r#""k":"#);
            }
        }
        write!(body, "[{}0]", format!("{leaf},").repeat(width)).unwrap();
        let ends = containers.chars().rev();
        body.extend(ends.map(|container| if container == '{' { '}' } else { ']' }));
        check(body + "}");
    }
}
