//! Every way in which a call can fail. Nothing else in the crate chooses a gRPC code.

use std::{collections::HashMap, fmt, time::Duration};

use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::{
    event::{Epoch, Sequence},
    fanout::{EndReason, NoSuchSubscriber, SubscribeError},
    log::{Earliest, EraseError, ReadError, cursor},
};

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "verbex.gateway";
/// The value of `grpc-accept-encoding` for requests.
const ENCODINGS_ACCEPTED: &str = "gzip,zstd,identity";

/// Why a call fails, with everything that its answer has to contain.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The request breaks a rule of the contract.
    InvalidRequest(Vec<Violation>),
    /// The text is not a cursor.
    CursorInvalid { empty: bool },
    /// The cursor is of a log that was recreated, restored or rewound.
    CursorForeignLog,
    /// Retention has removed the events after the cursor.
    CursorExpired {
        earliest_cursor: String,
        earliest_time: Option<Timestamp>,
    },
    /// No event has that id.
    EventNotFound { id: String },
    /// No subscription has that id.
    SubscriberNotFound { id: String },
    /// There are no credentials, or they are wrong or expired.
    CredentialsInvalid,
    /// The credentials are good, but not for this method.
    ScopeDenied { method: String },
    /// The request comes from a web page of another site, or names another host than this machine.
    OriginDenied { header: &'static str },
    /// There are as many subscribers as allowed.
    SubscriberLimit { limit: usize },
    /// This connection, or all of them, have as many open calls or incomplete requests as allowed.
    RequestLimit { what: &'static str, limit: usize },
    /// The request, or one of its messages, did not come in time.
    RequestTimeout,
    /// The gateway is shutting down.
    Draining,
    /// The log cannot be read now.
    LogUnavailable,
    /// What the log holds is not what was written.
    LogDamaged {
        /// The first event that cannot be read.
        sequence: Option<Sequence>,
        /// What leads past the damage, by its name in the metadata.
        past: Option<(&'static str, String)>,
    },
    /// An operator ended the stream.
    Disconnected,
    /// The caller's own deadline has passed.
    DeadlineExceeded,
    /// There is no such method.
    MethodUnknown { method: String },
    /// The gateway does not know how the request's messages are compressed.
    EncodingUnsupported { encoding: String },
    /// A message is compressed, but the request names no compression.
    EncodingMissing,
    /// The request's messages are not protobuf.
    ContentTypeUnsupported { content_type: String },
    /// A health check named a service that the gateway does not have.
    ServiceUnknown,
    /// Anything else; `id` is also in the gateway's log.
    Internal { id: String },
}

/// A field of a request, by its path, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub field: String,
    pub description: String,
}

impl Failure {
    /// Logs the error under an id. The caller is told only the id.
    pub(super) fn internal(error: &dyn fmt::Display) -> Self {
        let id = format!("{:016x}", rand::random::<u64>());
        tracing::error!(id, %error, "internal error");
        Self::Internal { id }
    }

    /// For a request that the library could not read.
    pub(super) fn unreadable(status: &Status) -> Self {
        tracing::debug!(%status, "a request cannot be read");
        // The library says this only in the message's text. A test watches that text.
        if status.message().contains("compressed-flag") {
            return Self::EncodingMissing;
        }
        Self::InvalidRequest(vec![Violation {
            field: "request".into(),
            description: "is not a message of this method, is not compressed as grpc-encoding \
                 says, or is too large (the limit is 64 KiB for health and reflection, 4 MiB for \
                 all others)"
                .into(),
        }])
    }

    pub(super) fn end(reason: EndReason, epoch: Epoch) -> Self {
        match reason {
            EndReason::Draining => Self::Draining,
            EndReason::Disconnected => Self::Disconnected,
            EndReason::Expired(earliest) => Self::expired(&earliest, epoch),
            EndReason::Damaged(damage) => Self::LogDamaged {
                sequence: damage.map(|damage| damage.sequence),
                past: damage.map(|damage| ("next_cursor", cursor::encode(epoch, &damage.behind()))),
            },
            EndReason::Deadline => Self::DeadlineExceeded,
            EndReason::CredentialsExpired => Self::CredentialsInvalid,
        }
    }

    pub(super) fn subscribe(error: &SubscribeError, epoch: Epoch) -> Self {
        match error {
            SubscribeError::Limit { limit } => Self::SubscriberLimit { limit: *limit },
            SubscribeError::Draining => Self::Draining,
            SubscribeError::ForeignLog => Self::CursorForeignLog,
            SubscribeError::Log(error) => Self::read(error, epoch),
        }
    }

    pub(super) fn read(error: &ReadError, epoch: Epoch) -> Self {
        match error {
            ReadError::Unavailable(_) => {
                tracing::warn!(%error, "cannot read");
                Self::LogUnavailable
            }
            ReadError::Damaged { damage, .. } => Self::LogDamaged {
                sequence: damage.map(|damage| damage.sequence),
                past: None,
            },
            ReadError::Expired(earliest) => Self::expired(earliest, epoch),
        }
    }

    pub(super) fn erase(error: &EraseError, epoch: Epoch) -> Self {
        match error {
            EraseError::Read(error) => Self::read(error, epoch),
            EraseError::Write(_) => {
                tracing::warn!(%error, "cannot erase");
                Self::LogUnavailable
            }
        }
    }

    /// For a log that holds something else than an event at `sequence`.
    pub(super) fn damaged(sequence: Sequence, error: &dyn fmt::Display) -> Self {
        tracing::error!(sequence = sequence.0, %error, "the log is damaged");
        Self::LogDamaged {
            sequence: Some(sequence),
            past: None,
        }
    }

    fn expired(earliest: &Earliest, epoch: Epoch) -> Self {
        Self::CursorExpired {
            earliest_cursor: cursor::encode(epoch, &earliest.before),
            earliest_time: earliest.time,
        }
    }

    pub(super) fn disconnect(_: &NoSuchSubscriber, id: String) -> Self {
        Self::SubscriberNotFound { id }
    }

    /// The contract's table of codes and reasons.
    pub(super) fn code_and_reason(&self) -> (Code, &'static str) {
        match self {
            Self::InvalidRequest(_) => (Code::InvalidArgument, "INVALID_REQUEST"),
            Self::CursorInvalid { .. } => (Code::InvalidArgument, "CURSOR_INVALID"),
            Self::CursorForeignLog => (Code::FailedPrecondition, "CURSOR_FOREIGN_LOG"),
            Self::CursorExpired { .. } => (Code::OutOfRange, "CURSOR_EXPIRED"),
            Self::EventNotFound { .. } => (Code::NotFound, "EVENT_NOT_FOUND"),
            Self::SubscriberNotFound { .. } => (Code::NotFound, "SUBSCRIBER_NOT_FOUND"),
            Self::CredentialsInvalid => (Code::Unauthenticated, "CREDENTIALS_INVALID"),
            Self::ScopeDenied { .. } => (Code::PermissionDenied, "SCOPE_DENIED"),
            Self::OriginDenied { .. } => (Code::PermissionDenied, "ORIGIN_DENIED"),
            Self::SubscriberLimit { .. } => (Code::ResourceExhausted, "SUBSCRIBER_LIMIT"),
            Self::RequestLimit { .. } => (Code::ResourceExhausted, "REQUEST_LIMIT"),
            Self::RequestTimeout => (Code::DeadlineExceeded, "REQUEST_TIMEOUT"),
            Self::Draining => (Code::Unavailable, "DRAINING"),
            Self::LogUnavailable => (Code::Unavailable, "LOG_UNAVAILABLE"),
            Self::LogDamaged { .. } => (Code::DataLoss, "LOG_DAMAGED"),
            Self::Disconnected => (Code::Aborted, "DISCONNECTED"),
            Self::DeadlineExceeded => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            Self::MethodUnknown { .. } => (Code::Unimplemented, "METHOD_UNKNOWN"),
            Self::EncodingUnsupported { .. } => (Code::Unimplemented, "ENCODING_UNSUPPORTED"),
            // gRPC's rules for compression demand this code.
            Self::EncodingMissing => (Code::Internal, "ENCODING_MISSING"),
            Self::ContentTypeUnsupported { .. } => {
                (Code::Unimplemented, "CONTENT_TYPE_UNSUPPORTED")
            }
            Self::ServiceUnknown => (Code::NotFound, "SERVICE_UNKNOWN"),
            Self::Internal { .. } => (Code::Internal, "INTERNAL"),
        }
    }

    /// How long the client should wait, if that helps. The answer gets a random multiple of it.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Draining | Self::LogUnavailable => Some(Duration::from_secs(2)),
            Self::SubscriberLimit { .. } => Some(Duration::from_secs(10)),
            Self::RequestLimit { .. } => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The variable parts of the message.
    fn metadata(&self) -> HashMap<String, String> {
        let pairs: Vec<(&str, String)> = match self {
            Self::CursorExpired {
                earliest_cursor,
                earliest_time,
            } => {
                let cursor = ("earliest_cursor", earliest_cursor.clone());
                let time = earliest_time.map(|time| ("earliest_time", time.to_string()));
                std::iter::once(cursor).chain(time).collect()
            }
            Self::LogDamaged { sequence, past } => {
                let sequence = sequence.map(|sequence| ("sequence", sequence.to_string()));
                sequence.into_iter().chain(past.clone()).collect()
            }
            Self::EventNotFound { id }
            | Self::SubscriberNotFound { id }
            | Self::Internal { id } => vec![("id", id.clone())],
            Self::ScopeDenied { method } | Self::MethodUnknown { method } => {
                vec![("method", method.clone())]
            }
            Self::OriginDenied { header } => vec![("header", (*header).into())],
            Self::SubscriberLimit { limit } | Self::RequestLimit { limit, .. } => {
                vec![("limit", limit.to_string())]
            }
            Self::EncodingUnsupported { encoding } => vec![("encoding", encoding.clone())],
            Self::ContentTypeUnsupported { content_type } => {
                vec![("content_type", content_type.clone())]
            }
            _ => Vec::new(),
        };
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    fn violations(&self) -> Vec<FieldViolation> {
        match self {
            Self::InvalidRequest(violations) => violations
                .iter()
                .map(|violation| FieldViolation::new(&violation.field, &violation.description))
                .collect(),
            Self::CursorInvalid { .. } => {
                vec![FieldViolation::new("after_cursor", self.to_string())]
            }
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRequest(violations) => {
                let texts: Vec<String> = violations
                    .iter()
                    .map(|violation| format!("{} {}", violation.field, violation.description))
                    .collect();
                write!(f, "invalid request: {}", texts.join("; "))
            }
            Self::CursorInvalid { empty: true } => f.write_str(
                "after_cursor is empty: on a first run leave start unset to begin with new events, \
                 or choose a start_position",
            ),
            Self::CursorInvalid { empty: false } => f.write_str(
                "after_cursor is not a cursor: pass the cursor of the last message received, \
                 unchanged, or choose a start_position",
            ),
            Self::CursorForeignLog => f.write_str(
                "the cursor belongs to another log, or this log was recreated, restored or \
                 rewound since. Choose a start_position or start_time; events may come again, so \
                 deduplicate by id",
            ),
            Self::CursorExpired {
                earliest_cursor,
                earliest_time,
            } => {
                f.write_str("the events after the cursor have been removed by retention")?;
                if let Some(time) = earliest_time {
                    write!(
                        f,
                        "; the earliest event that is left was received at {time}"
                    )?;
                }
                write!(f, ". To continue there, use after_cursor {earliest_cursor}")
            }
            Self::EventNotFound { id } => write!(f, "no event has the id {id:?}"),
            Self::SubscriberNotFound { id } => write!(f, "no open subscription has the id {id:?}"),
            Self::CredentialsInvalid => f.write_str("credentials are missing or not valid"),
            Self::ScopeDenied { method } => write!(f, "these credentials do not allow {method}"),
            Self::OriginDenied { header } => write!(
                f,
                "the {header} header does not name this machine, and this door asks for no \
                 credentials: connect to localhost, or configure a token or the allowed origin",
            ),
            Self::SubscriberLimit { limit } => {
                write!(
                    f,
                    "there are already {limit} subscribers, and this gateway takes no more"
                )
            }
            Self::RequestLimit { what, limit } => {
                write!(
                    f,
                    "there are already {limit} {what}, the most that one connection or all \
                     together may have"
                )
            }
            Self::RequestTimeout => f.write_str(
                "the request did not arrive within 10 s (each message on a request stream has \
                     the same limit)",
            ),
            Self::Draining => {
                f.write_str("the gateway is shutting down: subscribe again with the last cursor")
            }
            Self::LogUnavailable => f.write_str("the log is unavailable at the moment"),
            Self::LogDamaged { sequence, past } => {
                match sequence {
                    Some(sequence) => write!(f, "the event at sequence {sequence} is damaged")?,
                    None => f.write_str("the log is damaged here")?,
                }
                f.write_str(": restore a backup of the log, ")?;
                if let Some(sequence) = sequence {
                    write!(
                        f,
                        "erase it (verbex-gateway log erase --sequence {sequence}), "
                    )?;
                }
                f.write_str("or begin after it")?;
                match past {
                    Some((name, past)) => write!(f, ", for example with {name} {past}"),
                    None => Ok(()),
                }
            }
            Self::Disconnected => f.write_str("an operator ended this subscription"),
            Self::DeadlineExceeded => f.write_str("the deadline of this call has passed"),
            Self::MethodUnknown { method } => {
                write!(
                    f,
                    "this gateway has no method {method:?}: reflection lists its methods"
                )
            }
            Self::EncodingUnsupported { encoding } => write!(
                f,
                "the request is compressed as {encoding:?}, which this gateway does not support: \
                 send {ENCODINGS_ACCEPTED}",
            ),
            Self::EncodingMissing => f.write_str(
                "a message is flagged as compressed, but grpc-encoding does not say how: set it, \
                 or send the message uncompressed",
            ),
            Self::ContentTypeUnsupported { content_type } => write!(
                f,
                "the content type {content_type:?} is not supported: send protobuf, as \
                 application/grpc or application/grpc-web",
            ),
            Self::ServiceUnknown => f.write_str("this gateway has no such service"),
            Self::Internal { id } => {
                write!(
                    f,
                    "internal error {id}: the gateway's log has the details under this id"
                )
            }
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let (code, reason) = failure.code_and_reason();
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, DOMAIN, failure.metadata());
        let violations = failure.violations();
        if !violations.is_empty() {
            details.set_bad_request(violations);
        }
        if let Some(after) = failure.retry_after() {
            // Between once and twice the time, so that clients refused together do not return
            // together.
            details.set_retry_info(Some(after.mul_f64(1.0 + rand::random::<f64>())));
        }
        let mut status = Self::with_error_details(code, failure.to_string(), details);
        if let Failure::EncodingUnsupported { .. } = failure {
            let accepted = MetadataValue::from_static(ENCODINGS_ACCEPTED);
            status
                .metadata_mut()
                .insert("grpc-accept-encoding", accepted);
        }
        status
    }
}

/// The answer of a layer in front of the services.
impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        Status::from(self).into_http()
    }
}

#[cfg(test)]
mod tests;
