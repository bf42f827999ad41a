//! What erasing is about: which events, and what the writer is asked to do.

use std::fmt;

use tokio::sync::oneshot;

use super::phone::Phone;
use crate::event::Sequence;

/// Which events to erase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Those of a call.
    Call(String),
    /// Those that hold a phone number anywhere in their body or headers.
    Phone(Phone),
    /// One event, even if it is damaged.
    Sequence(Sequence),
}

/// Without the phone number, which belongs into no log line.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(call) => write!(f, "call {call:?}"),
            Self::Phone(_) => f.write_str("a phone number"),
            Self::Sequence(sequence) => write!(f, "sequence {sequence}"),
        }
    }
}

/// What one look for events has found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub sequences: Vec<Sequence>,
    /// Everything up to here was looked at.
    pub covered: Sequence,
    /// Events that cannot be read, so nobody knows what is in them.
    pub damaged: u64,
}

/// What the writer is asked to do. A text says why it could not.
#[derive(Debug)]
pub(crate) enum Job {
    /// To erase these events. It answers how many it has erased.
    Rows {
        target: Target,
        rows: Vec<Sequence>,
        answer: oneshot::Sender<Result<u64, String>>,
    },
    /// To try once to remove what was erased from the files beside the log.
    Clean {
        answer: oneshot::Sender<Result<Cleaned, String>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cleaned {
    All,
    /// A checkpoint runs.
    Later,
    /// Somebody reads the log, and may still need what was erased.
    Held,
}
