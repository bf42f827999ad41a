//! The id of an event. Two webhooks with the same id are the same event.
//!
//! Verbex's guide says to deduplicate by `traceId`, but in its own samples a call's start, end and
//! analysis share one, and transfers have none. So the id is made from the whole content of a
//! webhook except the top-level `timestamp`, which may be new in a redelivery. With any other
//! difference it is another event: a repeat is better than a loss.
//!
//! # Frozen
//!
//! The id is the first 128 bits of BLAKE3, keyed with the log's key, over
//!
//! 1. the byte `1`;
//! 2. `event_name` as in the event;
//! 3. `trace_id` as in the event;
//! 4. the body in canonical form, without its top-level `timestamp`;
//!
//! where 2 to 4 are UTF-8, each after its length in bytes (64 bits, little endian). The canonical
//! form is JSON without white space, objects sorted by key (by bytes) with the last of repeated
//! keys, numbers as written, and strings with only `"`, `\` and lone surrogates escaped (`\"`,
//! `\\`, `\ud800`). So different lone surrogates give different ids, although they are the same
//! text in the event. No upgrade may change any of this: a log would store the same webhook twice.

use super::json::{Object, Text, Value};
use crate::event::EventId;

const VERSION: u8 = 1;

/// The id of an event. `body_bytes` is the size of the body as received; the canonical form is
/// never longer.
pub(super) fn event_id(
    key: &[u8; 32],
    event_name: &str,
    trace_id: &str,
    body: &Object<'_>,
    body_bytes: usize,
) -> EventId {
    let mut canonical = String::with_capacity(body_bytes);
    write_object(&mut canonical, body, |key| key.canonical() != "timestamp");

    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&[VERSION]);
    for part in [event_name, trace_id, &canonical] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    EventId(id)
}

fn write_object(out: &mut String, object: &Object<'_>, takes_part: impl Fn(&Text<'_>) -> bool) {
    let entries = object.entries().iter().filter(|(key, _)| takes_part(key));
    out.push('{');
    for (place, (key, value)) in entries.enumerate() {
        if place > 0 {
            out.push(',');
        }
        write_text(out, key);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

fn write_value(out: &mut String, value: &Value<'_>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(number),
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(object) => write_object(out, object, |_| true),
    }
}

fn write_text(out: &mut String, text: &Text<'_>) {
    out.push('"');
    out.push_str(text.canonical());
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::{super::json::parse, *};

    fn id(event_name: &str, trace_id: &str, body: &str) -> String {
        let object = parse(body.as_bytes()).unwrap();
        event_id(&[7; 32], event_name, trace_id, &object, body.len()).to_string()
    }

    #[test]
    fn the_canonical_form_is_sorted_bare_and_as_written() {
        let check = |body: &str, expected: &str| {
            let mut canonical = String::new();
            write_object(&mut canonical, &parse(body.as_bytes()).unwrap(), |_| true);
            assert_eq!(canonical, expected);
            assert!(canonical.len() <= body.len());
        };
        check(" { } ", "{}");
        check(
            r#"{ "b" : [ 1.0 , -0, 1e400, null, true, false ], "a" : { "\u007a" : "\u00e9\/\"\\\uD800\n", "B" : 0, "B" : {} } }"#,
            "{\"a\":{\"B\":{},\"z\":\"é/\\\"\\\\\\ud800\n\"},\"b\":[1.0,-0,1e400,null,true,false]}",
        );
    }

    /// If one of these changes, every existing log breaks.
    #[test]
    fn ids_are_frozen() {
        for (event_name, trace_id, body, expected) in [
            ("", "", "{}", "9b146010721460dcbae0f749df741bfe"),
            (
                "CallHandler.CallStarted",
                "69ef5c43425e3c729ab8c83f",
                r#"{"timestamp":1,"a":"\ud800\u00e9"}"#,
                "87ddcb7f33d439047b48077d53cb1ea3",
            ),
        ] {
            assert_eq!(id(event_name, trace_id, body), expected);
        }
    }

    #[test]
    fn what_says_the_same_has_the_same_id() {
        let same = |one: &str, other: &str| {
            assert_eq!(id("n", "t", one), id("n", "t", other), "{one} {other}")
        };
        same(r#"{"a":1,"b":[]}"#, "{ \"b\" : [ ] ,\n\"a\" : 1 }");
        same(r#"{"a":"\u0041\/"}"#, r#"{"a":"A/"}"#);
        same(
            r#"{"timestamp":1,"a":1}"#,
            r#"{"timestamp":[2],"a":1,"timestamp":3}"#,
        );
        same(r#"{"a":1}"#, r#"{"a":1,"timestamp":null}"#);
        same(r#"{"a":0,"a":1}"#, r#"{"a":1}"#);
    }

    #[test]
    fn what_differs_anywhere_else_has_another_id() {
        let differ = |one: &str, other: &str| {
            assert_ne!(id("n", "t", one), id("n", "t", other), "{one} {other}")
        };
        differ(r#"{"status":"pending"}"#, r#"{"status":"success"}"#);
        differ(r#"{"a":{"timestamp":1}}"#, r#"{"a":{"timestamp":2}}"#);
        differ(r#"{"a":1}"#, r#"{"a":1.0}"#);
        differ(r#"{"a":null}"#, "{}");
        differ(r#"{"a":"1"}"#, r#"{"a":1}"#);
        differ(r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#);
        differ(r#"{"a":"\ud800"}"#, r#"{"a":"\ud801"}"#);
        differ(r#"{"a":"\ud800"}"#, r#"{"a":"\ufffd"}"#);
        differ(r#"{"a":"\ud800"}"#, r#"{"a":"\\ud800"}"#);
        differ(r#"{"a":"\u0000"}"#, r#"{"a":""}"#);
        assert_ne!(id("ab", "c", "{}"), id("a", "bc", "{}"));
        assert_ne!(id("a", "", "{}"), id("", "a", "{}"));
    }

    #[test]
    fn without_the_key_an_id_says_nothing() {
        let object = parse(b"{}").unwrap();
        assert_ne!(
            event_id(&[0; 32], "", "", &object, 2),
            event_id(&[1; 32], "", "", &object, 2)
        );
    }
}
