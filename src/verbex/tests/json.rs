//! Random JSON for tests, and unmodeled fields as JSON.

use proptest::prelude::*;
use prost_types::{Struct, value::Kind};
use serde_json::{Map, Value, json};

/// Any value, a few levels deep. A double can hold its numbers exactly.
pub(in crate::verbex) fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..6)
                .prop_map(|map| Map::from_iter(map).into()),
        ]
    })
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1000_i32..1000).prop_map(|n| json!(f64::from(n) / 8.0)),
        ".{0,8}".prop_map(Value::from),
        Just(json!("2026-04-27T12:53:25.241195387Z")),
    ]
}

/// A value that mostly fits some type of field.
fn field() -> impl Strategy<Value = Value> {
    prop_oneof![4 => leaf(), 1 => value()]
}

/// A webhook that resembles one of Verbex's: known names with values that may fit, and other names.
pub(super) fn webhook() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "CallHandler.CallStarted",
        "CallHandler.CallEnded",
        "CallHandler.CallTransferred",
        "callAnalysis.pcaCompleted",
        "x.y",
        "",
    ]);
    let envelope = fields(
        vec![
            "eventName",
            "event",
            "traceId",
            "organizationId",
            "timestamp",
            "payload",
            "other",
        ],
        field().boxed(),
    );
    (name, payload(), envelope, any::<bool>(), any::<bool>()).prop_map(
        |(name, payload, mut envelope, named, flat)| {
            if flat {
                envelope.extend(payload);
            } else {
                envelope.insert("payload".into(), payload.into());
            }
            if named {
                envelope.insert("eventName".into(), name.into());
            }
            envelope.into()
        },
    )
}

fn payload() -> impl Strategy<Value = Map<String, Value>> {
    let texts = || {
        let texts = prop::collection::vec(".{0,8}", 0..4).prop_map(Value::from);
        prop_oneof![4 => texts, 1 => field()]
    };
    let object = |names: Vec<&'static str>, value: BoxedStrategy<Value>| {
        prop_oneof![4 => fields(names, value).prop_map(Value::from), 1 => field()].boxed()
    };
    let entry = object(vec!["role", "content", "at"], field().boxed());
    let transcript =
        prop_oneof![4 => prop::collection::vec(entry, 0..4).prop_map(Value::from), 1 => field()];
    let summary = object(
        vec![
            "duration_seconds",
            "topics_discussed",
            "actions_taken",
            "unresolved_issues",
            "transfer_reason",
            "customer_sentiment",
            "new",
        ],
        prop_oneof![texts(), field()].boxed(),
    );
    let caller = object(vec!["phone_number", "name"], field().boxed());
    let metadata = object(
        vec!["call_start_time", "call_end_time", "language", "region"],
        field().boxed(),
    );
    let scalars = fields(
        vec![
            "agent_id",
            "agentId",
            "call_id",
            "callId",
            "status",
            "transfer_to",
            "reason",
            "timestamp",
            "new",
        ],
        field().boxed(),
    );
    let parts = prop::option::of((transcript, summary, caller, metadata));
    (scalars, parts).prop_map(|(mut payload, parts)| {
        if let Some((transcript, summary, caller, metadata)) = parts {
            payload.insert("transcript".into(), transcript);
            payload.insert("call_summary".into(), summary);
            payload.insert("caller".into(), caller);
            payload.insert("metadata".into(), metadata);
        }
        payload
    })
}

/// A random selection of these fields.
fn fields(
    names: Vec<&'static str>,
    value: BoxedStrategy<Value>,
) -> impl Strategy<Value = Map<String, Value>> {
    let count = names.len();
    let names = prop::sample::subsequence(names, 0..=count);
    names.prop_flat_map(move |names| {
        let count = names.len();
        prop::collection::vec(value.clone(), count)
            .prop_map(move |values| names.iter().map(ToString::to_string).zip(values).collect())
    })
}

/// The same value with every number as a double, as unmodeled fields have them.
pub(super) fn doubles(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(items) => items.iter().map(doubles).collect(),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.clone(), doubles(value)))
            .collect(),
        other => other.clone(),
    }
}

/// Unmodeled fields in canonical protobuf JSON; null if there are none.
pub(super) fn from_struct(unmodeled: Option<&Struct>) -> Value {
    unmodeled.map_or(Value::Null, object)
}

fn object(object: &Struct) -> Value {
    object
        .fields
        .iter()
        .map(|(key, value)| (key.clone(), from_proto(value)))
        .collect()
}

fn from_proto(value: &prost_types::Value) -> Value {
    match value.kind.as_ref().unwrap() {
        Kind::NullValue(_) => Value::Null,
        Kind::BoolValue(bool) => (*bool).into(),
        Kind::NumberValue(number) => (*number).into(),
        Kind::StringValue(text) => text.as_str().into(),
        Kind::ListValue(list) => list.values.iter().map(from_proto).collect(),
        Kind::StructValue(fields) => object(fields),
    }
}
