//! Makes an [`Event`](crate::proto::Event) from a webhook: the only room that knows Verbex's JSON.
//!
//! [`normalize()`] is a pure function of configuration, headers, body and receive time. There is no
//! I/O here, no clock and no state, so a later version can read an old event again from its body
//! and headers in the log.
//!
//! Verbex's guide says that the structure may change without notice, and contradicts itself in
//! places. So every JSON object is accepted. Values that fit the schema become typed fields. The
//! others are in `unmodeled_fields` at their paths, and each difference from the guide is a
//! [`Surprise`] that is counted for operators.
//!
//! The steps:
//!
//! ```text
//! bytes ──json──▶ a tree that keeps what was written ──identity──▶ id
//!                        └──fields, payload, time──▶ typed fields
//!                                └── what is left ──unmodeled──▶ unmodeled_fields
//! ```
//!
//! Invariants
//! - The body is always stored byte for byte.
//! - All work is linear in the body, except sorting the keys of an object.
//! - The event of a body of up to 1.75 MiB, together with the body, stays under 4 MiB and 100
//!   protobuf levels: each value of the body is in at most one typed field, and `unmodeled_fields`
//!   and headers have their own bounds.

mod fields;
mod headers;
mod identity;
mod json;
mod key;
mod normalize;
mod number;
mod payload;
mod surprise;
mod time;
mod unmodeled;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    headers::keeps_header,
    json::LEVELS_MAX,
    normalize::normalize,
    surprise::{Path, Reason, Surprise},
};

use crate::event::NewEvent;

/// The operator's setting, and the key of the log.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The organization of events that name none, as Verbex's transfers do.
    pub organization: Option<String>,
    /// Key of the ids in this log: without it nobody can guess a redacted value and check the guess
    /// against an id.
    pub id_key: [u8; 32],
}

/// An event, and its differences from the guide.
#[derive(Clone, Debug)]
pub(crate) struct Normalized {
    /// Ready for the log.
    pub event: NewEvent,
    /// Where the webhook differs from Verbex's guide: each place and reason once, sorted.
    pub surprises: Vec<Surprise>,
    /// The paths of the first unknown fields, each once. For people, not for metrics, because the
    /// sender chooses the names. A key that does not look like the name of a field is `*`.
    pub unknown: Vec<String>,
}

/// Why a body is refused. The texts never quote the body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// Text in units of 16 or 32 bits.
    #[error("the body is UTF-16 or UTF-32; send it as UTF-8")]
    Wide,
    /// Not text.
    #[error("the body is not UTF-8: byte {valid_up_to} is the first that does not fit")]
    NotUtf8 {
        /// The number of valid bytes before the fault.
        valid_up_to: usize,
    },
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// JSON, but an array, a string, a number or a word.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// A JSON object that is nested too deep.
    #[error("the body is nested deeper than {LEVELS_MAX} levels")]
    TooDeep,
}
