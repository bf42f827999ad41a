//! The overview of this door: HTML for a browser, text for all other clients.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// The paths of this door, each with a description.
const PLACES: [(&str, &str); 4] = [
    ("/metrics", "metrics for Prometheus"),
    ("/livez", "answers 200 while the process runs"),
    (
        "/readyz",
        "answers 200 if the gateway takes webhooks and subscribers, otherwise 503 with the reason",
    ),
    (
        "/descriptor.binpb",
        "the descriptors of the gRPC API, for tools such as grpcurl -protoset",
    ),
];
const ELSEWHERE: &str = "Webhooks and gRPC have ports of their own.";

/// The page at `/`.
pub(super) async fn index(headers: HeaderMap) -> Response {
    page(&headers, StatusCode::OK, "operations")
}

/// The answer at every other path.
pub(super) async fn not_found(headers: HeaderMap) -> Response {
    page(
        &headers,
        StatusCode::NOT_FOUND,
        "there is nothing at this path",
    )
}

/// The answer to methods other than GET and HEAD.
pub(super) async fn read_only() -> Response {
    let told = "use GET or HEAD: nothing can be changed on this port\n";
    (StatusCode::METHOD_NOT_ALLOWED, told).into_response()
}

fn page(headers: &HeaderMap, status: StatusCode, about: &str) -> Response {
    let accept = headers.get(header::ACCEPT).map(HeaderValue::as_bytes);
    let for_browser = String::from_utf8_lossy(accept.unwrap_or_default()).contains("text/html");
    let vary = [(header::VARY, HeaderValue::from_static("accept"))];
    if for_browser {
        (status, vary, Html(html(about))).into_response()
    } else {
        (status, vary, text(about)).into_response()
    }
}

fn text(about: &str) -> String {
    let places = PLACES.map(|(path, meaning)| format!("{path:<18} {meaning}\n"));
    format!(
        "{}: {about}\n\n{}\n{ELSEWHERE}\n",
        program(),
        places.concat()
    )
}

fn html(about: &str) -> String {
    let places = PLACES.map(|(path, meaning)| {
        format!("<tr><td><a href=\"{path}\">{path}</a></td><td>{meaning}</td></tr>\n")
    });
    let program = program();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{program}</title>\n\
         <style>body {{ font: 1rem sans-serif; margin: 2rem }} td {{ padding: .2rem 1rem .2rem 0 \
         }}</style>\n<h1>{program}</h1>\n<p>{about}</p>\n<table>\n{}</table>\n<p>{ELSEWHERE}</p>\n",
        places.concat()
    )
}

fn program() -> String {
    format!("verbex-gateway {}", env!("CARGO_PKG_VERSION"))
}
