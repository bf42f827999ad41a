//! What a subscriber asks for, and why it may be refused.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    filter::{Filter, Selector},
    log::{ReadError, cursor::Cursor},
    view::{Redaction, View},
};

/// What a subscriber wants to follow.
#[derive(Debug)]
pub(crate) struct Request {
    /// Which events it asks for. This is what operators see.
    pub filter: Arc<Filter>,
    /// Which events it gets.
    pub selector: Selector,
    pub view: View,
    pub redaction: Redaction,
    pub encoding: Encoding,
    pub start: Start,
    /// The longest silence on the stream: if nothing else was sent, a progress is.
    pub progress_interval: Duration,
    pub expired: ExpiredAction,
    /// The name that the subscriber gives itself.
    pub name: String,
    /// Address and port of the other end of its connection.
    pub peer: String,
}

/// How the messages of a stream may be compressed. Each message says whether it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// New events only.
    Latest,
    /// Events that the log already holds, then new ones.
    Past(Past),
}

/// A place in what the log holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Past {
    /// Before the earliest event.
    Earliest,
    /// Before the first event that was received at or after a time.
    At(Timestamp),
    /// After a cursor.
    After(Cursor),
}

/// What to do if retention has removed events before the subscriber got them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpiredAction {
    /// End with an error.
    Fail,
    /// Send a gap, and go on with the earliest event.
    Earliest,
}

/// Why a subscription did not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubscribeError {
    #[error("there are already {limit} subscribers, and this gateway takes no more")]
    Limit { limit: usize },
    #[error("the gateway is shutting down")]
    Draining,
    /// The cursor belongs to another log, or to events that were lost when this log was rewound.
    #[error("the cursor is of another log")]
    ForeignLog,
    #[error(transparent)]
    Log(#[from] ReadError),
}
