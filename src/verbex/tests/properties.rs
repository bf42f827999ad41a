//! Properties that hold for any JSON object.

use proptest::prelude::{prop_assert, prop_assert_eq, prop_assert_ne, proptest};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    json::{doubles, from_struct, webhook},
    *,
};
use crate::{
    proto::{Event, event::Payload},
    verbex::{Surprise, time},
};

#[test]
fn each_surprise_is_known_once_and_there_are_few_of_them() {
    let mut all: Vec<_> = Surprise::all().collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
    assert!((50..150).contains(&count), "{count}");
}

proptest! {
    #[test]
    fn nothing_in_a_body_is_lost(body in webhook()) {
        let text = body.to_string();
        let normalized = read(&[], text.clone());
        prop_assert_eq!(&normalized.event.raw.json[..], text.as_bytes());

        let event = normalized.event.event;
        let unmodeled = from_struct(event.unmodeled_fields.as_ref());
        for (path, leaf) in leaves(&body) {
            let left = unmodeled.pointer(&path) == Some(&doubles(&leaf));
            let found = left || has_home(&event, &body, &path, &leaf);
            prop_assert!(found, "{path} in {body}\n{event:?}");
        }
        // Unmodeled fields have no value that is not in the body.
        for (path, leaf) in leaves(&unmodeled) {
            let written = body.pointer(&path).map(doubles);
            prop_assert!(unmodeled.is_null() || written == Some(leaf), "{path} in {body}");
        }
    }

    #[test]
    fn every_surprise_is_one_that_is_known_beforehand(
        body in webhook(),
        header in 0_usize..100_000,
    ) {
        let long = "x".repeat(header);
        for surprise in read(&[("x-webhook-long", &*long)], body.to_string()).surprises {
            prop_assert!(Surprise::all().any(|known| known == surprise), "{surprise:?} in {body}");
        }
    }

    #[test]
    fn key_order_white_space_escapes_and_the_timestamp_do_not_change_the_id(
        body in webhook(),
        other in webhook(),
        seed: u64,
    ) {
        let id = |body: &str| read(&[], body.to_owned()).event.id;
        let mut again = body.clone();
        again["timestamp"] = json!(seed);
        let mut variation = Variation(StdRng::seed_from_u64(seed));
        let again = variation.write(&again);
        let same = id(&body.to_string()) == id(&again);
        prop_assert!(same, "{body}\n{again}");

        let without_timestamp = |body: &Value| {
            let mut body = body.clone();
            body.as_object_mut().map(|fields| fields.remove("timestamp"));
            body
        };
        if without_timestamp(&body) != without_timestamp(&other) {
            prop_assert_ne!(id(&body.to_string()), id(&other.to_string()));
        }
    }

    #[test]
    fn what_the_log_keeps_gives_the_same_event_again(
        body in webhook(),
        event_name in ".{0,20}",
        at in ".{0,10}|[0-9]{1,19}",
    ) {
        let headers = [
            ("X-Webhook-Event", &*event_name),
            ("x-webhook-timestamp", &at),
            ("cookie", "c"),
        ];
        let first = read(&headers, body.to_string()).event;
        let (headers, body) = (first.raw.headers.clone(), first.raw.json.clone());
        let again = normalize(&rules(), headers, body, receive_time()).unwrap();
        prop_assert_eq!(again.event.event, first.event);
        prop_assert_eq!(again.event.raw, first.raw);
    }
}

/// Every scalar and every empty container, by JSON pointer.
fn leaves(value: &Value) -> Vec<(String, Value)> {
    fn walk(path: String, value: &Value, leaves: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(object) if !object.is_empty() => {
                for (key, value) in object {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    walk(format!("{path}/{key}"), value, leaves);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for (index, value) in items.iter().enumerate() {
                    walk(format!("{path}/{index}"), value, leaves);
                }
            }
            leaf => leaves.push((path, leaf.clone())),
        }
    }
    let mut found = Vec::new();
    walk(String::new(), value, &mut found);
    found
}

/// Whether the typed field at this path holds the value, or the value carries no information there.
/// Written from the contract and not from the code: by path, from the event's side.
fn has_home(event: &Event, body: &Value, path: &str, leaf: &Value) -> bool {
    let says_nothing = leaf.is_null() || *leaf == json!("");
    let text = |typed: &str| says_nothing || leaf.as_str() == Some(typed);
    let digits = leaf.as_number().map(ToString::to_string);
    let key = |typed: &str| text(typed) || digits.as_deref() == Some(typed);
    let instant = |typed: Option<prost_types::Timestamp>| match leaf {
        Value::String(written) => typed.is_some() && time::from_text(written) == typed,
        Value::Number(written) => typed.is_some() && time::from_text(&written.to_string()) == typed,
        other => other.is_null(),
    };
    let empty_object = *leaf == json!({});
    match path {
        "" | "/payload" => return empty_object || leaf.is_null(),
        "/eventName" => return text(&event.event_name),
        "/traceId" => return text(&event.trace_id),
        "/organizationId" => return text(&event.organization_id),
        path if path == "/event" || path.starts_with("/event/") => return true,
        "/timestamp" if instant(event.event_time) => return true,
        _ => {}
    }

    let prefix = if body["payload"].is_object() {
        "/payload/"
    } else {
        "/"
    };
    let Some(path) = path.strip_prefix(prefix) else {
        return false;
    };
    match path {
        "agent_id" | "agentId" => return key(&event.agent_id),
        "call_id" | "callId" => return key(&event.call_id),
        "status" => return key(&event.status),
        _ => {}
    }
    match &event.payload {
        Some(Payload::PcaCompleted(pca)) => match path {
            "reason" => text(&pca.reason),
            "timestamp" => instant(pca.pca_time),
            _ => false,
        },
        Some(Payload::CallTransferred(call)) => {
            let summary = call.call_summary.clone().unwrap_or_default();
            let metadata = call.metadata.clone().unwrap_or_default();
            let parts: Vec<&str> = path.split('/').collect();
            let element = |list: &[String]| match parts.get(2) {
                None => says_nothing && leaf.is_null() || *leaf == json!([]),
                Some(index) => {
                    leaf.is_string()
                        && list
                            .get(index.parse::<usize>().unwrap())
                            .is_some_and(|typed| leaf == typed)
                }
            };
            match parts[..] {
                ["transfer_to"] => text(&call.transfer_to),
                ["caller"] => leaf.is_null() || empty_object && call.caller.is_some(),
                ["caller", "phone_number"] => text(&call.caller.as_ref().unwrap().phone_number),
                ["call_summary"] => leaf.is_null() || empty_object && call.call_summary.is_some(),
                ["call_summary", "duration_seconds"] => leaf.as_f64() == summary.duration_seconds,
                ["call_summary", "topics_discussed", ..] => element(&summary.topics_discussed),
                ["call_summary", "actions_taken", ..] => element(&summary.actions_taken),
                ["call_summary", "unresolved_issues", ..] => element(&summary.unresolved_issues),
                ["call_summary", "transfer_reason"] => text(&summary.transfer_reason),
                ["call_summary", "customer_sentiment"] => text(&summary.customer_sentiment),
                ["transcript"] => leaf.is_null() || *leaf == json!([]),
                ["transcript", index, ..] => {
                    let Some(entry) = call.transcript.get(index.parse::<usize>().unwrap()) else {
                        return false;
                    };
                    match parts[2..] {
                        [] => empty_object,
                        ["role"] => text(&entry.role),
                        ["content"] => text(&entry.content),
                        _ => false,
                    }
                }
                ["metadata"] => leaf.is_null() || empty_object && call.metadata.is_some(),
                ["metadata", "call_start_time"] => instant(metadata.call_start_time),
                ["metadata", "call_end_time"] => instant(metadata.call_end_time),
                ["metadata", "language"] => text(&metadata.language),
                _ => false,
            }
        }
        _ => false,
    }
}

/// Writes JSON with random variations: keys in any order and sometimes twice, white space, escapes.
struct Variation(StdRng);

impl Variation {
    fn write(&mut self, value: &Value) -> String {
        let written = match value {
            Value::Object(object) => {
                let mut entries: Vec<_> = object.iter().collect();
                for last in (1..entries.len()).rev() {
                    entries.swap(last, self.below(last + 1));
                }
                let mut parts = Vec::new();
                for (key, value) in entries {
                    if self.below(4) == 0 {
                        parts.push(format!("{}:[0]", self.text(key)));
                    }
                    let (key, value) = (self.text(key), self.write(value));
                    parts.push(format!("{key}{}:{value}", self.space()));
                }
                format!("{{{}{}}}", self.space(), parts.join(","))
            }
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| self.write(item)).collect();
                format!("[{}{}]", self.space(), items.join(","))
            }
            Value::String(text) => self.text(text),
            scalar => scalar.to_string(),
        };
        format!("{}{written}{}", self.space(), self.space())
    }

    fn text(&mut self, text: &str) -> String {
        let mut written = String::from("\"");
        for character in text.chars() {
            if self.below(3) == 0 {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    written.push_str(&format!("\\u{unit:04X}"));
                }
            } else {
                let quoted = json!(character).to_string();
                written.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
        written + "\""
    }

    fn space(&mut self) -> &'static str {
        ["", "", "", " ", "\n\t", "\r\n"][self.below(6)]
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }
}
