//! What is left of erased events, in the files and in the log.

use std::path::Path;

use futures_util::future::join_all;
use rusqlite::params;

use super::*;
use crate::{
    event::{NewEvent, Raw},
    log::{Phone, Stage, Target},
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
