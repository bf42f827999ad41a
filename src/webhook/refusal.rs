//! The table of refusals, with status and code.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

use crate::{
    log::AppendError,
    verbex::{self, BodyError},
};

/// Why a webhook is refused, in the order of the checks. Nothing else in the crate chooses an HTTP
/// status for the door.
///
/// The message says what is wrong with the request. It never says which secret is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Invalid HTTP/1.1; the HTTP library answers it.
    #[error("the request is not valid HTTP")]
    RequestInvalid,
    #[error("the request's path is too long")]
    PathTooLong,
    #[error(
        "the request's head is too large: over {} bytes or {} headers",
        super::HEAD_BYTES_MAX,
        super::HEADERS_MAX
    )]
    HeadersTooLarge,
    /// Another path, or a wrong path secret: both get exactly the same answer.
    #[error("there is nothing at this path")]
    NotFound,
    #[error("this path takes only POST")]
    MethodNotAllowed,
    #[error("the credentials are missing or wrong")]
    CredentialsInvalid,
    #[error("requests from this address are not allowed")]
    AddressDenied,
    #[error("too many requests; try again in {} s", seconds(*retry_after))]
    RateLimited { retry_after: Duration },
    #[error(
        "the content type is not JSON; send the JSON itself, not a form or text, as \
         application/json"
    )]
    ContentTypeUnsupported,
    #[error(
        "the content encoding is not one of gzip, deflate and identity; compress the body with \
         one of them, or send it uncompressed"
    )]
    EncodingUnsupported,
    /// The gateway has stopped, and its log is closed.
    #[error(
        "the gateway is shutting down; try again in {} s",
        seconds(DRAINING_RETRY)
    )]
    Draining,
    #[error("the body is over {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("the body did not arrive within {} s", seconds(*limit))]
    BodyTimeout { limit: Duration },
    #[error("{reason}")]
    BodyInvalid { reason: Cow<'static, str> },
    #[error("the body's chunks or length are not valid HTTP")]
    BodyUnframed,
    /// The body is incomplete. The connection is probably lost, so nobody reads this answer.
    #[error("the body ended too early")]
    BodyBrokenOff,
    #[error("the body is nested deeper than {} levels", verbex::LEVELS_MAX)]
    BodyTooDeep,
    #[error(
        "the log is not available or too slow; send the event again in {} s, it is stored once",
        seconds(LOG_RETRY)
    )]
    LogUnavailable,
    /// A bug in the gateway; its own log says more.
    #[error("the gateway failed on this request")]
    Internal,
}

/// Makes [`CODES`], and the status and the code of each [`Refusal`]. One that is not listed does
/// not compile.
macro_rules! answers {
    ($($($refusal:ident)|+ => $status:ident, $code:literal;)+) => {
        /// The label of a request's counter: `OK`, each code of the table, or `CLIENT_GONE`.
        pub(super) const CODES: [&str; [$($code),+].len() + 2] = [OK, $($code,)+ CLIENT_GONE];

        impl Refusal {
            #[cfg(test)]
            const COUNT: usize = [$($(stringify!($refusal)),+),+].len();

            const fn status_and_code(&self) -> (StatusCode, &'static str) {
                match self { $($(Self::$refusal { .. })|+ => (StatusCode::$status, $code)),+ }
            }
        }
    };
}

answers! {
    RequestInvalid => BAD_REQUEST, "REQUEST_INVALID";
    PathTooLong => URI_TOO_LONG, "PATH_TOO_LONG";
    HeadersTooLarge => REQUEST_HEADER_FIELDS_TOO_LARGE, "HEADERS_TOO_LARGE";
    NotFound => NOT_FOUND, "NOT_FOUND";
    MethodNotAllowed => METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED";
    CredentialsInvalid => UNAUTHORIZED, "CREDENTIALS_INVALID";
    AddressDenied => FORBIDDEN, "ADDRESS_DENIED";
    RateLimited => TOO_MANY_REQUESTS, "RATE_LIMITED";
    ContentTypeUnsupported => UNSUPPORTED_MEDIA_TYPE, "CONTENT_TYPE_UNSUPPORTED";
    EncodingUnsupported => UNSUPPORTED_MEDIA_TYPE, "ENCODING_UNSUPPORTED";
    Draining => SERVICE_UNAVAILABLE, "DRAINING";
    BodyTooLarge => PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE";
    BodyTimeout => REQUEST_TIMEOUT, "BODY_TIMEOUT";
    BodyInvalid | BodyUnframed | BodyBrokenOff => BAD_REQUEST, "BODY_INVALID";
    BodyTooDeep => BAD_REQUEST, "BODY_TOO_DEEP";
    LogUnavailable => SERVICE_UNAVAILABLE, "LOG_UNAVAILABLE";
    Internal => INTERNAL_SERVER_ERROR, "INTERNAL";
}

/// The event is durable.
pub(super) const OK: &str = "OK";
/// The client closed or cancelled before its answer.
pub(super) const CLIENT_GONE: &str = "CLIENT_GONE";

/// `Retry-After` while the log is not available. The log itself tries again each second.
const LOG_RETRY: Duration = Duration::from_secs(5);
/// `Retry-After` after the log has closed: by then the gateway should have been started again.
const DRAINING_RETRY: Duration = Duration::from_secs(5);

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// `reason` is a sentence about the body that does not quote it.
    pub(super) fn body_invalid(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::BodyInvalid {
            reason: reason.into(),
        }
    }

    pub(super) fn answer(&self) -> Answer {
        let (status, code) = self.status_and_code();
        let retry_after = match self {
            Self::RateLimited { retry_after } => Some(*retry_after),
            Self::Draining => Some(DRAINING_RETRY),
            Self::LogUnavailable => Some(LOG_RETRY),
            _ => None,
        };
        Answer {
            status,
            code,
            retry_after,
        }
    }

    /// The label of its counter: its code, or `CLIENT_GONE` for an incomplete body.
    pub(super) fn counted(&self) -> &'static str {
        match self {
            Self::BodyBrokenOff => CLIENT_GONE,
            _ => self.answer().code,
        }
    }

    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let answer = self.answer();
        let mut response = super::json_response(answer.status, self.body());
        let headers = response.headers_mut();
        if let Some(retry_after) = answer.retry_after {
            headers.insert(header::RETRY_AFTER, seconds(retry_after).into());
        }
        if *self == Self::MethodNotAllowed {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }

    pub(super) fn body(&self) -> Bytes {
        let error = json!({"code": self.answer().code, "message": self.to_string()});
        json!({ "error": error }).to_string().into()
    }
}

/// The refusal for a `status` that the HTTP library answers with.
pub(super) fn of_library(status: StatusCode) -> Refusal {
    match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Refusal::HeadersTooLarge,
        StatusCode::URI_TOO_LONG => Refusal::PathTooLong,
        _ => Refusal::RequestInvalid,
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooDeep => Self::BodyTooDeep,
            BodyError::Wide
            | BodyError::NotUtf8 { .. }
            | BodyError::NotJson(_)
            | BodyError::NotAnObject => Self::body_invalid(error.to_string()),
        }
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Unavailable(_) | AppendError::Late | AppendError::Full => {
                Self::LogUnavailable
            }
            AppendError::Closed => Self::Draining,
        }
    }
}

/// Whole seconds for `Retry-After`, rounded up, at least 1.
fn seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;

    /// The contract's table, and the additions to it.
    fn table() -> Vec<(Refusal, u16, &'static str, Option<u64>)> {
        let limit = Duration::from_secs(10);
        let retry_after = Duration::from_millis(1500);
        vec![
            (Refusal::RequestInvalid, 400, "REQUEST_INVALID", None),
            (Refusal::PathTooLong, 414, "PATH_TOO_LONG", None),
            (Refusal::HeadersTooLarge, 431, "HEADERS_TOO_LARGE", None),
            (Refusal::NotFound, 404, "NOT_FOUND", None),
            (Refusal::MethodNotAllowed, 405, "METHOD_NOT_ALLOWED", None),
            (
                Refusal::CredentialsInvalid,
                401,
                "CREDENTIALS_INVALID",
                None,
            ),
            (Refusal::AddressDenied, 403, "ADDRESS_DENIED", None),
            (
                Refusal::RateLimited { retry_after },
                429,
                "RATE_LIMITED",
                Some(2),
            ),
            (
                Refusal::ContentTypeUnsupported,
                415,
                "CONTENT_TYPE_UNSUPPORTED",
                None,
            ),
            (
                Refusal::EncodingUnsupported,
                415,
                "ENCODING_UNSUPPORTED",
                None,
            ),
            (Refusal::Draining, 503, "DRAINING", Some(5)),
            (
                Refusal::BodyTooLarge { limit: 7 },
                413,
                "BODY_TOO_LARGE",
                None,
            ),
            (Refusal::BodyTimeout { limit }, 408, "BODY_TIMEOUT", None),
            (
                Refusal::body_invalid("it is \"odd\""),
                400,
                "BODY_INVALID",
                None,
            ),
            (Refusal::BodyUnframed, 400, "BODY_INVALID", None),
            (Refusal::BodyBrokenOff, 400, "BODY_INVALID", None),
            (Refusal::BodyTooDeep, 400, "BODY_TOO_DEEP", None),
            (Refusal::LogUnavailable, 503, "LOG_UNAVAILABLE", Some(5)),
            (Refusal::Internal, 500, "INTERNAL", None),
        ]
    }

    #[tokio::test]
    async fn every_refusal_is_answered_as_the_contract_says() {
        for (refusal, status, code, retry_after) in table() {
            let response = refusal.response();
            assert_eq!(response.status(), status, "{refusal:?}");
            let header = |name| {
                response
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap())
            };
            assert_eq!(header(header::CONTENT_TYPE), Some("application/json"));
            let expected = retry_after.map(|seconds| seconds.to_string());
            assert_eq!(
                header(header::RETRY_AFTER),
                expected.as_deref(),
                "{refusal:?}"
            );
            let allow = (status == 405).then_some("POST");
            assert_eq!(header(header::ALLOW), allow, "{refusal:?}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let expected = json!({"error": {"code": code, "message": refusal.to_string()}});
            assert_eq!(body, expected, "{refusal:?}");
        }
    }

    #[test]
    fn every_code_is_counted_from_the_start_and_no_other() {
        let table = table();
        assert_eq!(table.len(), Refusal::COUNT);
        let counted = table.iter().map(|(refusal, ..)| refusal.counted());
        let counted: BTreeSet<_> = counted.chain([OK]).collect();
        assert_eq!(counted, BTreeSet::from(CODES));
    }

    #[test]
    fn what_the_log_refuses_may_be_tried_again() {
        let away = AppendError::Unavailable("disk full".into());
        assert_eq!(Refusal::from(away), Refusal::LogUnavailable);
        for slow in [AppendError::Late, AppendError::Full] {
            assert_eq!(Refusal::from(slow), Refusal::LogUnavailable);
        }
        assert_eq!(Refusal::from(AppendError::Closed), Refusal::Draining);
    }

    #[test]
    fn the_librarys_own_answers_have_a_code() {
        for (status, code) in [
            (400, "REQUEST_INVALID"),
            (414, "PATH_TOO_LONG"),
            (431, "HEADERS_TOO_LARGE"),
        ] {
            let body = of_library(StatusCode::from_u16(status).unwrap()).body();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["error"]["code"], code);
        }
    }
}
