//! Keeps web pages out of a loopback door that asks for no credentials.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{Uri, header, uri::Authority};

use super::status::Failure;

/// The middleware. Its state is the list of origins whose pages may read answers.
///
/// A web page can send requests to this machine from its own origin (the Origin header), or to a
/// name of its own that resolves to this machine (the Host header). Neither may read calls here.
pub(super) async fn check(
    State(allowed): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
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
        if !here && !allowed.iter().any(|allowed| allowed == origin) {
            return Err(Failure::OriginDenied { header: "origin" });
        }
    }
    Ok(next.run(request).await)
}

/// Whether `host`, with or without a port, can mean only this machine.
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
}
