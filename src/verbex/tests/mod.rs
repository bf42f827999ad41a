//! The promises of normalization, by golden samples, by table and by property.

mod bounds;
mod golden;
pub(super) mod json;
mod properties;
mod sources;
mod tolerance;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Normalized, Reason, Rules, normalize};
use crate::proto::{self, Event, event::Payload};

/// The event name of a transfer.
const TRANSFER: &str = "CallHandler.CallTransferred";

/// The receive time of the webhooks in these tests.
const RECEIVE_TIME: &str = "2026-05-01T00:00:00.000000001Z";

fn receive_time() -> Timestamp {
    RECEIVE_TIME.parse().unwrap()
}

fn rules() -> Rules {
    Rules {
        organization: None,
        id_key: [7; 32],
    }
}

fn read(headers: &[(&str, &str)], body: impl Into<Bytes>) -> Normalized {
    let headers: Vec<_> = headers
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    normalize(&rules(), headers, body.into(), receive_time()).unwrap()
}

fn event(body: &str) -> Event {
    read(&[], body.to_owned()).event.event
}

fn surprises(normalized: &Normalized) -> Vec<(String, Reason)> {
    normalized
        .surprises
        .iter()
        .map(|surprise| (surprise.field.to_string(), surprise.reason))
        .collect()
}

/// Checks what is left over of a body, and the reasons.
#[track_caller]
fn check_left(body: &Value, unmodeled: &Value, reasons: &[(&str, Reason)]) -> Event {
    let normalized = read(&[], body.to_string());
    let event = &normalized.event.event;
    assert_eq!(
        json::from_struct(event.unmodeled_fields.as_ref()),
        json::doubles(unmodeled),
        "{body}"
    );
    let reasons: Vec<_> = reasons
        .iter()
        .map(|&(field, reason)| (field.to_owned(), reason))
        .collect();
    let found: Vec<_> = surprises(&normalized)
        .into_iter()
        .filter(|(_, reason)| *reason != Reason::Missing)
        .collect();
    assert_eq!(found, reasons, "{body}");
    normalized.event.event
}

/// A flat transfer with these fields.
fn transfer(fields: Value) -> Value {
    let mut body = json!({ "eventName": TRANSFER });
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body
}

/// The payload of a transfer.
fn transferred(event: Event) -> proto::CallTransferred {
    match event.payload {
        Some(Payload::CallTransferred(payload)) => payload,
        other => panic!("{other:?}"),
    }
}
