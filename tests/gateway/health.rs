//! `grpc.health.v1`, for the gateway as a whole and for each service.

use std::pin::pin;

use futures_util::poll;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{
    process::{Gateway, Setup},
    soon,
};

#[tokio::test]
async fn every_service_is_serving_and_an_unknown_one_is_not_found() {
    let gateway = Gateway::start().await;
    let mut client = HealthClient::new(gateway.channel().await);
    for service in [
        "",
        "verbex.gateway.v1.EventService",
        "verbex.gateway.v1.AdminService",
    ] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let answer = client.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let request = HealthCheckRequest {
        service: "verbex.gateway.v1.None".into(),
    };
    assert_eq!(
        client.check(request).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn who_watches_an_unknown_service_is_told_so_and_waits_until_the_gateway_leaves() {
    let gateway = Gateway::start().await;
    let mut client = HealthClient::new(gateway.channel().await);
    let request = HealthCheckRequest {
        service: "verbex.gateway.v1.None".into(),
    };
    let mut watched = client.watch(request).await.unwrap().into_inner();
    let told = soon("a status", watched.message()).await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::ServiceUnknown);
    let mut more = pin!(watched.message());
    assert!(poll!(more.as_mut()).is_pending(), "the stream stays open");
    let stopping = gateway.stop();
    let (_, end) = tokio::join!(stopping, soon("the end", more));
    assert_eq!(end.unwrap(), None);
}

#[tokio::test]
async fn health_needs_no_credentials() {
    let hash = blake3::hash(b"token").to_hex();
    let file = format!("[[tokens]]\nname = \"crm\"\nhash = \"{hash}\"\n");
    let gateway = Setup::new().file(&file).start().await;
    let mut client = HealthClient::new(gateway.channel().await);
    let answer = client.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
}
