//! What can go wrong between a client and its gateway.

use std::{
    error::Error as StdError,
    io,
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The texts of tonic's errors for a message that it cannot decode, and for one over 4 MiB. These
/// errors have no types of their own.
const UNREADABLE: [&str; 2] = [
    "failed to decode Protobuf message",
    "Error, decoded message length too large",
];

/// Why a call failed, or a stream ended.
///
/// [`may_pass`](Self::may_pass) says whether waiting helps. A [`Subscriber`](super::Subscriber)
/// waits by itself, and ends only with errors that do not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not the address of a gateway.
    #[error(
        "`{0}` is not the address of a gateway; write http://HOST:PORT, or https://HOST:PORT where \
         it has TLS"
    )]
    Address(String),
    /// The CA certificates cannot be used.
    #[error("cannot use these CA certificates: {0}")]
    Ca(String),
    /// The token has characters that a header cannot hold.
    #[error(
        "the token has characters that a token cannot have; check that it comes from the right file"
    )]
    Token,
    /// The gateway cannot be reached.
    #[error(
        "no gateway answers at {address} ({why}); is it running? `verbex-gateway serve` starts one"
    )]
    Unreachable {
        /// The gateway's address.
        address: String,
        /// What the system said.
        why: String,
    },
    /// The address is https, but the port speaks plain text.
    #[error(
        "{address} does not speak TLS ({why}); if the gateway has no TLS there, write http:// \
         instead of https://"
    )]
    PlainText {
        /// The gateway's address.
        address: String,
        /// What TLS said.
        why: String,
    },
    /// The gateway's certificate is not trusted.
    #[error(
        "the certificate of {address} is not trusted ({why}); give the CA that signed it, and \
         connect to a name that it is for"
    )]
    Untrusted {
        /// The gateway's address.
        address: String,
        /// What TLS said.
        why: String,
    },
    /// The first answer is not gRPC: the port belongs to another service, or it uses TLS and the
    /// address is http.
    #[error(
        "{address} does not answer in gRPC over {} ({why}); check that it is the gRPC address{}",
        if address.starts_with("https") { "TLS" } else { "plain text" },
        if address.starts_with("https") {
            ", not the webhook's"
        } else {
            ", and write https:// if it has TLS"
        },
    )]
    NotGrpc {
        /// The gateway's address.
        address: String,
        /// What was wrong.
        why: String,
    },
    /// The connection was lost.
    #[error("the connection to {address} was lost ({why})")]
    Lost {
        /// The gateway's address.
        address: String,
        /// What the system said.
        why: String,
    },
    /// No message came for two progress intervals.
    #[error("{address} has sent nothing for {} s, so the connection is dead", after.as_secs_f64())]
    Silent {
        /// The gateway's address.
        address: String,
        /// How long there was no message.
        after: Duration,
    },
    /// The gateway sent a message that this version cannot read. The client does not skip it, and a
    /// new attempt would get it again, so a person must find the cause.
    #[error(
        "{address} sent a message that this client cannot read ({why}); check for a newer version \
         of the client"
    )]
    Unreadable {
        /// The gateway's address.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// Retention has removed the events after the cursor. To continue without them, subscribe again
    /// with `earliest_cursor`.
    #[error("the events after this cursor have been removed from the log (CURSOR_EXPIRED); {}",
        earliest_time.map_or_else(
            || "no event is left".to_owned(),
            |time| format!("the earliest one left was received at {}", Timestamp::from(time)),
        ))]
    CursorExpired {
        /// A cursor right before the earliest event.
        earliest_cursor: Option<String>,
        /// When the earliest event was received; none if the log is empty.
        earliest_time: Option<SystemTime>,
    },
    /// The gateway refused the call or ended the stream, with a status.
    #[error("{message} ({})", if reason.is_empty() { code_name(*code) } else { reason })]
    Refused {
        /// The code of gRPC.
        code: Code,
        /// The reason in `google.rpc.ErrorInfo`. Decide by it. It is empty if the error comes from
        /// a proxy, not from the gateway.
        reason: String,
        /// A message for people.
        message: String,
        /// How long the gateway asks to wait.
        retry_after: Option<Duration>,
    },
}

impl Error {
    /// The gateway's reason; empty if it gave none.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { reason, .. } => reason,
            Self::CursorExpired { .. } => "CURSOR_EXPIRED",
            _ => "",
        }
    }

    /// The error for a status from this address.
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
                    .and_then(|time| time.parse::<Timestamp>().ok()?.try_into().ok()),
            };
        }
        if reason.is_empty()
            && let Some(source) = status.source()
        {
            return Self::from_transport(address, source);
        }
        if reason.is_empty()
            && UNREADABLE
                .iter()
                .any(|told| status.message().starts_with(told))
        {
            return Self::Unreadable {
                address: address.to_owned(),
                why: status.message().to_owned(),
            };
        }
        Self::Refused {
            code: status.code(),
            reason,
            message: status.message().to_owned(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
        }
    }

    /// The same error, for a connection that has never had an answer. If such a connection is lost,
    /// the port is probably wrong.
    pub(super) fn before_any_answer(self) -> Self {
        match self {
            Self::Lost { address, why } => Self::NotGrpc { address, why },
            other => other,
        }
    }

    /// The error for a failure below gRPC. It depends on the innermost cause.
    pub(super) fn from_transport(address: &str, error: &(dyn StdError + 'static)) -> Self {
        let address = address.to_owned();
        let why = innermost(error).to_string();
        let causes = || causes(error);
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

/// The innermost cause of an error.
pub(super) fn innermost<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    causes(error).last().unwrap_or(error)
}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause| inner(*cause))
}

/// The cause of an error. For an I/O error this is the error that it wraps, which `source` skips.
fn inner<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => io
            .get_ref()
            .map(|wrapped| wrapped as &(dyn StdError + 'static)),
        None => error.source(),
    }
}

/// The code as the specification of gRPC writes it.
pub(super) fn code_name(code: Code) -> &'static str {
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
