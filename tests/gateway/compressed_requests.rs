//! Requests may be compressed; what cannot be read says so, and costs no memory.

use std::io::{Read, Write};

use flate2::{Compression, write::GzEncoder};
use reqwest::Response;
use tonic::{Code, Request, Status, codec::CompressionEncoding};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use verbex_gateway::proto::{GetEventRequest, GetStatusRequest, ListEventsRequest};

use crate::support::{
    bodies::call_started,
    grpc::{Refusal, Stream, from_earliest},
    process::Gateway,
    soon,
    webhook::{Http, client},
};

const LIST: &str = "verbex.gateway.v1.EventService/ListEvents";
const CHECK: &str = "grpc.health.v1.Health/Check";

#[tokio::test]
async fn every_service_takes_compressed_requests_and_answers_as_before() {
    let gateway = Gateway::start().await;
    let stored = gateway.post(call_started(1)).await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut events = gateway.events().await.send_compressed(encoding);
        let list = ListEventsRequest::default();
        let listed = soon("a list", events.list_events(list)).await.unwrap();
        assert_eq!(listed.metadata().get("grpc-encoding"), None);
        assert_eq!(listed.into_inner().events[0].id, stored.id);
        let id = stored.id.clone();
        let got = soon("an event", events.get_event(GetEventRequest { id })).await;
        assert_eq!(got.unwrap().into_inner().event.unwrap().id, stored.id);
        let all = from_earliest(Default::default());
        let stream = soon("a stream", events.subscribe(all)).await.unwrap();
        assert_eq!(stream.metadata().get("grpc-encoding"), None);
        let (_, event) = Stream(stream.into_inner()).event().await;
        assert_eq!(event.id, stored.id);

        let mut admin = gateway.admin().await.send_compressed(encoding);
        let status = soon("a status", admin.get_status(GetStatusRequest {})).await;
        assert_eq!(status.unwrap().into_inner().event_count, 1);
        let channel = gateway.channel().await;
        let mut health = HealthClient::new(channel.clone()).send_compressed(encoding);
        let check = HealthCheckRequest::default();
        soon("health", health.check(check)).await.unwrap();
        let mut reflection = ServerReflectionClient::new(channel).send_compressed(encoding);
        let request = ServerReflectionRequest {
            message_request: Some(MessageRequest::ListServices(String::new())),
            ..ServerReflectionRequest::default()
        };
        let asked = reflection.server_reflection_info(tokio_stream::iter([request]));
        let mut answers = soon("reflection", asked).await.unwrap().into_inner();
        assert!(
            soon("an answer", answers.message())
                .await
                .unwrap()
                .is_some()
        );
    }
}

#[tokio::test]
async fn another_compression_is_refused_with_those_that_are_accepted() {
    let gateway = Gateway::start().await;
    for encoding in ["br", "deflate", "snappy", "GZIP", "gzip, zstd"] {
        let mut request = Request::new(ListEventsRequest::default());
        let metadata = request.metadata_mut();
        metadata.insert("grpc-encoding", encoding.parse().unwrap());
        let listed = gateway.events().await.list_events(request).await;
        let status = listed.unwrap_err();
        let refusal = Refusal::of(&status);
        assert_eq!(
            refusal.row(),
            (Code::Unimplemented, "ENCODING_UNSUPPORTED"),
            "{encoding}"
        );
        assert_eq!(refusal.metadata["encoding"], encoding);
        let accepted = status.metadata().get("grpc-accept-encoding");
        assert_eq!(accepted.unwrap(), "gzip,zstd,identity");
    }
    let mut request = Request::new(ListEventsRequest::default());
    let identity = "identity".parse().unwrap();
    request.metadata_mut().insert("grpc-encoding", identity);
    gateway.events().await.list_events(request).await.unwrap();
}

/// A message in its frame: its flag, its length, itself.
fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag][..], &length, message].concat()
}

/// One call by gRPC-Web, and how it ended.
async fn call(gateway: &Gateway, method: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Status {
    let request = client("".as_ref(), Http::One).post(format!("http://{}/{method}", gateway.grpc));
    let request = request
        .header("content-type", "application/grpc-web+proto")
        .body(body);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    let response: Response = soon("an answer", request.send()).await.unwrap();
    Status::from_header_map(response.headers()).unwrap_or_else(|| Status::ok(""))
}

#[tokio::test]
async fn a_message_that_is_flagged_as_compressed_needs_to_say_how() {
    let gateway = Gateway::start().await;
    for headers in [&[][..], &[("grpc-encoding", "identity")]] {
        for method in [LIST, CHECK] {
            let status = call(&gateway, method, headers, framed(1, &[])).await;
            let row = (Code::Internal, "ENCODING_MISSING");
            assert_eq!(Refusal::of(&status).row(), row, "{method}");
        }
    }
    let gzip = [("grpc-encoding", "gzip")];
    // An encoding may be named, and a message still be sent as it is.
    let plain = call(&gateway, LIST, &gzip, framed(0, &[])).await;
    assert_eq!(plain.code(), Code::Ok);
    let broken = call(&gateway, LIST, &gzip, framed(1, b"no gzip")).await;
    let row = (Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(Refusal::of(&broken).row(), row);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn what_is_too_large_once_it_is_unpacked_is_refused_on_the_way() {
    const MIB: usize = 1024 * 1024;
    let gateway = Gateway::start().await;
    // An unknown field of zeros: a message that would be taken, were it small enough.
    let message = |bytes: usize| {
        let mut message = vec![0xfa, 0x3f];
        prost::encode_length_delimiter(bytes, &mut message).unwrap();
        message.resize(message.len() + bytes, 0);
        message
    };
    let check = async |method, encoding, packed: Vec<u8>, expected| {
        let headers = [("grpc-encoding", encoding)];
        let status = call(&gateway, method, &headers, framed(1, &packed)).await;
        assert_eq!(status.code(), expected, "{method}, {encoding}");
        if expected != Code::Ok {
            assert_eq!(Refusal::of(&status).reason, "INVALID_REQUEST");
        }
    };
    check(LIST, "gzip", gzip(&message(3 * MIB)), Code::Ok).await;
    check(LIST, "gzip", gzip(&message(5 * MIB)), Code::InvalidArgument).await;
    check(CHECK, "gzip", gzip(&message(60 * 1024)), Code::Ok).await;
    check(
        CHECK,
        "gzip",
        gzip(&message(70 * 1024)),
        Code::InvalidArgument,
    )
    .await;
    let before = gateway.resident_bytes();
    let bomb = zstd::encode_all(std::io::repeat(0).take(256 * MIB as u64), 1).unwrap();
    for method in [LIST, CHECK] {
        for _ in 0..4 {
            check(method, "zstd", bomb.clone(), Code::InvalidArgument).await;
        }
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 128 * MIB as u64, "{grown} bytes more");
}

#[tokio::test]
async fn messages_that_are_not_protobuf_are_refused_by_name() {
    let gateway = Gateway::start().await;
    let http = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let ask = async |content_type: &str| {
        let request = http.post(format!("http://{}/{LIST}", gateway.grpc));
        let request = request
            .header("content-type", content_type)
            .body(framed(0, &[]));
        let response = soon("an answer", request.send()).await.unwrap();
        let status = Status::from_header_map(response.headers());
        status.unwrap_or_else(|| Status::ok(""))
    };
    for content_type in [
        "application/grpc+json",
        "application/grpc+",
        "application/grpc-web+json",
    ] {
        let refusal = Refusal::of(&ask(content_type).await);
        let row = (Code::Unimplemented, "CONTENT_TYPE_UNSUPPORTED");
        assert_eq!(refusal.row(), row);
        assert_eq!(refusal.metadata["content_type"], content_type);
    }
    for content_type in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc; charset=utf-8",
    ] {
        assert_eq!(ask(content_type).await.code(), Code::Ok, "{content_type}");
    }
}
