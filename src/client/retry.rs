//! The retry table: whether an error passes by waiting, and how long to wait.

use std::time::Duration;

use tonic::Code;

use super::{Error, backoff};
use Advice::{Resume, Stop};

/// What a client does about an error. The cursor stays the same in both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Try again later, with the same cursor.
    Resume,
    /// The error does not pass by waiting: the program or a person decides.
    Stop,
}

/// The retry table: every reason of a gateway.
pub(super) const BY_REASON: &[(&str, Advice)] = &[
    ("DRAINING", Resume),
    ("LOG_UNAVAILABLE", Resume),
    ("SUBSCRIBER_LIMIT", Resume),
    ("REQUEST_LIMIT", Resume),
    ("REQUEST_TIMEOUT", Resume),
    ("INTERNAL", Resume),
    ("DEADLINE_EXCEEDED", Resume),
    // An operator ended the stream; an immediate new attempt would undo that.
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
    /// Whether the error may pass by waiting. If true, try again with the same cursor. If false,
    /// the program or a person must decide.
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

    /// How long to wait before another attempt: exponential [`backoff`] with full jitter, and at
    /// least as long as the gateway asks for. `failures` is the number of failures in a row before
    /// this one.
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
    // There is no reason (a proxy answered), or it is a later gateway's. Decide by the code.
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
