//! From a webhook of Verbex to an [`Event`](crate::proto::Event): the only room that knows Verbex's
//! JSON.
//!
//! [`normalize()`] is a pure function of configuration, headers, body and receive time. There is no
//! I/O here, no clock and no state, so an old event can be read again by a later version from what
//! the log keeps of it.
//!
//! Verbex's guide says that the structure may change without notice, and contradicts itself in
//! places. So nothing in a JSON object is refused: what fits the schema is typed, what does not is
//! in `unmodeled_fields` at its path, and each such difference is a [`Surprise`] that operators can
//! count.
//!
//! The way of a body:
//!
//! ```text
//! bytes ──json──▶ a tree that keeps what was written ──identity──▶ id
//!                        └──fields, payload, time──▶ typed fields
//!                                └── what is left ──unmodeled──▶ unmodeled_fields
//! ```
//!
//! Invariants
//! - The body is kept byte for byte, whatever becomes of it.
//! - All work is linear in the body, but for sorting the keys of an object.
//! - An event of a body of up to 1.75 MiB, with the body beside it, stays under 4 MiB and 100
//!   protobuf levels: each value of the body has at most one typed home, `unmodeled_fields` and
//!   headers have bounds of their own.

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
    json::LEVELS_MAX,
    normalize::normalize,
    surprise::{Path, Reason, Surprise},
};

use crate::event::NewEvent;

/// What the operator decided, and what the log was made with.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// The organization of events that name none, as Verbex's transfers do.
    pub organization: Option<String>,
    /// Key of the ids in this log: without it nobody can guess a redacted value and check the guess
    /// against an id.
    pub id_key: [u8; 32],
}

/// An event, and what was odd about it.
#[derive(Clone, Debug)]
pub(crate) struct Normalized {
    /// Ready for the log.
    pub event: NewEvent,
    /// Where the webhook differs from Verbex's guide: each place and reason once, sorted.
    pub surprises: Vec<Surprise>,
    /// The paths of fields that the schema has no place for, the first of them, each once. For
    /// people, not for metrics: the names are the sender's, with `*` for each that does not look
    /// like the name of a field.
    pub unknown: Vec<String>,
}

/// Why a body is no event. The texts never quote the body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// Text in units of 16 or 32 bits.
    #[error("the body is UTF-16 or UTF-32; send it as UTF-8")]
    Wide,
    /// Not text.
    #[error("the body is not UTF-8: byte {valid_up_to} is the first that does not fit")]
    NotUtf8 {
        /// How many bytes are fine.
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
