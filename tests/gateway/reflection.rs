//! Tools find everything that is served, explained, without the protos at hand.

use std::{collections::HashSet, path::Path, process::Command};

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use tokio_stream::iter;
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{
    process::{Gateway, PROGRAM},
    soon,
    webhook::{Http, client},
};

const SERVICES: [&str; 5] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "verbex.gateway.v1.AdminService",
    "verbex.gateway.v1.EventService",
];

/// Asks one question, and half-closes as grpcurl does.
async fn ask(
    gateway: &Gateway,
    question: v1::server_reflection_request::MessageRequest,
) -> v1::server_reflection_response::MessageResponse {
    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(gateway.channel().await);
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let mut answers = client
        .server_reflection_info(iter([request]))
        .await
        .unwrap()
        .into_inner();
    let answer = soon("an answer", answers.message()).await.unwrap().unwrap();
    answer.message_response.expect("a response")
}

async fn file_of(gateway: &Gateway, symbol: &str) -> FileDescriptorProto {
    use v1::server_reflection_request::MessageRequest::FileContainingSymbol;
    use v1::server_reflection_response::MessageResponse::FileDescriptorResponse;
    match ask(gateway, FileContainingSymbol(symbol.into())).await {
        FileDescriptorResponse(files) => {
            FileDescriptorProto::decode(&files.file_descriptor_proto[0][..]).unwrap()
        }
        other => panic!("{symbol}: {other:?}"),
    }
}

#[tokio::test]
async fn both_versions_list_every_service_of_the_port() {
    let gateway = Gateway::start().await;
    use v1::server_reflection_request::MessageRequest::ListServices;
    use v1::server_reflection_response::MessageResponse::ListServicesResponse;
    let ListServicesResponse(listed) = ask(&gateway, ListServices(String::new())).await else {
        panic!("no list");
    };
    let mut names: Vec<String> = listed
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    assert_eq!(names, SERVICES);

    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(gateway.channel().await);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut answers = client
        .server_reflection_info(iter([request]))
        .await
        .unwrap()
        .into_inner();
    let answer = soon("an answer", answers.message()).await.unwrap().unwrap();
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(listed)) =
        answer.message_response
    else {
        panic!("no list");
    };
    let mut names: Vec<String> = listed
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    names.sort();
    assert_eq!(names, SERVICES);
}

#[tokio::test]
async fn a_question_without_an_answer_is_told_so_and_the_stream_goes_on() {
    use v1::server_reflection_request::MessageRequest::{
        AllExtensionNumbersOfType, FileByFilename, FileContainingExtension, FileContainingSymbol,
    };
    use v1::server_reflection_response::MessageResponse::{
        AllExtensionNumbersResponse, ErrorResponse, FileDescriptorResponse,
    };
    let extension = |containing_type: &str| {
        FileContainingExtension(v1::ExtensionRequest {
            containing_type: containing_type.into(),
            extension_number: 1,
        })
    };
    let known = || FileContainingSymbol("verbex.gateway.v1.Event".into());
    let not_found = Some(tonic::Code::NotFound);
    let questions = [
        (Some(known()), None),
        (Some(FileContainingSymbol("no.Such".into())), not_found),
        (Some(FileByFilename("none.proto".into())), not_found),
        (Some(extension("verbex.gateway.v1.Event")), not_found),
        (Some(extension("no.Such")), not_found),
        (Some(AllExtensionNumbersOfType("no.Such".into())), not_found),
        (
            Some(AllExtensionNumbersOfType("verbex.gateway.v1.Event".into())),
            None,
        ),
        (None, Some(tonic::Code::Unimplemented)),
        (Some(known()), None),
    ];
    let requests = questions
        .clone()
        .map(|(message_request, _)| v1::ServerReflectionRequest {
            host: "here".into(),
            message_request,
        });
    let gateway = Gateway::start().await;
    let mut client =
        v1::server_reflection_client::ServerReflectionClient::new(gateway.channel().await);
    let asked = client.server_reflection_info(iter(requests));
    let mut answers = soon("a stream", asked).await.unwrap().into_inner();
    for (question, expected) in questions {
        let answer = soon("an answer", answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.valid_host, "here");
        assert_eq!(answer.original_request.unwrap().message_request, question);
        match (answer.message_response.unwrap(), expected) {
            (ErrorResponse(error), Some(code)) => {
                assert_eq!(error.error_code, code as i32, "{question:?}");
                assert!(!error.error_message.is_empty());
            }
            (FileDescriptorResponse(_) | AllExtensionNumbersResponse(_), None) => {}
            other => panic!("{question:?}: {other:?}"),
        }
    }
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
}

#[tokio::test]
async fn the_older_version_goes_on_behind_an_unknown_name_too() {
    use v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol;
    use v1alpha::server_reflection_response::MessageResponse::{
        ErrorResponse, FileDescriptorResponse,
    };
    let gateway = Gateway::start().await;
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(gateway.channel().await);
    let names = [
        "verbex.gateway.v1.Event",
        "no.Such",
        "grpc.health.v1.Health",
    ];
    let requests = names.map(|name| v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(FileContainingSymbol(name.into())),
    });
    let asked = client.server_reflection_info(iter(requests));
    let mut answers = soon("a stream", asked).await.unwrap().into_inner();
    for found in [true, false, true] {
        let answer = soon("an answer", answers.message()).await.unwrap().unwrap();
        match answer.message_response.unwrap() {
            FileDescriptorResponse(_) => assert!(found),
            ErrorResponse(error) => {
                assert_eq!(
                    (found, error.error_code),
                    (false, tonic::Code::NotFound as i32)
                )
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(soon("the end", answers.message()).await.unwrap(), None);
}

#[tokio::test]
async fn members_are_found_by_their_full_names() {
    let gateway = Gateway::start().await;
    for symbol in [
        "verbex.gateway.v1.EventService.Subscribe",
        "verbex.gateway.v1.SubscribeRequest.after_cursor",
        "verbex.gateway.v1.SubscribeRequest.start",
        "verbex.gateway.v1.EVENT_TYPE_CALL_STARTED",
    ] {
        assert_eq!(
            file_of(&gateway, symbol).await.package(),
            "verbex.gateway.v1"
        );
    }
}

#[tokio::test]
async fn every_message_and_field_comes_with_its_comment() {
    let gateway = Gateway::start().await;
    for symbol in [
        "verbex.gateway.v1.Event",
        "verbex.gateway.v1.EventService",
        "verbex.gateway.v1.AdminService",
    ] {
        let file = file_of(&gateway, symbol).await;
        let comments = file.source_code_info.expect("source info").location;
        let commented = |path: &[i32]| {
            let found = comments.iter().find(|location| location.path == path);
            found.is_some_and(|location| {
                !location.leading_comments().trim().is_empty()
                    || !location.trailing_comments().trim().is_empty()
            })
        };
        // Paths are by the numbers of descriptor.proto: 4 messages, 2 fields in them, 6 services, 2
        // methods in them, 5 enums.
        for (at, message) in (0..).zip(&file.message_type) {
            assert!(commented(&[4, at]), "{}", message.name());
            for (field_at, field) in (0..).zip(&message.field) {
                assert!(
                    commented(&[4, at, 2, field_at]),
                    "{}.{}",
                    message.name(),
                    field.name()
                );
            }
        }
        for (at, service) in (0..).zip(&file.service) {
            assert!(commented(&[6, at]), "{}", service.name());
            for (method_at, method) in (0..).zip(&service.method) {
                assert!(commented(&[6, at, 2, method_at]), "{}", method.name());
            }
        }
        for (at, an_enum) in (0..).zip(&file.enum_type) {
            assert!(commented(&[5, at]), "{}", an_enum.name());
        }
    }
}

#[tokio::test]
async fn error_details_and_health_can_be_resolved() {
    let gateway = Gateway::start().await;
    for (symbol, package) in [
        ("google.rpc.ErrorInfo", "google.rpc"),
        ("google.rpc.BadRequest", "google.rpc"),
        ("google.rpc.RetryInfo", "google.rpc"),
        ("google.protobuf.Timestamp", "google.protobuf"),
        ("google.protobuf.Struct", "google.protobuf"),
        ("grpc.health.v1.Health", "grpc.health.v1"),
        ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1"),
        (
            "grpc.reflection.v1alpha.ServerReflection",
            "grpc.reflection.v1alpha",
        ),
    ] {
        assert_eq!(file_of(&gateway, symbol).await.package(), package);
    }
}

#[tokio::test]
async fn a_file_says_the_same_as_reflection_from_the_program_and_from_its_port() {
    let printed = Command::new(PROGRAM).arg("descriptor").output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let gateway = Gateway::start().await;
    let url = format!("{}/descriptor.binpb", gateway.admin_url);
    let request = client(Path::new(""), Http::One).get(url);
    let served = request.send().await.unwrap();
    assert_eq!(served.headers()["content-type"], "application/x-protobuf");
    assert_eq!(served.bytes().await.unwrap(), printed.stdout);

    let files = FileDescriptorSet::decode(&printed.stdout[..]).unwrap().file;
    let mut known = HashSet::new();
    for file in &files {
        let missing = file.dependency.iter().find(|name| !known.contains(*name));
        assert_eq!(missing, None, "{} comes before it", file.name());
        assert!(
            known.insert(file.name().to_owned()),
            "twice: {}",
            file.name()
        );
    }
    for symbol in [
        "verbex.gateway.v1.Event",
        "verbex.gateway.v1.EventService",
        "verbex.gateway.v1.AdminService",
        "google.rpc.ErrorInfo",
        "grpc.health.v1.Health",
    ] {
        let reflected = file_of(&gateway, symbol).await;
        assert!(files.contains(&reflected), "{symbol}");
    }
}
