//! What can go wrong between a client and its gateway, and what to do about each: the retry table.

use std::{error::Error as StdError, io, time::Duration};

use jiff::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use Advice::{Resume, Stop};

/// Why there is no answer, or no stream any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that cannot be one.
    #[error(
        "`{0}` is not the address of a gateway; write http://HOST:PORT, or https://HOST:PORT where it has TLS"
    )]
    Address(String),
    /// Certificates to trust that are none.
    #[error("cannot use these CA certificates: {0}")]
    Ca(String),
    /// A token that no header can carry.
    #[error("the token has characters that no token has; is it a line of some other file?")]
    Token,
    /// Nobody is there.
    #[error(
        "no gateway answers at {address} ({why}); is it running? `verbex-gateway serve` starts one"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// What the system said.
        why: String,
    },
    /// An https address of a port that speaks plain text.
    #[error(
        "{address} does not speak TLS ({why}); if the gateway has none there, write http:// instead of https://"
    )]
    PlainText {
        /// Where.
        address: String,
        /// What TLS said.
        why: String,
    },
    /// The gateway's certificate is not trusted.
    #[error(
        "the certificate of {address} is not trusted ({why}); give the CA that signed it, with a name that it is for"
    )]
    Untrusted {
        /// Where.
        address: String,
        /// What TLS said.
        why: String,
    },
    /// Somebody is there, and the first answer is none of gRPC's: another service, or TLS on its side only.
    #[error(
        "{address} gives no answer in gRPC over {} ({why}); is it the gRPC address, and {}?",
        if address.starts_with("https") { "TLS" } else { "plain text" },
        if address.starts_with("https") { "not that of the webhook" } else { "does it perhaps want https://" },
    )]
    NotGrpc {
        /// Where.
        address: String,
        /// What was wrong.
        why: String,
    },
    /// The connection was lost.
    #[error("the connection to {address} was lost ({why})")]
    Lost {
        /// Where.
        address: String,
        /// What the system said.
        why: String,
    },
    /// Two progress intervals went by without a message.
    #[error("{address} has said nothing for {} s: the connection is dead", after.as_secs_f64())]
    Silent {
        /// Where.
        address: String,
        /// How long.
        after: Duration,
    },
    /// Retention has removed what comes after the cursor. To go on with what is left, begin at the earliest event, knowingly.
    #[error("the events after this cursor have been removed from the log (CURSOR_EXPIRED); it now begins {}",
        earliest_time.map_or_else(|| "anew".to_owned(), |time| format!("with what was received at {time}")))]
    CursorExpired {
        /// A cursor right before the earliest event.
        earliest_cursor: Option<String>,
        /// When the earliest event was received.
        earliest_time: Option<Timestamp>,
    },
    /// The gateway refused, or ended the stream, and said why.
    #[error("{message} ({})", if reason.is_empty() { code_name(*code) } else { reason })]
    Refused {
        /// The code of gRPC.
        code: Code,
        /// The reason in `google.rpc.ErrorInfo`, which is what to decide by; empty if something on the way refused, not the gateway.
        reason: String,
        /// For people.
        message: String,
        /// How long the gateway asks to wait.
        retry_after: Option<Duration>,
    },
}

/// What a client does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Advice {
    /// It passes: try again later, with the same cursor.
    Resume,
    /// It does not pass by itself: somebody has to decide.
    Stop,
}

/// The retry table. Whatever the reason, the cursor stays the same.
const BY_REASON: &[(&str, Advice)] = &[
    ("DRAINING", Resume),
    ("LOG_UNAVAILABLE", Resume),
    ("SUBSCRIBER_LIMIT", Resume),
    ("INTERNAL", Resume),
    ("INVALID_REQUEST", Stop),
    ("CURSOR_INVALID", Stop),
    ("CURSOR_FOREIGN_LOG", Stop),
    ("CURSOR_EXPIRED", Stop),
    ("EVENT_NOT_FOUND", Stop),
    ("SUBSCRIBER_NOT_FOUND", Stop),
    ("CREDENTIALS_INVALID", Stop),
    ("SCOPE_DENIED", Stop),
    ("LOG_DAMAGED", Stop),
    // An operator wanted it to end: coming back at once would undo that.
    ("DISCONNECTED", Stop),
];

impl Error {
    /// Whether it may pass by waiting. If so, try again with the same cursor; if not, somebody has to decide.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Address(_) | Self::Ca(_) | Self::Token | Self::CursorExpired { .. } => false,
            Self::Unreachable { .. }
            | Self::PlainText { .. }
            | Self::Untrusted { .. }
            | Self::NotGrpc { .. }
            | Self::Lost { .. }
            | Self::Silent { .. } => true,
            Self::Refused { code, reason, .. } => advice(*code, reason) == Resume,
        }
    }

    /// How long the gateway asks to wait before another attempt.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The gateway's reason; empty if it gave none.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { reason, .. } => reason,
            Self::CursorExpired { .. } => "CURSOR_EXPIRED",
            _ => "",
        }
    }

    /// What a status from this address means.
    pub(super) fn from_status(address: &str, status: &Status) -> Self {
        let details = status.get_error_details();
        let (reason, mut metadata) = details
            .error_info()
            .map(|info| (info.reason.clone(), info.metadata.clone()))
            .unwrap_or_default();
        if reason == "CURSOR_EXPIRED" {
            return Self::CursorExpired {
                earliest_cursor: metadata.remove("earliest_cursor"),
                earliest_time: metadata
                    .get("earliest_time")
                    .and_then(|time| time.parse().ok()),
            };
        }
        if reason.is_empty()
            && let Some(source) = status.source()
        {
            return Self::from_transport(address, source);
        }
        Self::Refused {
            code: status.code(),
            reason,
            message: status.message().to_owned(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }

    /// The same error, of a connection on which nothing was ever answered: losing that is how a wrong port looks.
    pub(super) fn before_any_answer(self) -> Self {
        match self {
            Self::Lost { address, why } => Self::NotGrpc { address, why },
            other => other,
        }
    }

    /// What a failure below gRPC means: the innermost cause tells.
    pub(super) fn from_transport(address: &str, error: &(dyn StdError + 'static)) -> Self {
        let address = address.to_owned();
        let causes = || std::iter::successors(Some(error), |cause| inner(*cause));
        let why = causes().last().map(ToString::to_string).unwrap_or_default();
        if let Some(tls) = causes().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            return match tls {
                rustls::Error::InvalidCertificate(_) => Self::Untrusted { address, why },
                rustls::Error::InvalidMessage(_) => Self::PlainText { address, why },
                _ => Self::NotGrpc { address, why },
            };
        }
        let io = causes()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .last();
        match io.map(io::Error::kind) {
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => Self::Lost { address, why },
            Some(_) => Self::Unreachable { address, why },
            None => Self::Lost { address, why },
        }
    }
}

/// What caused an error: also what an I/O error wraps, which its `source` leaves out.
fn inner<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => io
            .get_ref()
            .map(|wrapped| wrapped as &(dyn StdError + 'static)),
        None => error.source(),
    }
}

fn advice(code: Code, reason: &str) -> Advice {
    if let Some((_, advice)) = BY_REASON.iter().find(|(known, _)| *known == reason) {
        return *advice;
    }
    // No reason, or one that a later gateway made: a proxy on the way answers so. Its code is all there is.
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

/// The code as the specification of gRPC writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
