//! A progress always comes, and says where its subscriber stands.

use std::time::{Duration, Instant};

use verbex_gateway::proto::{EventFilter, SubscribeRequest, SubscriptionState};

use crate::support::{
    bodies::{call_started, mixed},
    grpc::{filtered, from_earliest, impatient},
    history::{History, Load, Recorder, covered, last_stored},
    process::Gateway,
    promises::judge,
};

fn matching_nothing() -> SubscribeRequest {
    filtered(EventFilter {
        agent_ids: vec!["nobody".into()],
        ..EventFilter::default()
    })
}

#[tokio::test]
async fn an_empty_log_gives_a_progress_in_each_interval() {
    let gateway = Gateway::start().await;
    for request in [
        SubscribeRequest::default(),
        from_earliest(SubscribeRequest::default()),
    ] {
        let (mut stream, first) = gateway.subscribe(impatient(request)).await;
        assert_eq!(first.state(), SubscriptionState::Live);
        assert_eq!(first.progress.position_time, None, "no event is covered");
        let began = Instant::now();
        let mut last = first;
        for _ in 0..2 {
            let next = stream.place().await;
            assert_eq!(next.cursor, last.cursor);
            let (then, now) = (last.progress.server_time, next.progress.server_time);
            assert!(then.unwrap().seconds < now.unwrap().seconds);
            last = next;
        }
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(1900), "{waited:?}");
        assert!(waited < Duration::from_secs(4), "{waited:?}");
    }
}

#[tokio::test]
async fn a_filter_that_matches_nothing_still_moves_its_cursor() {
    let gateway = Gateway::start().await;
    let (mut stream, _) = gateway.subscribe(impatient(matching_nothing())).await;
    for number in 0..3 {
        let stored = gateway.post(call_started(number)).await;
        // One that was on its way may come before.
        let mut place = stream.place().await;
        if covered(&place.cursor) < stored.sequence {
            place = stream.place().await;
        }
        assert_eq!(covered(&place.cursor), stored.sequence);
        let newest = gateway.all(SubscribeRequest::default(), number + 1).await;
        let newest = newest.last().unwrap().receive_time;
        assert_eq!(place.progress.position_time, newest);
    }
}

#[tokio::test]
async fn catching_up_over_what_does_not_match_ends_with_one_progress_that_says_so() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..1200).map(call_started)).await;
    let (mut stream, first) = gateway.subscribe(from_earliest(matching_nothing())).await;
    assert_eq!(first.state(), SubscriptionState::CatchingUp);
    let live = stream.place().await;
    assert_eq!(live.state(), SubscriptionState::Live);
    assert_eq!(covered(&live.cursor), 1200);
}

#[tokio::test]
async fn progress_keeps_its_promises_while_events_flow() {
    let gateway = Gateway::start().await;
    let some = filtered(EventFilter {
        call_ids: vec!["call-100".into(), "call-700".into()],
        ..EventFilter::default()
    });
    let recorders = [matching_nothing(), some, SubscribeRequest::default()]
        .map(|request| Recorder::start(gateway.grpc, impatient(request)));
    for recorder in &recorders {
        recorder.subscribed().await;
    }
    let load = Load::start(&gateway, (0..2000).map(mixed));
    let posts = load.finished().await;
    let last = last_stored(&posts);
    let mut history = History {
        posts,
        subscribers: Vec::new(),
    };
    for recorder in recorders {
        history.subscribers.push(recorder.until(last).await);
    }
    judge(&history);
}
