//! Logs with many events, made once and kept beside the results, and what is to be known about
//! them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use prometheus_client::registry::Registry;
use rustix::fs::{Advice, fadvise};
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
pub(crate) const FILE: &str = "events.db";
/// Appends that wait at the same time while a log is filled: more than a group takes.
const APPENDS_MAX: usize = 1_024;

/// A log that is kept grows with each measurement that appends to it. From this many times its
/// events on it is made anew.
const GROWN: f64 = 1.5;

/// A log that nobody else has in use. Made if it is not there.
#[derive(Debug)]
pub(crate) struct KeptLog {
    pub folder: PathBuf,
    /// How many events it was asked to have.
    pub events: u64,
    /// How many it has: never less.
    pub count: u64,
}

impl KeptLog {
    pub(crate) fn of(events: u64) -> anyhow::Result<Self> {
        let current = current_layout()?;
        Self::kept(&events.to_string(), events, Some(current), Role::LogFiller)
    }

    /// A log as version 1 has made it.
    pub(crate) fn of_version_1(events: u64) -> anyhow::Result<Self> {
        let name = format!("{events}-of-version-1");
        Self::kept(&name, events, None, Role::Version1Filler)
    }

    fn kept(
        name: &str,
        events: u64,
        expected_layout: Option<String>,
        filler: impl FnOnce(FillerSetup) -> Role,
    ) -> anyhow::Result<Self> {
        let folder = crate::folder().join("logs").join(name);
        let complete = folder.join("complete");
        let is_usable = || {
            let is_current = match expected_layout {
                Some(expected) => layout(&folder)? == expected,
                None => true,
            };
            anyhow::Ok(is_current && event_count(&folder)? as f64 <= events as f64 * GROWN)
        };
        if !complete.exists() || !is_usable()? {
            eprintln!("filling the log {name}");
            // What is left of a filling that was broken off, or of another version.
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            let _filled: (Child, Duration) = Child::start(filler(FillerSetup {
                data_dir: folder.clone(),
                events,
            }))?;
            fs::write(complete, "")?;
        }
        Ok(Self {
            count: event_count(&folder)?,
            folder,
            events,
        })
    }

    /// A copy of its files, for what would make it useless.
    pub(crate) fn copy(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let copy = folder.join(entry.file_name());
                fs::copy(entry.path(), &copy)?;
                File::open(copy)?.sync_all()?;
            }
        }
        Ok(())
    }

    /// Takes it out of the system's memory, as if the machine had just started.
    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let file = File::open(entry?.path())?;
            if file.metadata()?.is_file() {
                // Only pages that are on the disk can be forgotten.
                file.sync_all()?;
                fadvise(&file, 0, None, Advice::DontNeed)?;
            }
        }
        Ok(())
    }
}

/// Events in a log, which may be in use.
pub(crate) fn event_count(folder: &Path) -> anyhow::Result<u64> {
    let file = rusqlite::Connection::open(folder.join(FILE))?;
    Ok(file.query_row("SELECT event_count FROM log", [], |row| row.get(0))?)
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
    open_with(data_dir, log::Metrics::register(&mut Registry::default()))
}

/// Opens a log that tells of itself in these metrics.
pub(crate) fn open_with(data_dir: &Path, metrics: log::Metrics) -> anyhow::Result<Log> {
    let config = log::Config {
        data_dir: data_dir.to_owned(),
        consent: Default::default(),
        limits: log::Limits::NONE,
    };
    log::open(&config, metrics).with_context(|| {
        format!(
            "cannot use the log in {}; remove that folder, and it is made anew",
            data_dir.display()
        )
    })
}
