//! A call ends when its caller says so: by a deadline, or by going away.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tonic::{Code, Request};
use verbex_gateway::{
    inside::auth::{TokenHash, token_from},
    proto::{GetStatusRequest, SubscribeRequest},
};

use crate::support::{
    PATIENCE,
    bodies::call_started,
    eventually_asking,
    grpc::{Refusal, Stream},
    process::{Gateway, Setup},
    soon,
};

#[tokio::test]
async fn a_stream_ends_at_its_deadline_after_whole_messages() {
    let gateway = Gateway::start().await;
    // The header alone: the client keeps no clock of its own, so the end is the gateway's.
    let mut request = Request::new(SubscribeRequest::default());
    request
        .metadata_mut()
        .insert("grpc-timeout", "1500m".parse().unwrap());
    let began = Instant::now();
    let answer = gateway.events().await.subscribe(request).await.unwrap();
    let mut stream = Stream(answer.into_inner());
    stream.place().await;
    let stored = gateway.post(call_started(1)).await;
    let (events, status) = stream.end().await;
    let ids: Vec<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids, [&stored.id]);
    assert_eq!(Refusal::of(&status).code, Code::DeadlineExceeded);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(1500) && took < Duration::from_secs(6),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_deadline_ends_a_stream_that_always_has_something_to_send() {
    let gateway = Gateway::start().await;
    gateway
        .post_all((0..50).map(|number| crate::support::bodies::large(number, 200_000)))
        .await;
    let mut request = Request::new(crate::support::grpc::from_earliest(Default::default()));
    request
        .metadata_mut()
        .insert("grpc-timeout", "1S".parse().unwrap());
    let answer = gateway.events().await.subscribe(request).await.unwrap();
    let mut stream = Stream(answer.into_inner());
    // Nobody reads until the deadline has passed.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let (events, status) = stream.end().await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_goes_away_leaves_nothing_behind() {
    let gateway = Gateway::start().await;
    let mut admin = gateway.admin().await;
    let mut client = gateway.events().await;
    // The connection stays, the streams are cancelled.
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(client.subscribe(SubscribeRequest::default()).await.unwrap());
    }
    let mut count = async || {
        let status = admin.get_status(GetStatusRequest {}).await.unwrap();
        status.into_inner().subscriber_count
    };
    assert_eq!(soon("the count", count()).await, 10);
    drop(streams);
    let freed = eventually_asking(PATIENCE, "all are gone", async || {
        (count().await == 0).then_some(())
    });
    freed.await;
}

#[tokio::test]
async fn a_stream_ends_when_its_credentials_expire() {
    let token = token_from([7; 32]);
    let expires = Timestamp::now() + SignedDuration::from_secs(3);
    let entry = format!(
        "[[tokens]]\nname = \"crm\"\nhash = \"{}\"\nexpires = {expires}\n",
        TokenHash::of(&token)
    );
    let gateway = Setup::new().file(&entry).start().await;
    let mut request = Request::new(SubscribeRequest::default());
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    let answer = gateway.events().await.subscribe(request).await.unwrap();
    let mut stream = Stream(answer.into_inner());
    stream.place().await;
    let (_, status) = stream.end().await;
    assert_eq!(
        Refusal::of(&status).row(),
        (Code::Unauthenticated, "CREDENTIALS_INVALID")
    );
    assert!(Timestamp::now() >= expires);
}
