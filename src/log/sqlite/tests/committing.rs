//! Groups, duplicates, clocks, and a file that cannot be written.

use std::{future::poll_fn, pin::pin, task::Poll};

use futures_util::future::join_all;
use rusqlite::Connection;

use super::*;
use crate::{
    event::{Position, StoredEvent},
    log::AppendError,
};

/// Holds the file's write lock, so that appends come together.
fn stall(home: &Home) -> Connection {
    let other = Connection::open(home.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

/// Runs a future until it waits for somebody else.
async fn start(mut future: std::pin::Pin<&mut impl Future>) {
    let waits = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "the future is done already");
}

#[tokio::test]
async fn an_answered_event_can_be_read_and_followed() {
    let home = Home::new();
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

#[tokio::test]
async fn what_waits_together_is_committed_together_in_order() {
    let home = Home::new();
    let log = home.open();
    let mut follower = log.followers.from(Sequence::ZERO);
    let lock = stall(&home);
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

#[tokio::test]
async fn an_event_is_stored_once_within_a_group_across_groups_and_across_restarts() {
    let home = Home::new();
    let log = home.open();
    let mut follower = log.followers.from(Sequence::ZERO);
    let lock = stall(&home);
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

#[tokio::test]
async fn receive_times_never_fall_and_an_event_time_that_follows_them_moves_along() {
    let home = Home::new();
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

#[tokio::test]
async fn an_append_that_nobody_waits_for_any_more_is_committed() {
    let home = Home::new();
    let log = home.open();
    let lock = stall(&home);
    {
        let mut append = pin!(log.appender.append(event(1)));
        start(append.as_mut()).await;
    }
    drop(lock);
    log.appender.finish().await;
    assert_eq!(numbers(&log.reader.read(all()).await.unwrap()), [1]);
}

#[tokio::test]
async fn finishing_commits_what_was_taken_and_refuses_what_follows() {
    let home = Home::new();
    let log = home.open();
    log.reader.bounds().await.unwrap();
    let lock = stall(&home);
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
    let wal = std::fs::metadata(home.file().with_extension("db-wal")).unwrap();
    assert_eq!(
        wal.len(),
        0,
        "all is in the file itself, though readers have it open"
    );
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let home = Home::new();
    let mut registry = Registry::default();
    let log = open(&home.config(), Metrics::register(&mut registry)).unwrap();
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

/// Makes every write fail, as a full disk would.
const BREAK: &str = "
    CREATE TRIGGER full_events BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;
    CREATE TRIGGER full_log BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;";
const MEND: &str = "DROP TRIGGER full_events; DROP TRIGGER full_log;";

async fn refusal(log: &Log, number: u64) -> String {
    match log.appender.append(event(number)).await {
        Err(AppendError::Unavailable(reason)) => reason.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_refuses_reads_on_and_comes_back_by_itself() {
    let home = Home::new();
    let mut log = home.open();
    fill(&log, [1]).await;
    home.sql(BREAK);
    for number in [2, 3, 1] {
        let reason = refusal(&log, number).await;
        assert!(reason.contains("the disk is full"), "{reason}");
    }
    until_available(&mut log, false).await;
    assert_eq!(numbers(&log.reader.read(all()).await.unwrap()), [1]);

    home.sql(MEND);
    until_available(&mut log, true).await;
    let appended = log.appender.append(event(2)).await.unwrap();
    assert_eq!(
        (appended.sequence, appended.duplicate),
        (Sequence(2), false)
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_written_at_the_start_opens_for_reading() {
    let home = Home::new();
    let log = home.open();
    fill(&log, [1]).await;
    log.appender.finish().await;
    home.sql(BREAK);
    let mut log = home.open();
    assert!(!log.tail.borrow().available);
    refusal(&log, 2).await;
    assert_eq!(numbers(&log.reader.read(all()).await.unwrap()), [1]);
    home.sql(MEND);
    until_available(&mut log, true).await;
    fill(&log, [2]).await;
}

#[tokio::test]
async fn what_turns_out_durable_after_an_error_moves_the_tail() {
    let home = Home::new();
    let mut log = home.open();
    fill(&log, [1]).await;
    home.sql(BREAK);
    refusal(&log, 2).await;
    home.sql(&format!(
        "BEGIN; {MEND}
         INSERT INTO events SELECT 2, zeroblob(16), type, event_name, trace_id, organization_id, agent_id, call_id, status,
                                   event_time, receive_time, raw_json, raw_headers, encoded FROM events;
         UPDATE log SET last_sequence = 2, last_id = zeroblob(16);
         COMMIT"
    ));
    until_available(&mut log, true).await;
    let expected = Position::of(Sequence(2), EventId([0; 16]), at(1));
    assert_eq!(log.tail.borrow().position, expected);
    let appended = log.appender.append(event(2)).await.unwrap();
    assert_eq!(appended.sequence, Sequence(3));
}

#[tokio::test]
async fn a_file_that_was_exchanged_while_the_log_was_away_is_not_written() {
    let other = Home::new();
    other.open().appender.finish().await;
    let home = Home::new();
    let log = home.open();
    log.reader.bounds().await.unwrap();
    home.sql(BREAK);
    refusal(&log, 1).await;
    std::fs::rename(other.file(), home.file()).unwrap();
    for side in ["db-wal", "db-shm"] {
        std::fs::remove_file(home.file().with_extension(side)).unwrap();
    }
    let noticed = async {
        while !refusal(&log, 1).await.contains("another file") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed)
        .await
        .expect("the exchange is noticed in time");
}
