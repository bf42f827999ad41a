//! Adds details to errors that the gRPC library makes without them. Some requests are checked
//! before the library refuses them; other errors are replaced in its answer.

use axum::{extract::Request, middleware::Next, response::Response};
use http::HeaderMap;
use tonic::{Code, Status};

use super::status::Failure;

/// Gives details to errors that the library makes.
pub(super) async fn complete(request: Request, next: Next) -> Result<Response, Failure> {
    check_content(request.headers())?;
    let uri = request.uri().clone();
    let response = next.run(request).await;
    match bare_error(response.headers()) {
        None => Ok(response),
        Some(status) => Err(completed(&status, uri.path())),
    }
}

/// Content types of requests. gRPC-Web was already converted, and any other content was refused.
const CONTENT_TYPES: [&str; 2] = ["application/grpc", "application/grpc+proto"];
const ENCODINGS: [&str; 3] = ["identity", "gzip", "zstd"];

/// Checks that the messages are protobuf, in a compression that the services accept.
fn check_content(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name: &str| {
        let value = headers.get(name);
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

/// The error in an answer's headers, if it has no details.
fn bare_error(headers: &HeaderMap) -> Option<Status> {
    if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return None;
    }
    Status::from_header_map(headers).filter(|status| status.code() != Code::Ok)
}

fn completed(status: &Status, path: &str) -> Failure {
    match status.code() {
        Code::Unimplemented => Failure::MethodUnknown {
            method: path.trim_start_matches('/').chars().take(256).collect(),
        },
        Code::NotFound => Failure::ServiceUnknown,
        // The services' own failures have details, so this one means that the library could not
        // read the request.
        Code::Internal | Code::OutOfRange | Code::ResourceExhausted => Failure::unreadable(status),
        _ => Failure::internal(status),
    }
}
