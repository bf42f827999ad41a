//! A web page cannot read calls from a gateway on its visitor's machine, and one that may can.

use reqwest::{Client, Method, RequestBuilder};
use verbex_gateway::proto::GetStatusRequest;

use crate::support::{
    bodies::call_started,
    process::{Gateway, Setup},
    webhook::{Answer, Http, client},
};

const LIST: &str = "verbex.gateway.v1.EventService/ListEvents";
/// A gRPC-Web message of no bytes: an empty `ListEventsRequest`.
const EMPTY: &[u8] = &[0, 0, 0, 0, 0];

fn web(gateway: &Gateway) -> (Client, String) {
    let client = client(std::path::Path::new(""), Http::One);
    (client, format!("http://{}/{LIST}", gateway.grpc))
}

async fn ask(request: RequestBuilder) -> reqwest::Response {
    let request = request
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1");
    request.body(EMPTY).send().await.unwrap()
}

/// The status of a gRPC-Web answer: in the head of a refusal, else in the last frame.
async fn status(response: reqwest::Response) -> (String, String) {
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    if let Some(status) = header("grpc-status") {
        return (
            status,
            header("grpc-status-details-bin").unwrap_or_default(),
        );
    }
    let body = response.bytes().await.unwrap();
    let text = String::from_utf8_lossy(&body);
    let status = text.split("grpc-status:").nth(1).expect("trailers");
    (
        status
            .trim()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect(),
        String::new(),
    )
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_and_this_machine_is_not() {
    let gateway = Gateway::start().await;
    let (client, url) = web(&gateway);
    for (header, value) in [
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example:50051"),
        ("host", "localhost.evil.example"),
        ("origin", "https://evil.example"),
        ("origin", "http://localhost.evil.example"),
        ("origin", "null"),
    ] {
        let response = ask(client.post(&url).header(header, value)).await;
        assert_eq!(response.headers().get("access-control-allow-origin"), None);
        let (status, details) = status(response).await;
        assert_eq!(status, "7", "{header}: {value}");
        assert!(!details.is_empty());
    }
    for (header, value) in [
        ("host", "localhost:50051"),
        ("host", "127.0.0.1"),
        ("host", "[::1]:50051"),
        ("origin", "http://localhost:3000"),
        ("origin", "http://127.0.0.1"),
    ] {
        let response = ask(client.post(&url).header(header, value)).await;
        assert_eq!(status(response).await.0, "0", "{header}: {value}");
    }
}

#[tokio::test]
async fn the_refusal_is_an_error_like_any_other() {
    let gateway = Gateway::start().await;
    let channel =
        tonic::transport::Channel::from_shared(format!("http://{}", gateway.grpc)).unwrap();
    let channel = channel.origin("http://evil.example".parse().unwrap());
    let channel = channel.connect().await.unwrap();
    let mut client = verbex_gateway::proto::event_service_client::EventServiceClient::new(channel);
    let status = client
        .subscribe(verbex_gateway::proto::SubscribeRequest::default())
        .await
        .unwrap_err();
    let refusal = crate::support::grpc::Refusal::of(&status);
    assert_eq!(
        refusal.row(),
        (tonic::Code::PermissionDenied, "ORIGIN_DENIED")
    );
    assert_eq!(refusal.metadata["header"], "host");
}

#[tokio::test]
async fn a_configured_origin_may_read_answers_and_nobody_else() {
    const PAGE: &str = "https://calls.example.com";
    let gateway = Setup::new()
        .set("GRPC_CORS_ALLOWED_ORIGINS", PAGE)
        .start()
        .await;
    gateway.post(call_started(1)).await;
    let (client, url) = web(&gateway);
    let preflight = async |origin: &str| {
        let request = client
            .request(Method::OPTIONS, &url)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "content-type,x-grpc-web,grpc-timeout,authorization,traceparent,\
                 connect-protocol-version",
            );
        Answer::of(request.send().await.unwrap()).await
    };
    let allowed = preflight(PAGE).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(PAGE));
    let headers = allowed
        .header("access-control-allow-headers")
        .unwrap()
        .to_lowercase();
    for name in [
        "content-type",
        "x-grpc-web",
        "grpc-timeout",
        "authorization",
        "traceparent",
        "connect-protocol-version",
    ] {
        assert!(headers.contains(name), "{headers}");
    }
    let vary = allowed.header("vary").unwrap();
    for name in ["origin", "access-control-request-headers"] {
        assert!(vary.contains(name), "{vary}");
    }
    let max_age = allowed.header("access-control-max-age").unwrap();
    assert_eq!(max_age, "7200");
    let other = preflight("https://other.example.com").await;
    assert_eq!(other.header("access-control-allow-origin"), None);

    let response = ask(client.post(&url).header("origin", PAGE)).await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_lowercase();
    assert_eq!(header("access-control-allow-origin"), PAGE);
    let exposed = header("access-control-expose-headers");
    for name in [
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "grpc-accept-encoding",
    ] {
        assert!(exposed.contains(name), "{exposed}");
    }
    assert_eq!(status(response).await.0, "0");
    let response = ask(client
        .post(&url)
        .header("origin", "https://other.example.com"))
    .await;
    assert_eq!(status(response).await.0, "7");
}

#[tokio::test]
async fn grpc_web_streams_over_http_1() {
    let gateway = Gateway::start().await;
    let (client, url) = web(&gateway);
    let url = url.replace("ListEvents", "Subscribe");
    let mut response = ask(client.post(&url)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "application/grpc-web+proto"
    );
    let first = crate::support::soon("a progress", response.chunk())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first[0], 0, "a message, not trailers");
    gateway.post(call_started(1)).await;
    let event = crate::support::soon("an event", response.chunk())
        .await
        .unwrap()
        .unwrap();
    let name = b"CallHandler.CallStarted";
    assert!(event.windows(name.len()).any(|window| window == name));
}

#[tokio::test]
async fn operators_calls_that_a_proxy_hands_on_need_credentials() {
    let gateway = Gateway::start().await;
    for header in ["x-forwarded-for", "forwarded"] {
        let mut request = tonic::Request::new(GetStatusRequest {});
        request
            .metadata_mut()
            .insert(header, "203.0.113.9".parse().unwrap());
        let refused = gateway.admin().await.get_status(request).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{header}");
    }
    gateway
        .admin()
        .await
        .get_status(GetStatusRequest {})
        .await
        .unwrap();
}

#[tokio::test]
async fn a_request_that_is_no_message_is_the_callers_fault() {
    let gateway = Gateway::start().await;
    let (client, url) = web(&gateway);
    let request = client
        .post(url)
        .header("content-type", "application/grpc-web+proto")
        .body(vec![0, 0, 0, 0, 2, 0xff, 0xff]);
    let (code, _) = status(request.send().await.unwrap()).await;
    assert_eq!(code, (tonic::Code::InvalidArgument as i32).to_string());
}
