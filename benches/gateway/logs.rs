//! Logs with many events, made once and kept beside the results, and what is to be known about
//! them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use verbex_gateway::inside::{
    event::Sequence,
    filter::Selector,
    log::{self, Lane, Log, Query},
};

use crate::{
    events::{Maker, Payload},
    process::{Child, Control, Role},
};

/// Agents that the events of a log are of.
pub(crate) const AGENTS: u64 = 1_000;
/// Where a log keeps its events, in its folder.
const FILE: &str = "events.db";
/// Appends that wait at the same time while a log is filled: more than a group takes.
const APPENDS_MAX: usize = 1_024;

/// A log of so many events that nobody else has in use. Made if it is not there.
#[derive(Debug)]
pub(crate) struct KeptLog {
    pub folder: PathBuf,
    pub events: u64,
}

impl KeptLog {
    pub(crate) fn of(events: u64) -> anyhow::Result<Self> {
        let folder = crate::folder().join("logs").join(events.to_string());
        let kept = Self { folder, events };
        let complete = kept.folder.join("complete");
        let is_current = complete.exists() && layout(&kept.folder)? == current_layout()?;
        if !is_current {
            eprintln!("filling a log with {events} events, once");
            // What is left of a filling that was broken off, or of another version.
            if kept.folder.exists() {
                fs::remove_dir_all(&kept.folder)?;
            }
            let _filled: (Child, Duration) = Child::start(Role::LogFiller(FillerSetup {
                data_dir: kept.folder.clone(),
                events,
            }))?;
            fs::write(complete, "")?;
        }
        Ok(kept)
    }

    /// Removes what a measurement has added. Nobody may have the log in use.
    pub(crate) fn restore(&self) -> anyhow::Result<()> {
        let file = rusqlite::Connection::open(self.folder.join(FILE))?;
        file.execute(
            "DELETE FROM events WHERE sequence > ?1",
            [i64::try_from(self.events)?],
        )?;
        Ok(())
    }
}

/// The tables and indexes of a log.
fn layout(folder: &Path) -> anyhow::Result<String> {
    let file = rusqlite::Connection::open(folder.join(FILE))?;
    let every = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema ORDER BY name)";
    Ok(file.query_row(every, [], |row| row.get(0))?)
}

/// Those of a log that is made now.
fn current_layout() -> anyhow::Result<String> {
    let folder = crate::temporary_folder()?;
    let _log = open(folder.path())?;
    layout(folder.path())
}

/// Bytes of all files in a folder.
pub(crate) fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// Who fills a log.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct FillerSetup {
    pub data_dir: PathBuf,
    pub events: u64,
}

/// Fills a log; ready when it is full and closed. Answers the time that it took.
pub(crate) async fn fill(setup: FillerSetup, control: Control) -> anyhow::Result<()> {
    let start = Instant::now();
    let log = open(&setup.data_dir)?;
    let maker = Maker::new(Payload::Small, AGENTS);
    stream::iter(0..setup.events)
        .map(|number| log.appender.append(maker.event(0, number)))
        .buffered(APPENDS_MAX)
        .try_for_each(async |_| Ok(()))
        .await?;
    log.appender.finish().await;
    control.answer(&start.elapsed())
}

/// Who reads a log and sends nothing.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ReaderSetup {
    pub data_dir: PathBuf,
}

/// Answers each order by how long it took to read all events, from the first to the last.
pub(crate) async fn read(setup: ReaderSetup, mut control: Control) -> anyhow::Result<()> {
    let log = open(&setup.data_dir)?;
    control.answer(&())?;
    while control.order::<()>().await?.is_some() {
        let start = Instant::now();
        let through = log.tail.borrow().position.sequence;
        let mut after = Sequence::ZERO;
        let mut complete = false;
        while !complete {
            let batch = log
                .reader
                .read(Query {
                    lane: Lane::Far,
                    selector: Selector::default(),
                    after,
                    through,
                    newest_first: false,
                    events_max: 1_000,
                    bytes_max: 1024 * 1024,
                    with_raw: false,
                })
                .await?;
            after = batch.covered.sequence;
            complete = batch.complete;
            std::hint::black_box(batch.events);
        }
        control.answer(&start.elapsed())?;
    }
    Ok(())
}

fn open(data_dir: &Path) -> anyhow::Result<Log> {
    let config = log::Config {
        data_dir: data_dir.to_owned(),
        new_log: false,
        limits: log::Limits::NONE,
    };
    log::open(&config, log::Metrics::register(&mut Registry::default())).with_context(|| {
        format!(
            "cannot use the log in {}; remove that folder, and it is made anew",
            data_dir.display()
        )
    })
}
