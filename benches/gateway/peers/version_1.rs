//! The log as version 1 wrote it: the same rows with an index on ids, one on agents and one on
//! calls, all of SQLite.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::Instant,
};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use verbex_gateway::inside::event::NewEvent;

use super::rows::{self, Record, Writer};
use crate::{
    events::{Maker, Payload},
    logs::{self, FillerSetup},
    process::Control,
};

/// A log that a gateway of version 1 has written.
const FILE: &[u8] = include_bytes!("../../../tests/fixtures/log/version-1.db.gz");
/// As the appender of version 1 had them: 64 MiB of pages in memory, and a checkpoint each 16 MiB.
const CACHE_KIB: i64 = 64 * 1024;
const CHECKPOINT_PAGES: i64 = 2_048;
/// For filling a log: all of its indexes in memory, and few transactions.
const FILLER_CACHE_KIB: i64 = 2 * 1024 * 1024;
const FILLER_GROUP: u64 = 20_000;

/// How it is set up.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub data_dir: PathBuf,
    pub group_events: usize,
}

struct Version1 {
    conn: Connection,
    last_sequence: u64,
}

pub(crate) async fn run(setup: Setup, control: Control) -> anyhow::Result<()> {
    let writer = Version1::open(&setup.data_dir)?;
    rows::run(writer, setup.group_events, control).await
}

/// Fills a log; ready when it is full and closed. Answers the time that it took.
pub(crate) async fn fill(setup: FillerSetup, control: Control) -> anyhow::Result<()> {
    let start = Instant::now();
    begin(&setup.data_dir)?;
    let mut log = Version1::open(&setup.data_dir)?;
    log.conn.pragma_update(None, "synchronous", "OFF")?;
    log.conn
        .pragma_update(None, "cache_size", -FILLER_CACHE_KIB)?;
    let maker = Maker::new(Payload::Small, logs::AGENTS);
    let mut first = 0;
    while first < setup.events {
        let end = setup.events.min(first + FILLER_GROUP);
        log.write((first..end).map(|number| maker.event(0, number)).collect())?;
        first = end;
    }
    log.conn.pragma_update(None, "synchronous", "FULL")?;
    log.conn.close().map_err(|(_, error)| error)?;
    control.answer(&start.elapsed())
}

/// Makes a log without events of the one that is kept: so its tables are those of version 1.
fn begin(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = Vec::new();
    flate2::read::GzDecoder::new(FILE).read_to_end(&mut file)?;
    let path = folder.join(logs::FILE);
    fs::write(&path, file)?;
    Ok(Connection::open(path)?.execute_batch(
        "DELETE FROM events; UPDATE log SET last_sequence = 0, trimmed_sequence = 0; VACUUM",
    )?)
}

impl Version1 {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let conn = Connection::open(folder.join(logs::FILE))?;
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
        conn.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
        let last = conn.query_row("SELECT last_sequence FROM log", [], |row| row.get(0))?;
        Ok(Self {
            conn,
            last_sequence: last,
        })
    }
}

impl Writer for Version1 {
    fn write(&mut self, group: Vec<NewEvent>) -> anyhow::Result<()> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.conn.transaction_with_behavior(behavior)?;
        let (mut events, mut bytes, mut last) = (0, 0, None);
        {
            let mut find =
                transaction.prepare_cached("SELECT sequence FROM events WHERE id = ?1")?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO events (sequence, id, type, event_name, trace_id, organization_id,
                                     agent_id, call_id, status, event_time, receive_time, raw_json,
                                     raw_headers, encoded)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, CAST(?12 AS TEXT), ?13,
                         ?14)",
            )?;
            for event in group {
                let first: Option<u64> =
                    find.query_row([event.id.0], |row| row.get(0)).optional()?;
                if first.is_some() {
                    continue;
                }
                let row = Record::of(event, self.last_sequence + events + 1)?;
                let [kind, name, trace, organization, agent, call, status] = &row.texts;
                insert.execute(params![
                    row.sequence,
                    row.id,
                    kind,
                    name,
                    trace,
                    organization,
                    agent,
                    call,
                    status,
                    row.event_time,
                    row.receive_time,
                    &row.json[..],
                    row.headers,
                    &row.encoded[..],
                ])?;
                events += 1;
                bytes += row.bytes();
                last = Some(row);
            }
            if let Some(row) = last {
                transaction
                    .prepare_cached(
                        "UPDATE log SET last_sequence = ?1, last_id = ?2, last_receive_time = ?3,
                                event_count = event_count + ?4, event_bytes = event_bytes + ?5",
                    )?
                    .execute(params![
                        row.sequence,
                        row.id,
                        row.receive_time,
                        events,
                        bytes,
                    ])?;
            }
        }
        transaction.commit()?;
        self.last_sequence += events;
        Ok(())
    }
}
