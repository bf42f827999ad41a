//! Tests of what only SQLite's log does. The contract's tests are in `log/tests`.

mod beginning;
mod by_agent;
mod committing;
mod damage;
mod erasing;
mod marks;
mod migration;
mod opening;
mod read_only;
mod reading;
mod version_1;
mod windows;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use prometheus_client::registry::Registry;
use rusqlite::Connection;
use tempfile::TempDir;

use super::open;
use crate::{
    event::{EventId, Sequence},
    log::{
        Config, Consent, Limits, Log, Metrics, OpenError, Query,
        error::Unfit,
        tests::{Backend, all, at, event, fill, keeps_the_contract, numbers},
    },
};

mod contract {
    use super::*;

    keeps_the_contract!(Home);
}

/// A log in a folder of its own.
struct Home {
    folder: TempDir,
}

impl Home {
    fn config(&self) -> Config {
        Config {
            data_dir: self.folder.path().join("data"),
            consent: Default::default(),
            limits: Limits::NONE,
        }
    }

    fn try_open(&self) -> Result<Log, OpenError> {
        open(&self.config(), Metrics::register(&mut Registry::default()))
    }

    /// Opens the log as `serve --new-log` does.
    fn open_new(&self) -> Log {
        let config = Config {
            consent: Consent {
                new_log: true,
                ..Consent::default()
            },
            ..self.config()
        };
        open(&config, Metrics::register(&mut Registry::default())).unwrap()
    }

    fn mark(&self) -> PathBuf {
        self.config().data_dir.join(super::mark::MARK_NAME)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("data/events.db")
    }

    /// One of SQLite's files beside the log: `-wal`, `-shm`.
    fn beside(&self, end: &str) -> PathBuf {
        super::place::beside(&self.file(), end)
    }

    /// Runs SQL through another connection, as an operator's tool does.
    fn sql(&self, sql: &str) {
        Connection::open(self.file())
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    }
}

impl Backend for Home {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { folder }
    }

    fn open_with(&self, metrics: Metrics) -> Log {
        open(&self.config(), metrics).unwrap()
    }

    /// Holds the file's write lock.
    fn stall(&self) -> impl Sized {
        let other = Connection::open(self.file()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        other
    }

    fn hide(&self) -> impl Sized {
        struct Hidden(PathBuf, PathBuf);
        impl Drop for Hidden {
            fn drop(&mut self) {
                fs::rename(&self.1, &self.0).unwrap();
            }
        }
        let hidden = Hidden(self.file(), self.folder.path().join("hidden"));
        fs::rename(&hidden.0, &hidden.1).unwrap();
        hidden
    }

    fn trim(&self, through: u64) {
        trim(&self.file(), through);
    }

    fn erase(&self, sequences: &[u64]) {
        for sequence in sequences {
            self.sql(&format!("DELETE FROM events WHERE sequence = {sequence}"));
        }
    }
}

/// Removes events as retention does it: through another connection.
pub(crate) fn trim(file: &Path, through: u64) {
    let sql = format!(
        "BEGIN IMMEDIATE;
         UPDATE log SET trimmed_sequence = {through};
         DELETE FROM events WHERE sequence <= {through};
         COMMIT"
    );
    Connection::open(file).unwrap().execute_batch(&sql).unwrap();
}

fn unfit(home: &Home) -> Unfit {
    match home.try_open() {
        Err(OpenError::Unfit { what, .. }) => what,
        other => panic!("{:?}", other.map(|_| ())),
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
