//! What stands before every method: who may call it, from where, and until when; and that every
//! error says why.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderValue, Uri, header, uri::Authority};
use jiff::Timestamp;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::status::Failure;
use crate::{auth::Tokens, proto};

/// The rules of this door.
pub(super) struct Guard {
    /// Who may subscribe; if nobody is named, everybody may.
    pub tokens: Tokens,
    /// Whether the door is open to this machine alone.
    pub loopback: bool,
    /// Origins of web pages that may read the answers.
    pub cors_origins: Vec<String>,
    /// Whether events are served: not any more while the gateway leaves.
    pub serving: Arc<AtomicBool>,
}

/// Until when a call may go on and why no longer, in the extensions of a request.
#[derive(Clone, Debug)]
pub(super) struct Until {
    pub at: Instant,
    pub failure: Failure,
}

/// The middleware.
pub(super) async fn guard(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let uri = request.uri().clone();
    let expiry = match guard.check(&request) {
        Ok(expiry) => expiry,
        Err(failure) => return answer(failure),
    };
    let deadline = grpc_timeout(request.headers()).map(|timeout| Until {
        at: Instant::now() + timeout,
        failure: Failure::DeadlineExceeded,
    });
    let Some(until) = [deadline, expiry]
        .into_iter()
        .flatten()
        .min_by_key(|until| until.at)
    else {
        return complete(next.run(request).await, uri.path());
    };
    request.extensions_mut().insert(until.clone());
    // Bounds the answer's head; a stream's body looks at its end itself.
    match tokio::time::timeout_at(until.at, next.run(request)).await {
        Ok(response) => complete(response, uri.path()),
        Err(_) => answer(until.failure),
    }
}

/// Services that whoever reaches the door may ask: what any client of any gateway may know.
const OPEN: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Whether the method at `path` is of a service that needs no credentials.
pub(super) fn is_open(path: &str) -> bool {
    OPEN.contains(&service(path))
}

fn service(path: &str) -> &str {
    let mut parts = path.trim_start_matches('/').split('/');
    parts.next().unwrap_or_default()
}

impl Guard {
    /// Lets a request in, perhaps only until its credentials expire.
    fn check(&self, request: &Request) -> Result<Option<Until>, Failure> {
        let open = self.tokens.is_empty();
        if open && self.loopback {
            self.check_origin(request)?;
        }
        let path = request.uri().path();
        if is_open(path) {
            check_content(request.headers())?;
            return Ok(None);
        }
        let admin = service(path) == proto::admin_service_server::SERVICE_NAME;
        let expiry = self.check_credentials(request.headers(), path, admin)?;
        // Operators may watch to the end.
        if !admin && !self.serving.load(Ordering::Relaxed) {
            return Err(Failure::Draining);
        }
        check_content(request.headers())?;
        Ok(expiry)
    }

    fn check_credentials(
        &self,
        headers: &HeaderMap,
        path: &str,
        admin: bool,
    ) -> Result<Option<Until>, Failure> {
        if self.tokens.is_empty() {
            let from_here = self.loopback && !is_forwarded(headers);
            return if admin && !from_here {
                Err(Failure::CredentialsInvalid)
            } else {
                Ok(None)
            };
        }
        let authorization = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let now = Timestamp::now();
        let identity = self.tokens.check(authorization, now).map_err(|denied| {
            tracing::debug!(%denied, "credentials refused");
            Failure::CredentialsInvalid
        })?;
        if admin && !identity.admin {
            let method = path.trim_start_matches('/').into();
            return Err(Failure::ScopeDenied { method });
        }
        Ok(identity.expires.map(|expires| Until {
            at: Instant::now()
                + Duration::try_from(expires.duration_since(now)).unwrap_or_default(),
            failure: Failure::CredentialsInvalid,
        }))
    }

    /// A web page may send requests to this machine, under its own name (Origin) or under a name of
    /// its own that it lets resolve to this machine (Host). Neither may read calls here.
    fn check_origin(&self, request: &Request) -> Result<(), Failure> {
        let host = request
            .headers()
            .get(header::HOST)
            .map(|host| host.to_str().unwrap_or_default());
        let authority = request.uri().authority().map(Authority::as_str);
        if let Some(host) = authority.or(host)
            && !is_loopback(host)
        {
            return Err(Failure::OriginDenied { header: "host" });
        }
        if let Some(origin) = request.headers().get(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let here = origin
                .parse::<Uri>()
                .is_ok_and(|uri| uri.authority().is_some_and(|at| is_loopback(at.as_str())));
            if !here && !self.cors_origins.iter().any(|allowed| allowed == origin) {
                return Err(Failure::OriginDenied { header: "origin" });
            }
        }
        Ok(())
    }
}

/// How messages may be written: gRPC-Web has become gRPC before. What is no gRPC at all is not for
/// the guard to explain.
const CONTENT_TYPES: [&str; 2] = ["application/grpc", "application/grpc+proto"];
const ENCODINGS: [&str; 3] = ["identity", "gzip", "zstd"];

/// Whether the messages are protobuf, and compressed in no other way than the services accept.
fn check_content(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()))
    };
    let shown = |text: &str| text.chars().take(64).collect();
    if let Some(content_type) = text("content-type") {
        let known = content_type.split(';').next().unwrap_or_default().trim();
        if content_type.starts_with(CONTENT_TYPES[0]) && !CONTENT_TYPES.contains(&known) {
            return Err(Failure::ContentTypeUnsupported {
                content_type: shown(&content_type),
            });
        }
    }
    match text("grpc-encoding") {
        Some(encoding) if !ENCODINGS.contains(&&*encoding) => Err(Failure::EncodingUnsupported {
            encoding: shown(&encoding),
        }),
        _ => Ok(()),
    }
}

/// Whether a proxy says that it hands this on for somebody else, who may be anywhere.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(header::FORWARDED) || headers.contains_key("x-forwarded-for")
}

/// Whether `host`, with or without a port, can only mean this machine.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let name_is_local =
        name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
    name_is_local
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// gRPC over HTTP/2, "Timeout": at most eight digits and a unit. One that cannot be read is left
/// out.
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

/// Errors that the library made have no details: gives them some.
fn complete(response: Response, path: &str) -> Response {
    let bare = response.headers().contains_key(Status::GRPC_STATUS)
        && !response.headers().contains_key(Status::GRPC_STATUS_DETAILS);
    match Status::from_header_map(response.headers()).filter(|_| bare) {
        None => response,
        Some(status) => match status.code() {
            Code::Ok => response,
            Code::Unimplemented => answer(Failure::MethodUnknown {
                method: path.trim_start_matches('/').chars().take(256).collect(),
            }),
            Code::NotFound => answer(Failure::ServiceUnknown),
            // Our own failures have details: this is the library, which could not read the request.
            Code::Internal | Code::OutOfRange | Code::ResourceExhausted => {
                answer(Failure::unreadable(&status))
            }
            _ => answer(Failure::internal(&status)),
        },
    }
}

fn answer(failure: Failure) -> Response {
    Status::from(failure).into_http::<Body>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        let check = |host: &str, expected: bool| assert_eq!(is_loopback(host), expected, "{host}");
        check("localhost", true);
        check("LOCALHOST:50051", true);
        check("app.localhost:1", true);
        check("127.0.0.1:50051", true);
        check("127.8.9.10", true);
        check("[::1]:50051", true);
        check("[::ffff:127.0.0.1]", true);
        check("example.org", false);
        check("localhost.example.org", false);
        check("127.0.0.1.example.org", false);
        check("10.0.0.1", false);
        check("", false);
        check("a b", false);
    }

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
