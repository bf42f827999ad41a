//! What is left of erased events, in the files and in the log.

use std::path::Path;

use futures_util::future::join_all;
use prost::Message;
use rusqlite::params;

use super::*;
use crate::{
    event::{NewEvent, Raw},
    log::{Phone, Stage, Target},
    proto,
};

const NUMBER: &str = "8801762668080";

/// An event that holds the number over and over again, with about so many bytes.
fn with_number(number: u64, bytes: usize) -> NewEvent {
    let said = format!("<{NUMBER}>").repeat(bytes / 15 + 1);
    NewEvent {
        raw: Raw {
            json: format!("{{\"said\":\"{said}\"}}").into(),
            headers: vec![("user-agent".into(), "a sender of webhooks, 1.0".into())],
        },
        ..event(number)
    }
}

async fn erase(log: &Log, target: Target) -> u64 {
    let mut erasing = log.eraser.erase(target, false).await.unwrap();
    let mut last = None;
    while let Some(state) = erasing.next().await.unwrap() {
        last = Some(state);
    }
    let last = last.unwrap();
    assert_eq!(last.stage, Stage::Done);
    last.events
}

fn times_in(folder: &Path) -> usize {
    let files = fs::read_dir(folder).unwrap();
    let count = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let windows = bytes.windows(NUMBER.len());
        windows.filter(|part| *part == NUMBER.as_bytes()).count()
    };
    files.map(|entry| count(&entry.unwrap().path())).sum()
}

/// Rows that lie at the old end are moved while those before them are removed, and SQLite leaves
/// copies behind.
#[tokio::test]
async fn nothing_is_left_of_events_that_were_moved_within_the_file() {
    let phone = Phone::parse(NUMBER).unwrap();
    let mut before = 0;
    for seed in 0..8_usize {
        let home = Home::new();
        let log = home.open();
        let sizes = [300, 450, 1_600, 400, 2_400, 12_000];
        let events = (0..300).map(|number: usize| {
            let size = sizes[(number * (seed + 3) + number / 7) % sizes.len()];
            with_number(number as u64, size)
        });
        let stored = join_all(events.map(|event| log.appender.append(event))).await;
        assert!(stored.iter().all(Result::is_ok));
        log.appender.finish().await;
        let conn = Connection::open(home.file()).unwrap();
        conn.execute_batch("PRAGMA secure_delete = ON").unwrap();
        for through in (3..260).step_by(3 + seed % 3) {
            conn.execute("DELETE FROM events WHERE sequence <= ?1", params![through])
                .unwrap();
            conn.execute("UPDATE log SET trimmed_sequence = ?1", params![through])
                .unwrap();
        }
        drop(conn);
        let log = home.open();
        let rows = log.reader.bounds().await.unwrap().event_count;
        assert_eq!(erase(&log, Target::Phone(phone.clone())).await, rows);
        before += times_in(&home.config().data_dir);
        log.appender.finish().await;
    }
    assert_eq!(before, 0);
}

/// What is read of all events: the encoded event, and the body.
async fn read_all(log: &Log) -> Vec<(proto::Event, Raw)> {
    let batch = log.reader.read(all()).await.unwrap();
    let events = batch.events.into_iter().map(|event| {
        let decoded = proto::Event::decode(event.encoded.clone()).unwrap();
        (decoded, event.raw.unwrap())
    });
    events.collect()
}

#[tokio::test]
async fn a_damaged_event_is_erased_by_its_sequence_and_passed_from_then_on() {
    // Each damage, and what is left of the second of three events.
    let damages = [
        "raw_json = '{}'",
        "encoded = x'ff'",
        "type = 'CALL_STARTEE'",
        "receive_time = '2099-01-01T00:00:00.000000000Z'",
        "receive_time = 'soon'",
        "event_time = ''",
        "agent_id = CAST(x'61ff' AS TEXT)",
        "checksum = 1",
    ];
    for damage in damages {
        let home = Home::new();
        let log = home.open();
        fill(&log, 1..=3).await;
        log.appender.finish().await;
        home.sql(&format!("UPDATE events SET {damage} WHERE sequence = 2"));
        let log = home.open();
        let before = log.reader.read(all()).await.unwrap();
        assert_eq!(numbers(&before), [1], "{damage}");
        assert_eq!(
            erase(&log, Target::Sequence(Sequence(2))).await,
            1,
            "{damage}"
        );
        assert_eq!(
            erase(&log, Target::Sequence(Sequence(2))).await,
            0,
            "{damage}"
        );
        let events = read_all(&log).await;
        let erased: Vec<bool> = events
            .iter()
            .map(|(event, _)| event.erase_time.is_some())
            .collect();
        assert_eq!(erased, [false, true, false], "{damage}");
        let (event, raw) = &events[1];
        assert_eq!(
            (event.sequence, &event.call_id[..]),
            (2, "call-2"),
            "{damage}"
        );
        assert_eq!(*raw, Raw::default(), "{damage}");
        let received: Vec<_> = events
            .iter()
            .map(|(event, _)| event.receive_time.map(|time| time.seconds))
            .collect();
        assert!(received.is_sorted(), "{damage}: {received:?}");
        // A start has not put an event into the index whose id or agent it could not read.
        log.appender.finish().await;
        let log = home.open();
        let id: EventId = event.id.parse().unwrap();
        assert!(log.reader.get(id).await.unwrap().is_some(), "{damage}");
        log.appender.finish().await;
    }
}

#[tokio::test]
async fn an_erasure_waits_for_who_reads_the_file_and_says_so() {
    let home = Home::new();
    let log = home.open();
    log.appender.append(with_number(1, 9_000)).await.unwrap();
    let other = Connection::open(home.file()).unwrap();
    other
        .execute_batch("BEGIN; SELECT count(*) FROM events")
        .unwrap();
    log.appender.append(with_number(2, 9_000)).await.unwrap();
    let target = Target::Phone(Phone::parse(NUMBER).unwrap());
    let mut erasing = log.eraser.erase(target, false).await.unwrap();
    let mut held = 0;
    while held < 3 {
        let state = erasing.next().await.unwrap().unwrap();
        held += usize::from(state.stage == Stage::Held);
    }
    // Whoever reads meanwhile gets nothing of it, and events are taken.
    assert!(
        read_all(&log)
            .await
            .iter()
            .all(|(event, _)| event.erase_time.is_some())
    );
    fill(&log, [3]).await;
    assert!(times_in(&home.config().data_dir) > 0);
    drop(other);
    while erasing.next().await.unwrap().is_some() {}
    assert_eq!(times_in(&home.config().data_dir), 0);
    log.appender.finish().await;
}
