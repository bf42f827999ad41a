//! Who asks the gRPC door something and never ends the question takes neither its memory nor its
//! time.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tonic::Status;
use tonic_types::StatusExt;

use crate::support::{grpc::from_earliest, process::Gateway, soon};

const CHECK: &str = "grpc.health.v1.Health/Check";
const WATCH: &str = "grpc.health.v1.Health/Watch";
const REFLECT: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const LIST: &str = "verbex.gateway.v1.EventService/ListEvents";

async fn connect(gateway: &Gateway) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(gateway.grpc).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

/// A call of which nothing but the head has come.
async fn open(
    client: &mut SendRequest<Bytes>,
    method: &str,
) -> (ResponseFuture, h2::SendStream<Bytes>) {
    let request = Request::post(format!("http://localhost/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    *client = client.clone().ready().await.unwrap();
    client.send_request(request, false).unwrap()
}

/// A call whose message is said to have `length` bytes, of which `sent` come, and no end.
async fn ask(
    client: &mut SendRequest<Bytes>,
    method: &str,
    length: u32,
    sent: usize,
) -> (ResponseFuture, h2::SendStream<Bytes>) {
    let (answer, mut body) = open(client, method).await;
    let mut message = vec![0];
    message.extend_from_slice(&length.to_be_bytes());
    message.resize(message.len() + sent, 7);
    body.send_data(message.into(), false).unwrap();
    (answer, body)
}

/// How a call ended: its code, and the reason in its details.
async fn end(answer: ResponseFuture) -> (tonic::Code, String) {
    let mut answer = soon("an answer", answer).await.unwrap();
    let head = answer.headers().clone();
    let trailers = match head.contains_key("grpc-status") {
        true => head,
        false => {
            let body = answer.body_mut();
            while let Some(Ok(_)) = soon("the body", body.data()).await {}
            let trailers = soon("trailers", body.trailers()).await;
            trailers.unwrap().unwrap_or_else(HeaderMap::new)
        }
    };
    let status = Status::from_header_map(&trailers).unwrap();
    let reason = status.get_details_error_info().map(|info| info.reason);
    (status.code(), reason.unwrap_or_default())
}

#[tokio::test]
async fn unfinished_requests_take_little_memory_and_end_in_time() {
    let gateway = Gateway::start().await;
    let before = gateway.resident_bytes();
    let mut client = connect(&gateway).await;
    let mut calls = Vec::new();
    for _ in 0..500 {
        calls.push(ask(&mut client, CHECK, 60_000, 50_000).await);
    }
    let mut refused = 0;
    for (answer, _body) in calls {
        match end(answer).await {
            (tonic::Code::ResourceExhausted, reason) => {
                assert_eq!(reason, "REQUEST_LIMIT");
                refused += 1;
            }
            other => assert_eq!(
                other,
                (tonic::Code::DeadlineExceeded, "REQUEST_TIMEOUT".into())
            ),
        }
    }
    assert!(refused > 300, "{refused}");
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown}");
    // The connection is as good as before.
    let (mut stream, _) = gateway.subscribe(from_earliest(Default::default())).await;
    gateway.post("{}").await;
    stream.event().await;
}

#[tokio::test]
async fn each_request_has_its_time_whether_some_of_it_has_come_or_all_but_its_end() {
    let gateway = Gateway::start().await;
    let mut client = connect(&gateway).await;
    let mut calls = Vec::new();
    for (method, length, sent) in [
        (CHECK, 10, 0),
        (CHECK, 0, 0),
        (WATCH, 0, 0),
        (REFLECT, 10, 5),
        (LIST, 1_000, 500),
    ] {
        calls.push((method, ask(&mut client, method, length, sent).await));
    }
    for (method, (answer, _body)) in calls {
        let ended = end(answer).await;
        let expected = (tonic::Code::DeadlineExceeded, "REQUEST_TIMEOUT".into());
        assert_eq!(ended, expected, "{method}");
    }
}

#[tokio::test]
async fn one_connection_holds_only_so_many_calls_open_without_credentials() {
    let gateway = Gateway::start().await;
    let mut client = connect(&gateway).await;
    let mut calls = Vec::new();
    for _ in 0..1_000 {
        calls.push(open(&mut client, REFLECT).await);
    }
    let mut held = Vec::new();
    for (answer, body) in calls {
        held.push((soon("an answer", answer).await.unwrap(), body));
    }
    let (over, _body) = open(&mut client, REFLECT).await;
    let limit = (tonic::Code::ResourceExhausted, "REQUEST_LIMIT".into());
    assert_eq!(end(over).await, limit);
    let mut other = connect(&gateway).await;
    let (answer, mut body) = ask(&mut other, CHECK, 0, 0).await;
    body.send_data(Bytes::new(), true).unwrap();
    assert_eq!(end(answer).await, (tonic::Code::Ok, String::new()));
}
