//! What operators see of the running gateway, and what they can do about it.

use tonic::Code;
use verbex_gateway::proto::{
    DisconnectSubscriberRequest, EventFilter, EventView, GetStatusRequest, GetStatusResponse,
    ListSubscribersRequest, ListSubscribersResponse, SubscribeRequest, SubscriptionState,
};

use crate::support::{
    PATIENCE,
    bodies::call_started,
    eventually_asking,
    grpc::{Refusal, impatient},
    process::{Gateway, Setup},
};

async fn status(gateway: &Gateway) -> GetStatusResponse {
    let mut admin = gateway.admin().await;
    let answer = admin.get_status(GetStatusRequest {}).await;
    answer.unwrap().into_inner()
}

async fn list(gateway: &Gateway, request: ListSubscribersRequest) -> ListSubscribersResponse {
    let mut admin = gateway.admin().await;
    let answer = admin.list_subscribers(request).await;
    answer.unwrap().into_inner()
}

fn named(name: &str) -> SubscribeRequest {
    SubscribeRequest {
        subscriber_name: name.into(),
        ..SubscribeRequest::default()
    }
}

#[tokio::test]
async fn the_status_counts_what_is_in_the_log() {
    let gateway = Gateway::start().await;
    let empty = status(&gateway).await;
    assert_eq!(empty.version, env!("CARGO_PKG_VERSION"));
    assert_eq!((empty.event_count, empty.event_bytes), (0, 0));
    assert_eq!((empty.earliest_sequence, empty.latest_sequence), (0, 0));
    let bodies: Vec<String> = (0..5).map(call_started).collect();
    let bytes: usize = bodies.iter().map(String::len).sum();
    gateway.post_all(bodies).await;
    let (_stream, _) = gateway.subscribe(SubscribeRequest::default()).await;
    let full = status(&gateway).await;
    assert_eq!(full.log_epoch, empty.log_epoch);
    assert!(!full.log_epoch.is_empty());
    assert_eq!((full.event_count, full.subscriber_count), (5, 1));
    assert_eq!((full.earliest_sequence, full.latest_sequence), (1, 5));
    assert!(full.event_bytes > bytes as u64);
    assert!(full.uptime.is_some());
    let gateway = gateway.stop().await.start().await;
    let again = status(&gateway).await;
    assert_eq!(again.log_epoch, full.log_epoch);
    assert_eq!(
        (again.event_count, again.event_bytes),
        (5, full.event_bytes)
    );
    assert_eq!(again.subscriber_count, 0);
}

#[tokio::test]
async fn subscribers_are_listed_as_they_are() {
    let gateway = Gateway::start().await;
    let filter = EventFilter {
        agent_ids: vec!["agent-1".into()],
        ..EventFilter::default()
    };
    let request = SubscribeRequest {
        filter: Some(filter.clone()),
        view: EventView::Basic.into(),
        ..impatient(named("crm"))
    };
    let (mut stream, _) = gateway.subscribe(request).await;
    gateway.post_all((0..2).map(call_started)).await;
    stream.event().await;
    let listed = list(&gateway, ListSubscribersRequest::default()).await;
    let [subscriber] = &listed.subscribers[..] else {
        panic!("{listed:?}");
    };
    assert_eq!(subscriber.name, "crm");
    assert!(!subscriber.id.is_empty());
    assert!(subscriber.peer.starts_with("127.0.0.1:"), "{subscriber:?}");
    assert_eq!(subscriber.filter.as_ref(), Some(&filter));
    assert_eq!(subscriber.view(), EventView::Basic);
    assert_eq!(subscriber.state(), SubscriptionState::Live);
    assert_eq!(
        (subscriber.position_sequence, subscriber.events_behind),
        (2, 0)
    );
    assert_eq!(subscriber.events_delivered, 1);
    assert!(subscriber.connect_time.is_some());
    drop(stream);
    let gone = eventually_asking(PATIENCE, "who left is not listed", async || {
        let listed = list(&gateway, ListSubscribersRequest::default()).await;
        listed.subscribers.is_empty().then_some(())
    });
    gone.await;
}

#[tokio::test]
async fn subscribers_come_in_pages() {
    let gateway = Gateway::start().await;
    let mut streams = Vec::new();
    for number in 0..7 {
        streams.push(gateway.subscribe(named(&number.to_string())).await);
    }
    let mut request = ListSubscribersRequest {
        page_size: 3,
        ..ListSubscribersRequest::default()
    };
    let mut names = Vec::new();
    loop {
        let page = list(&gateway, request.clone()).await;
        assert!(page.subscribers.len() <= 3);
        names.extend(
            page.subscribers
                .into_iter()
                .map(|subscriber| subscriber.name),
        );
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    names.sort();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_disconnected_subscriber_is_told_so_and_others_are_not() {
    let gateway = Gateway::start().await;
    let (mut one, _) = gateway.subscribe(named("one")).await;
    let (mut two, _) = gateway.subscribe(named("two")).await;
    let listed = list(&gateway, ListSubscribersRequest::default()).await;
    let one_listed = listed
        .subscribers
        .iter()
        .find(|subscriber| subscriber.name == "one");
    let id = one_listed.unwrap().id.clone();
    let mut admin = gateway.admin().await;
    let request = DisconnectSubscriberRequest { id: id.clone() };
    admin.disconnect_subscriber(request.clone()).await.unwrap();
    let (_, status) = one.end().await;
    assert_eq!(Refusal::of(&status).row(), (Code::Aborted, "DISCONNECTED"));
    let again = admin.disconnect_subscriber(request).await.unwrap_err();
    assert_eq!(Refusal::of(&again).reason, "SUBSCRIBER_NOT_FOUND");
    let stored = gateway.post(call_started(1)).await;
    assert_eq!(two.event().await.1.id, stored.id);
}

#[tokio::test]
async fn there_are_as_many_subscribers_as_allowed_and_the_next_one_is_told_when_to_come() {
    let gateway = Setup::new().set("GRPC_SUBSCRIBERS_MAX", "2").start().await;
    // On one connection too, where clients would otherwise queue in silence.
    let mut client = gateway.events().await;
    let first = client.subscribe(named("first")).await.unwrap();
    let _second = client.subscribe(named("second")).await.unwrap();
    let refusal = Refusal::of(&client.subscribe(named("third")).await.unwrap_err());
    assert_eq!(refusal.row(), (Code::ResourceExhausted, "SUBSCRIBER_LIMIT"));
    assert!(refusal.retry_after.is_some());
    assert_eq!(refusal.metadata["limit"], "2");
    drop(first);
    let place = eventually_asking(PATIENCE, "a place", async || {
        client.subscribe(named("third")).await.ok()
    });
    place.await;
}
