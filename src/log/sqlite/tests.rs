//! The contract of [`crate::log`], kept.

mod beginning;
mod committing;
mod model;
mod opening;
mod reading;
mod windows;

use std::{path::PathBuf, time::Duration};

use jiff::{SignedDuration, Timestamp};
use prometheus_client::registry::Registry;
use rusqlite::Connection;
use tempfile::TempDir;

use super::open;
use crate::{
    event::{self, EventId, NewEvent, Raw, Sequence},
    filter::Selector,
    log::{Batch, Config, Lane, Log, Metrics, OpenError, Query, Unfit},
    proto::{self, EventType},
};

/// A log in a folder of its own.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { folder }
    }

    fn config(&self) -> Config {
        Config {
            data_dir: self.folder.path().join("data"),
            new_log: false,
        }
    }

    fn try_open(&self) -> Result<Log, OpenError> {
        open(&self.config(), Metrics::register(&mut Registry::default()))
    }

    /// As `serve --new-log`.
    fn open_new(&self) -> Log {
        let config = Config {
            new_log: true,
            ..self.config()
        };
        open(&config, Metrics::register(&mut Registry::default())).unwrap()
    }

    fn open(&self) -> Log {
        self.try_open().unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("data/events.db")
    }

    /// What SQLite has beside it: `-wal`, `-shm`.
    fn beside(&self, end: &str) -> PathBuf {
        super::place::beside(&self.file(), end)
    }

    /// What an operator does with a tool of his own.
    fn sql(&self, sql: &str) {
        Connection::open(self.file())
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    }
}

/// An event with `number` in its id, received as many seconds after the start of 2026.
fn event(number: u64) -> NewEvent {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    NewEvent {
        id: EventId(id),
        event: proto::Event {
            receive_time: Some(event::timestamp(at(number))),
            r#type: EventType::CallStarted.into(),
            event_name: "CallHandler.CallStarted".into(),
            agent_id: format!("agent-{}", number % 3),
            call_id: format!("call-{}", number % 5),
            ..proto::Event::default()
        },
        event_time_given: false,
        raw: Raw {
            json: format!("{{\"n\":{number}}}").into(),
            headers: vec![
                ("content-type".into(), "application/json".into()),
                ("x-webhook-event".into(), "a \"quoted\" ✓".into()),
            ],
        },
    }
}

fn at(seconds: u64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(seconds.try_into().unwrap())
}

/// Everything, in order.
fn all() -> Query {
    Query {
        lane: Lane::Far,
        selector: Selector::default(),
        after: Sequence::ZERO,
        through: Sequence(u64::MAX),
        newest_first: false,
        events_max: usize::MAX,
        bytes_max: usize::MAX,
        with_raw: true,
    }
}

fn unfit(home: &Home) -> Unfit {
    match home.try_open() {
        Err(OpenError::Unfit { what, .. }) => what,
        other => panic!("{:?}", other.map(|_| ())),
    }
}

fn numbers(batch: &Batch) -> Vec<u64> {
    batch.events.iter().map(|event| event.sequence.0).collect()
}

async fn fill(log: &Log, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        log.appender.append(event(number)).await.unwrap();
    }
}

/// Waits until the log can, or cannot, be written.
async fn until_available(log: &mut Log, available: bool) {
    let changed = log.tail.wait_for(|tail| tail.available == available);
    tokio::time::timeout(Duration::from_secs(20), changed)
        .await
        .expect("the log's state changes in time")
        .unwrap();
}
