//! Every error says to a program what is wrong, and whether waiting helps.

use http::uri::PathAndQuery;
use prost_types::{Duration, Timestamp};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;
use verbex_gateway::proto::{
    DisconnectSubscriberRequest, EventFilter, GetEventRequest, GetStatusRequest, ListEventsRequest,
    ListSubscribersRequest, SubscribeRequest, admin_service_client::AdminServiceClient,
    event_service_client::EventServiceClient, subscribe_request::Start,
};

use crate::support::{
    bodies::call_started,
    grpc::{Refusal, filtered},
    process::{Gateway, Setup},
    soon,
};

const INVALID: (Code, &str) = (Code::InvalidArgument, "INVALID_REQUEST");

#[tokio::test]
async fn a_wrong_subscription_is_told_which_field_is_wrong() {
    let gateway = Gateway::start().await;
    let check = async |request: SubscribeRequest, field: &str| {
        let status = gateway.try_subscribe(request).await.err();
        let refusal = Refusal::of(&status.unwrap_or_else(|| panic!("{field} is taken")));
        assert_eq!(
            (refusal.row(), &refusal.fields[..]),
            (INVALID, &[field.to_owned()][..])
        );
        assert_eq!(refusal.retry_after, None);
    };
    let filter = |filter: EventFilter| filtered(filter);
    let every = EventFilter::default;
    for event_type in [0, 5, -1, 98] {
        let event_types = vec![1, event_type];
        let request = filter(EventFilter {
            event_types,
            ..every()
        });
        check(request, "filter.event_types[1]").await;
    }
    let texts = |text: &str| vec!["fine".to_owned(), text.to_owned()];
    for text in ["", &"x".repeat(257)] {
        let wrong = texts(text);
        let agent_ids = wrong.clone();
        check(
            filter(EventFilter {
                agent_ids,
                ..every()
            }),
            "filter.agent_ids[1]",
        )
        .await;
        let call_ids = wrong.clone();
        check(
            filter(EventFilter {
                call_ids,
                ..every()
            }),
            "filter.call_ids[1]",
        )
        .await;
        let organization_ids = wrong.clone();
        let request = filter(EventFilter {
            organization_ids,
            ..every()
        });
        check(request, "filter.organization_ids[1]").await;
        let event_names = wrong.clone();
        check(
            filter(EventFilter {
                event_names,
                ..every()
            }),
            "filter.event_names[1]",
        )
        .await;
        let statuses = wrong;
        check(
            filter(EventFilter {
                statuses,
                ..every()
            }),
            "filter.statuses[1]",
        )
        .await;
    }
    let call_ids = (0..1001).map(|number| number.to_string()).collect();
    check(
        filter(EventFilter {
            call_ids,
            ..every()
        }),
        "filter.call_ids",
    )
    .await;
    for (seconds, nanos) in [(0, 0), (0, 999_999_999), (300, 1), (-5, 0), (i64::MAX, 0)] {
        let request = SubscribeRequest {
            progress_interval: Some(Duration { seconds, nanos }),
            ..SubscribeRequest::default()
        };
        check(request, "progress_interval").await;
    }
    for (start, field) in [
        (Start::StartPosition(0), "start_position"),
        (Start::StartPosition(3), "start_position"),
        (
            Start::StartTime(Timestamp {
                seconds: 0,
                nanos: -1,
            }),
            "start_time",
        ),
        (
            Start::StartTime(Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            }),
            "start_time",
        ),
    ] {
        let request = SubscribeRequest {
            start: Some(start),
            ..SubscribeRequest::default()
        };
        check(request, field).await;
    }
    let request = SubscribeRequest {
        view: 4,
        ..SubscribeRequest::default()
    };
    check(request, "view").await;
    let request = SubscribeRequest {
        expired_cursor_action: 3,
        ..SubscribeRequest::default()
    };
    check(request, "expired_cursor_action").await;
    let request = SubscribeRequest {
        subscriber_name: "x".repeat(257),
        ..SubscribeRequest::default()
    };
    check(request, "subscriber_name").await;
}

#[tokio::test]
async fn a_wrong_list_is_told_which_field_is_wrong() {
    let gateway = Gateway::start().await;
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let every = ListEventsRequest::default;
    for (request, field) in [
        (
            ListEventsRequest {
                page_size: -1,
                ..every()
            },
            "page_size",
        ),
        (ListEventsRequest { view: 9, ..every() }, "view"),
        (
            ListEventsRequest {
                start_time: at(5),
                end_time: at(5),
                ..every()
            },
            "end_time",
        ),
        (
            ListEventsRequest {
                start_time: at(5),
                end_time: at(4),
                ..every()
            },
            "end_time",
        ),
        (
            ListEventsRequest {
                page_token: "7".into(),
                ..every()
            },
            "page_token",
        ),
    ] {
        let refusal = Refusal::of(&gateway.list(request).await.unwrap_err());
        assert_eq!(
            (refusal.row(), &refusal.fields[..]),
            (INVALID, &[field.to_owned()][..])
        );
    }
    let mut admin = gateway.admin().await;
    let request = ListSubscribersRequest {
        page_size: -1,
        ..Default::default()
    };
    let refusal = Refusal::of(&admin.list_subscribers(request).await.unwrap_err());
    assert_eq!(
        (refusal.row(), &refusal.fields[..]),
        (INVALID, &["page_size".to_owned()][..])
    );
}

#[tokio::test]
async fn what_is_not_there_is_not_found_malformed_or_not() {
    let gateway = Gateway::start().await;
    let id = gateway.post(call_started(1)).await.id;
    let other = id.chars().rev().collect();
    let (mut events, mut admin) = (gateway.events().await, gateway.admin().await);
    for id in [
        other,
        String::new(),
        "x".repeat(10_000),
        id.to_uppercase(),
        format!("{id}0"),
    ] {
        let request = GetEventRequest { id: id.clone() };
        let refusal = Refusal::of(&events.get_event(request).await.unwrap_err());
        assert_eq!(refusal.row(), (Code::NotFound, "EVENT_NOT_FOUND"), "{id}");
        let request = DisconnectSubscriberRequest { id };
        let refusal = Refusal::of(&admin.disconnect_subscriber(request).await.unwrap_err());
        assert_eq!(refusal.row(), (Code::NotFound, "SUBSCRIBER_NOT_FOUND"));
    }
}

#[tokio::test]
async fn an_unknown_method_has_a_reason_too() {
    let gateway = Gateway::start().await;
    for path in [
        "/verbex.gateway.v1.EventService/Nothing",
        "/verbex.gateway.v9.None/Nothing",
        "/grpc.reflection.v1alpha.ServerReflection/Nothing",
    ] {
        let name = path.trim_start_matches('/');
        let mut client = tonic::client::Grpc::new(gateway.channel().await);
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<GetEventRequest, GetEventRequest>::default();
        let call = client.unary(Request::new(GetEventRequest::default()), path, codec);
        let refusal = Refusal::of(&soon("an answer", call).await.unwrap_err());
        assert_eq!(refusal.row(), (Code::Unimplemented, "METHOD_UNKNOWN"));
        assert_eq!(refusal.metadata["method"], name);
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_a_reason() {
    let gateway = Gateway::start().await;
    let mut client = tonic::client::Grpc::new(gateway.channel().await);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/verbex.gateway.v1.EventService/GetEvent");
    let codec = ProstCodec::<NotAnId, GetEventRequest>::default();
    let call = client.unary(Request::new(NotAnId { id: vec![0xff; 4] }), path, codec);
    let status = soon("an answer", call).await.unwrap_err();
    let refusal = Refusal::of(&status);
    assert!(!refusal.reason.is_empty());
}

/// A `GetEventRequest` whose id is no text.
#[derive(Clone, PartialEq, prost::Message)]
struct NotAnId {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
}

const TOKENS: &str = r#"
    [[tokens]]
    name = "crm"
    hash = "HASH_ONE"

    [[tokens]]
    name = "late"
    hash = "HASH_TWO"
    expires = 2020-01-01T00:00:00Z

    [[tokens]]
    name = "operator"
    hash = "HASH_THREE"
    admin = true
"#;

#[tokio::test]
async fn tokens_open_what_they_say_and_no_more() {
    let hash = |token: &str| blake3::hash(token.as_bytes()).to_hex().to_string();
    let toml = TOKENS
        .replace("HASH_ONE", &hash("one"))
        .replace("HASH_TWO", &hash("two"))
        .replace("HASH_THREE", &hash("three"));
    let gateway = Setup::new().file(&toml).start().await;
    let channel = gateway.channel().await;
    let ask = async |authorization: Option<&str>, admin: bool| {
        let show = |mut request: Request<()>| {
            if let Some(shown) = authorization {
                request
                    .metadata_mut()
                    .insert("authorization", shown.parse().unwrap());
            }
            Ok::<_, tonic::Status>(request)
        };
        let outcome = if admin {
            let mut client = AdminServiceClient::with_interceptor(channel.clone(), show);
            client.get_status(GetStatusRequest {}).await.err()
        } else {
            let mut client = EventServiceClient::with_interceptor(channel.clone(), show);
            client.list_events(ListEventsRequest::default()).await.err()
        };
        outcome.map(|status| {
            let refusal = Refusal::of(&status);
            (refusal.code, refusal.reason)
        })
    };
    let refused = Some((Code::Unauthenticated, "CREDENTIALS_INVALID".to_owned()));
    for authorization in [
        None,
        Some("Bearer"),
        Some("Bearer wrong"),
        Some("Basic one"),
        Some("one"),
        Some("Bearer two"),
    ] {
        for admin in [false, true] {
            assert_eq!(
                ask(authorization, admin).await,
                refused,
                "{authorization:?}"
            );
        }
    }
    assert_eq!(ask(Some("Bearer one"), false).await, None);
    let outside = Some((Code::PermissionDenied, "SCOPE_DENIED".to_owned()));
    assert_eq!(ask(Some("Bearer one"), true).await, outside);
    assert_eq!(ask(Some("bearer three"), false).await, None);
    assert_eq!(ask(Some("Bearer three"), true).await, None);
}
