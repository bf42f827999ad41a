//! What to do about each error: the retry table, and how long to wait.

use std::time::Duration;

use tonic::Code;

use super::{Error, backoff};
use Advice::{Resume, Stop};

/// What a client does about an error. Whichever it is, the cursor stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// It passes: try again later, with the same cursor.
    Resume,
    /// It does not pass by itself: somebody has to decide.
    Stop,
}

/// The retry table: every reason that a gateway gives.
pub(super) const BY_REASON: &[(&str, Advice)] = &[
    ("DRAINING", Resume),
    ("LOG_UNAVAILABLE", Resume),
    ("SUBSCRIBER_LIMIT", Resume),
    ("REQUEST_LIMIT", Resume),
    ("REQUEST_TIMEOUT", Resume),
    ("INTERNAL", Resume),
    ("DEADLINE_EXCEEDED", Resume),
    // An operator wanted it to end: coming back at once would undo that.
    ("DISCONNECTED", Stop),
    ("CURSOR_EXPIRED", Stop),
    ("CURSOR_FOREIGN_LOG", Stop),
    ("CURSOR_INVALID", Stop),
    ("INVALID_REQUEST", Stop),
    ("EVENT_NOT_FOUND", Stop),
    ("SUBSCRIBER_NOT_FOUND", Stop),
    ("SERVICE_UNKNOWN", Stop),
    ("CREDENTIALS_INVALID", Stop),
    ("SCOPE_DENIED", Stop),
    ("ORIGIN_DENIED", Stop),
    ("METHOD_UNKNOWN", Stop),
    ("ENCODING_UNSUPPORTED", Stop),
    ("ENCODING_MISSING", Stop),
    ("CONTENT_TYPE_UNSUPPORTED", Stop),
    ("LOG_DAMAGED", Stop),
];

impl Error {
    /// Whether it may pass by waiting. If so, try again with the same cursor; if not, somebody has
    /// to decide.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Address(_)
            | Self::Ca(_)
            | Self::Token
            | Self::Unreadable { .. }
            | Self::CursorExpired { .. } => false,
            Self::Unreachable { .. }
            | Self::PlainText { .. }
            | Self::Untrusted { .. }
            | Self::NotGrpc { .. }
            | Self::Lost { .. }
            | Self::Silent { .. } => true,
            Self::Refused { code, reason, .. } => advice(*code, reason) == Resume,
        }
    }

    /// How long to wait before another attempt, after `failures` in a row before this one:
    /// exponential [`backoff`] with full jitter, and at least as long as the gateway asks for.
    #[must_use]
    pub fn retry_in(&self, failures: u32) -> Duration {
        let asked = match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        };
        backoff::pause(failures, asked)
    }
}

fn advice(code: Code, reason: &str) -> Advice {
    if let Some((_, advice)) = BY_REASON.iter().find(|(known, _)| *known == reason) {
        return *advice;
    }
    // No reason, or one that a later gateway made: a proxy on the way answers so. Its code is all
    // there is.
    match code {
        Code::Unavailable
        | Code::Unknown
        | Code::Internal
        | Code::Aborted
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::ResourceExhausted => Resume,
        _ => Stop,
    }
}
