//! When a call has to end.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::HeaderMap;
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::status::Failure;
use crate::{auth::Grant, event::Epoch, fanout::EndReason};

/// The latest end of a call, and why it then ends. It is in the extensions of every request that
/// has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub at: Instant,
    pub reason: EndReason,
}

/// The middleware. It applies to the time until the answer begins; the body of a stream watches its
/// deadline itself.
pub(super) async fn enforce(
    State(epoch): State<Epoch>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let Some(deadline) = Deadline::of(&request) else {
        return Ok(next.run(request).await);
    };
    request.extensions_mut().insert(deadline);
    timeout_at(deadline.at, next.run(request))
        .await
        .map_err(|_| Failure::end(deadline.reason, epoch))
}

impl Deadline {
    /// The deadline that the caller set, or the end of its rights if that comes first.
    fn of(request: &Request) -> Option<Self> {
        let timeout = grpc_timeout(request.headers()).map(|timeout| Self {
            at: Instant::now() + timeout,
            reason: EndReason::Deadline,
        });
        let grant: Option<&Grant> = request.extensions().get();
        let expiry = grant.and_then(|grant| grant.until).map(|until| {
            let left = until.duration_since(Timestamp::now());
            Self {
                at: Instant::now() + Duration::try_from(left).unwrap_or_default(),
                reason: EndReason::CredentialsExpired,
            }
        });
        let deadlines = timeout.into_iter().chain(expiry);
        deadlines.min_by_key(|deadline| deadline.at)
    }
}

/// The `grpc-timeout` header: at most eight digits and a unit (gRPC over HTTP/2, "Timeout"). Any
/// other value is ignored.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit())
    {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_the_protocol_writes_it() {
        let check = |text: &str, expected: Option<Duration>| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                text.parse().unwrap(),
            )]);
            assert_eq!(grpc_timeout(&headers), expected, "{text}");
        };
        check("1S", Some(Duration::from_secs(1)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("5m", Some(Duration::from_millis(5)));
        check("7u", Some(Duration::from_micros(7)));
        check("0n", Some(Duration::ZERO));
        check("123456789S", None);
        check("S", None);
        check("-1S", None);
        check("1x", None);
    }
}
