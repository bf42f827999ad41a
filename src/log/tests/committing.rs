//! Groups, duplicates and clocks.

use std::{future::poll_fn, pin::pin, task::Poll};

use futures_util::future::join_all;

use super::*;
use crate::{event::StoredEvent, log::AppendError};

/// Polls a future until it waits for something else.
async fn start(mut future: std::pin::Pin<&mut impl Future>) {
    let waits = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "the future is done already");
}

pub(crate) async fn an_answered_event_can_be_read_and_followed<B: Backend>() {
    let home = B::new();
    let log = home.open();
    let mut follower = log.followers.from(Sequence::ZERO);
    for number in 1..=3 {
        let appended = log.appender.append(event(number)).await.unwrap();
        assert_eq!(
            (appended.sequence, appended.duplicate),
            (Sequence(number), false)
        );
        let tail = *log.tail.borrow();
        assert!(tail.available && tail.position.sequence == appended.sequence);
        let read = log.reader.read(all()).await.unwrap();
        assert_eq!(
            read.events.last(),
            follower.waiting().unwrap().last(),
            "what is followed is what is read"
        );
        assert_eq!((read.covered, read.complete), (tail.position, true));
    }
}

pub(crate) async fn what_waits_together_is_committed_together_in_order<B: Backend>() {
    let home = B::new();
    let log = home.open();
    let mut follower = log.followers.from(Sequence::ZERO);
    let lock = home.stall();
    let mut appends = pin!(join_all((1..=50).map(|n| log.appender.append(event(n)))));
    start(appends.as_mut()).await;
    drop(lock);
    let sequences: Vec<u64> = appends
        .await
        .into_iter()
        .map(|appended| appended.unwrap().sequence.0)
        .collect();
    assert_eq!(sequences, (1..=50).collect::<Vec<_>>());
    let mut followed: Vec<StoredEvent> = Vec::new();
    let mut groups = 0;
    while let Some(group) = follower.waiting() {
        groups += 1;
        followed.extend(group.iter().cloned());
    }
    assert!(
        groups <= 2,
        "one for the first, one for all the others: {groups}"
    );
    assert_eq!(followed, log.reader.read(all()).await.unwrap().events);
}

pub(crate) async fn an_event_is_stored_once_across_groups_and_restarts<B: Backend>() {
    let home = B::new();
    let log = home.open();
    let mut follower = log.followers.from(Sequence::ZERO);
    let lock = home.stall();
    let mut appends = pin!(join_all(
        [7, 8, 8, 7, 9].map(|n| log.appender.append(event(n)))
    ));
    start(appends.as_mut()).await;
    drop(lock);
    let answers: Vec<_> = appends.await.into_iter().map(Result::unwrap).collect();
    let found: Vec<_> = answers
        .iter()
        .map(|answer| (answer.sequence.0, answer.duplicate))
        .collect();
    assert_eq!(
        found,
        [(1, false), (2, false), (2, true), (1, true), (3, false)]
    );

    while follower.waiting().is_some() {}
    let again = log.appender.append(event(8)).await.unwrap();
    assert_eq!((again.sequence, again.duplicate), (Sequence(2), true));
    assert_eq!(follower.waiting(), None, "a duplicate is not followed");
    log.appender.finish().await;

    let log = home.open();
    let again = log.appender.append(event(9)).await.unwrap();
    assert_eq!((again.sequence, again.duplicate), (Sequence(3), true));
    assert_eq!(log.reader.bounds().await.unwrap().event_count, 3);
}

pub(crate) async fn receive_times_never_fall_and_event_times_move_along<B: Backend>() {
    let home = B::new();
    let log = home.open();
    fill(&log, [5, 3, 8]).await;
    log.appender.finish().await;
    let log = home.open();
    fill(&log, [2]).await;
    let events = log.reader.read(all()).await.unwrap().events;
    let times: Vec<_> = events.iter().map(|event| event.receive_time).collect();
    assert_eq!(times, [at(5), at(5), at(8), at(8)]);
    for event in events {
        let decoded: proto::Event = prost::Message::decode(event.encoded).unwrap();
        assert_eq!(
            decoded.receive_time,
            Some(event::timestamp(event.receive_time))
        );
        assert_eq!(decoded.event_time, decoded.receive_time);
    }
}

pub(crate) async fn an_append_that_nobody_waits_for_any_more_is_committed<B: Backend>() {
    let home = B::new();
    let log = home.open();
    let lock = home.stall();
    {
        let mut append = pin!(log.appender.append(event(1)));
        start(append.as_mut()).await;
    }
    drop(lock);
    log.appender.finish().await;
    assert_eq!(numbers(&log.reader.read(all()).await.unwrap()), [1]);
}

pub(crate) async fn finishing_commits_what_was_taken_and_refuses_what_follows<B: Backend>() {
    let home = B::new();
    let log = home.open();
    log.reader.bounds().await.unwrap();
    let lock = home.stall();
    let mut appends = pin!(join_all((1..=9).map(|n| log.appender.append(event(n)))));
    start(appends.as_mut()).await;
    let mut finish = pin!(log.appender.finish());
    start(finish.as_mut()).await;
    drop(lock);
    finish.await;
    assert!(appends.await.into_iter().all(|answer| answer.is_ok()));
    let late = log.appender.append(event(10)).await;
    assert!(matches!(late, Err(AppendError::Closed)), "{late:?}");
    log.appender.finish().await;
}

pub(crate) async fn what_was_done_is_counted<B: Backend>() {
    let home = B::new();
    let mut registry = Registry::default();
    let log = home.open_with(Metrics::register(&mut registry));
    fill(&log, [1, 2, 2]).await;
    log.appender.finish().await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "verbex_gateway_log_events_total{type=\"EVENT_TYPE_CALL_STARTED\"} 2",
        "verbex_gateway_log_append_seconds_count 3",
        "verbex_gateway_log_group_events_count 2",
        "verbex_gateway_log_available 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

pub(crate) async fn epoch_key_and_end_outlive_a_restart<B: Backend>() {
    let home = B::new();
    let log = home.open();
    fill(&log, 1..=3).await;
    let (identity, tail) = (log.identity.clone(), *log.tail.borrow());
    log.appender.finish().await;
    let log = home.open();
    assert_eq!(log.identity.epoch, identity.epoch);
    assert_eq!(log.identity.id_key, identity.id_key);
    assert_eq!(*log.tail.borrow(), tail);
    let another = B::new().open().identity;
    assert_ne!(another.epoch, identity.epoch);
    assert_ne!(another.id_key, identity.id_key);
}
