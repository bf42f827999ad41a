//! What normalization promises, by golden samples, by table and by property.

mod bounds;
mod golden;
pub(super) mod json;
mod properties;
mod table;

use bytes::Bytes;
use jiff::Timestamp;

use super::{Normalized, Reason, Rules, normalize};
use crate::proto;

/// When the webhooks of the tests come in.
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
    normalize(&rules(), &headers, body.into(), receive_time()).unwrap()
}

fn event(body: &str) -> proto::Event {
    read(&[], body.to_owned()).event.event
}

fn surprises(normalized: &Normalized) -> Vec<(String, Reason)> {
    normalized
        .surprises
        .iter()
        .map(|surprise| (surprise.field.to_string(), surprise.reason))
        .collect()
}
