//! Where a subscription begins, and that it goes on from there without a gap or a repeat.

use verbex_gateway::proto::{
    EventFilter, StartPosition, SubscribeRequest, SubscriptionState, subscribe_request::Start,
};

use crate::support::{
    bodies::{call_started, mixed},
    grpc::{Stream, after, filtered, from_earliest, from_now, impatient, since},
    history::{History, Load, Recorder, covered, last_stored},
    process::Gateway,
    promises::judge,
};

async fn sequences(stream: &mut Stream, count: usize) -> Vec<u64> {
    let events = stream.take(count).await;
    events.iter().map(|event| event.sequence).collect()
}

#[tokio::test]
async fn without_a_start_it_begins_with_what_comes_after_the_first_message() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..3).map(call_started)).await;
    let latest = SubscribeRequest {
        start: Some(Start::StartPosition(StartPosition::Latest.into())),
        ..SubscribeRequest::default()
    };
    let future = since(from_now(3600));
    for (number, request) in (3..).zip([SubscribeRequest::default(), latest, future]) {
        let (mut stream, first) = gateway.subscribe(request).await;
        assert_eq!(first.state(), SubscriptionState::Live);
        assert_eq!(covered(&first.cursor), number as u64);
        let stored = gateway.post(call_started(number)).await;
        assert_eq!(stream.event().await.1.sequence, stored.sequence);
    }
}

#[tokio::test]
async fn a_client_cut_off_before_its_first_event_resumes_without_a_gap() {
    let gateway = Gateway::start().await;
    let (stream, first) = gateway.subscribe(SubscribeRequest::default()).await;
    drop(stream);
    let stored = gateway.post(call_started(1)).await;
    let (mut stream, again) = gateway.subscribe(after(&first.cursor)).await;
    assert_eq!(again.cursor, first.cursor);
    assert_eq!(stream.event().await.1.sequence, stored.sequence);
}

#[tokio::test]
async fn from_earliest_everything_comes_and_then_what_is_new() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..700).map(call_started)).await;
    let request = from_earliest(SubscribeRequest::default());
    let (mut stream, first) = gateway.subscribe(request).await;
    assert_eq!(first.state(), SubscriptionState::CatchingUp);
    assert_eq!(covered(&first.cursor), 0);
    assert_eq!(
        sequences(&mut stream, 700).await,
        (1..=700).collect::<Vec<_>>()
    );
    gateway.post(call_started(700)).await;
    let live = stream.place().await;
    assert_eq!(live.state(), SubscriptionState::Live);
    assert_eq!(stream.event().await.1.sequence, 701);
}

#[tokio::test]
async fn every_cursor_resumes_right_behind_itself() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..6).map(call_started)).await;
    let (mut stream, first) = gateway.subscribe(from_earliest(Default::default())).await;
    let mut cursors = vec![first.cursor];
    for _ in 0..6 {
        cursors.push(stream.event().await.0);
    }
    let gateway = gateway.stop().await.start().await;
    for (behind, cursor) in (0..).zip(&cursors) {
        assert!(cursor.len() <= 64, "{cursor}");
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(cursor.bytes().all(safe), "{cursor}");
        let (mut stream, first) = gateway.subscribe(after(cursor)).await;
        assert_eq!(first.cursor, *cursor);
        let rest: Vec<u64> = (behind + 1..=6).collect();
        assert_eq!(sequences(&mut stream, rest.len()).await, rest);
        if first.state() != SubscriptionState::Live {
            let live = stream.state(SubscriptionState::Live).await;
            assert_eq!(live.cursor, cursors[6]);
        }
    }
}

#[tokio::test]
async fn who_is_up_to_date_is_not_told_to_be_catching_up() {
    let gateway = Gateway::start().await;
    gateway.post(call_started(1)).await;
    let (mut stream, _) = gateway.subscribe(from_earliest(Default::default())).await;
    let (cursor, _) = stream.event().await;
    let (_, first) = gateway.subscribe(after(&cursor)).await;
    assert_eq!(first.state(), SubscriptionState::Live);
}

#[tokio::test]
async fn a_time_begins_with_the_first_event_received_at_or_after_it() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..5).map(call_started)).await;
    let events = gateway.all(SubscribeRequest::default(), 5).await;
    for event in &events {
        let time = event.receive_time.unwrap();
        let (mut stream, _) = gateway.subscribe(since(time)).await;
        let first = events.iter().find(|other| other.receive_time == Some(time));
        assert_eq!(stream.event().await.1, *first.unwrap());
    }
    let (mut stream, _) = gateway.subscribe(since(from_now(-3600))).await;
    assert_eq!(stream.event().await.1.sequence, 1);
}

#[tokio::test]
async fn a_cursor_goes_on_with_another_filter_and_view_at_the_same_place() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..20).map(mixed)).await;
    let agent = |agent: &str| EventFilter {
        agent_ids: vec![agent.into()],
        ..EventFilter::default()
    };
    let (mut stream, _) = gateway
        .subscribe(from_earliest(filtered(agent("agent-1"))))
        .await;
    // Numbers 1, 5, 9 …: sequences 2, 6, 10.
    assert_eq!(sequences(&mut stream, 2).await, [2, 6]);
    let (cursor, third) = stream.event().await;
    assert_eq!(third.sequence, 10);
    let request = SubscribeRequest {
        filter: Some(agent("agent-2")),
        ..after(&cursor)
    };
    let (mut stream, _) = gateway.subscribe(request).await;
    assert_eq!(sequences(&mut stream, 2).await, [11, 15]);
}

#[tokio::test]
async fn replay_and_live_join_without_a_gap_or_a_repeat_while_events_come() {
    let gateway = Gateway::start().await;
    let load = Load::start(&gateway, (0..1500).map(mixed));
    let mut recorders = Vec::new();
    // At different places of the load, so that they join at different moments.
    for stored in [300, 500, 700, 900, 1100] {
        load.stored(stored).await;
        for request in [
            from_earliest(SubscribeRequest::default()),
            SubscribeRequest::default(),
        ] {
            recorders.push(Recorder::start(gateway.grpc, impatient(request)));
        }
    }
    let mut history = History {
        posts: load.finished().await,
        subscribers: Vec::new(),
    };
    let last = last_stored(&history.posts);
    for recorder in recorders {
        history.subscribers.push(recorder.until(last).await);
    }
    judge(&history);
}
