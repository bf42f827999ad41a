//! Answers requests that are not gRPC: they are told what this port is.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};

/// Why a request is not gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Foreign {
    Method,
    ContentType,
    Version,
}

/// The middleware. Its state says where webhooks go.
pub(super) async fn refuse(
    State(webhooks): State<Arc<str>>,
    request: Request,
    next: Next,
) -> Response {
    match foreign(request.method(), request.headers(), request.version()) {
        None => next.run(request).await,
        Some(foreign) => answer(foreign, &webhooks, request.version()),
    }
}

fn foreign(method: &Method, headers: &HeaderMap, version: Version) -> Option<Foreign> {
    if method != Method::POST {
        return Some(Foreign::Method);
    }
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let Some(kind) = content_type.strip_prefix("application/grpc") else {
        return Some(Foreign::ContentType);
    };
    if kind.starts_with("-web") {
        return None;
    }
    if !(kind.is_empty() || kind.starts_with(['+', ';', ' '])) {
        return Some(Foreign::ContentType);
    }
    (version < Version::HTTP_2).then_some(Foreign::Version)
}

fn answer(foreign: Foreign, webhooks: &str, version: Version) -> Response {
    let (status, why) = match foreign {
        Foreign::Method => (
            StatusCode::METHOD_NOT_ALLOWED,
            "a gRPC call uses the method POST",
        ),
        Foreign::ContentType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the content type of a gRPC call begins with application/grpc",
        ),
        Foreign::Version => (
            StatusCode::BAD_REQUEST,
            "gRPC needs HTTP/2, and only gRPC-Web goes over HTTP/1.1",
        ),
    };
    let message = format!("this port speaks gRPC and gRPC-Web, for subscribers: {why}; {webhooks}");
    let error = serde_json::json!({"code": "NOT_GRPC", "message": message});
    let body = serde_json::json!({ "error": error }).to_string();
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if foreign == Foreign::Method {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    // The body is not read, so the connection must end. Over HTTP/2 only the stream ends.
    if version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_let_through_and_all_else_is_told_why_not() {
        let check = |method: Method, content_type: &str, version: Version, expected| {
            let value = content_type.parse().unwrap();
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value)]);
            let found = foreign(&method, &headers, version);
            assert_eq!(found, expected, "{method} {content_type} {version:?}");
        };
        let (old, new) = (Version::HTTP_11, Version::HTTP_2);
        for kind in [
            "application/grpc",
            "application/grpc+proto",
            "Application/gRPC;x=y",
        ] {
            check(Method::POST, kind, new, None);
            check(Method::POST, kind, old, Some(Foreign::Version));
        }
        for kind in ["application/grpc-web", "application/grpc-web-text+proto"] {
            check(Method::POST, kind, new, None);
            check(Method::POST, kind, old, None);
        }
        for kind in ["application/json", "application/grpcx", "", "text/plain"] {
            check(Method::POST, kind, new, Some(Foreign::ContentType));
        }
        check(Method::GET, "application/grpc", new, Some(Foreign::Method));
        check(Method::HEAD, "", old, Some(Foreign::Method));
    }
}
