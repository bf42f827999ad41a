//! Retention: removes the oldest events, once they are too old.
//!
//! Rows go from the old end, with `trimmed_sequence` in the same transaction. So no row at or
//! before it is left, and readers never see a hole at the old end.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{
    chores::{Chore, Next},
    file::LogFile,
    rows,
    trouble::Trouble,
};
use crate::{
    event::Sequence,
    log::{limits::Limits, metrics::Metrics},
};

/// How often it looks whether events are too old.
const INTERVAL: Duration = Duration::from_secs(1);
/// Rows, and bytes of rows, that are removed between two looks at the clock.
const ROWS_AT_ONCE: usize = 32;
const BYTES_AT_ONCE: u64 = 256 * 1024;
/// How often a line says that events are being removed.
const TELL_INTERVAL: Duration = Duration::from_secs(60 * 60);

pub(super) struct Retention {
    limits: Limits,
    metrics: Metrics,
    told: Option<Told>,
}

/// What the last line in the log said, and what came since.
struct Told {
    at: Instant,
    removed: u64,
}

/// What a step has removed.
#[derive(Debug, PartialEq, Eq)]
struct Removed {
    rows: u64,
    /// Whether more rows are due.
    more: bool,
}

impl Retention {
    pub(super) fn new(limits: Limits, metrics: Metrics) -> Self {
        Self {
            limits,
            metrics,
            told: None,
        }
    }

    /// The events that were received before this time are too old.
    fn horizon(&self, now: Timestamp) -> Option<Timestamp> {
        now.checked_sub(self.limits.age.duration()?).ok()
    }

    /// Says that it removes events, from time to time.
    fn tell(&mut self, removed: u64) {
        match &mut self.told {
            Some(told) if told.at.elapsed() < TELL_INTERVAL => told.removed += removed,
            told => {
                let since_last = told.take().map_or(0, |told| told.removed) + removed;
                tracing::info!(
                    removed = since_last,
                    "removing events that are older than {} (log.retention_age)",
                    self.limits.age
                );
                self.told = Some(Told {
                    at: Instant::now(),
                    removed: 0,
                });
            }
        }
    }
}

impl Chore for Retention {
    fn name(&self) -> &'static str {
        "removing old events"
    }

    fn step(&mut self, file: &mut LogFile, until: Instant) -> Result<Next, Trouble> {
        let Some(horizon) = self.horizon(Timestamp::now()) else {
            return Ok(Next::After(INTERVAL));
        };
        let horizon = rows::time_text(horizon);
        if !file.read(|conn| is_due(conn, &horizon))? {
            return Ok(Next::After(INTERVAL));
        }
        let removed = file.change(|transaction| remove(transaction, &horizon, until))?;
        self.metrics.removed(removed.rows);
        self.tell(removed.rows);
        Ok(match removed.more {
            true => Next::Soon,
            false => Next::After(INTERVAL),
        })
    }
}

/// Whether the oldest event was received before this time.
fn is_due(conn: &Connection, horizon: &str) -> rusqlite::Result<bool> {
    let oldest = conn
        .prepare_cached("SELECT receive_time < ?1 FROM events ORDER BY sequence LIMIT 1")?
        .query_row([horizon], |row| row.get(0))
        .optional()?;
    Ok(oldest.unwrap_or(false))
}

/// Removes the oldest events, as long as they were received before this time, until the step has
/// had its time.
fn remove(
    transaction: &Transaction<'_>,
    horizon: &str,
    until: Instant,
) -> Result<Removed, Trouble> {
    let mut removed = Removed {
        rows: 0,
        more: true,
    };
    let mut last = None;
    while let Some(through) = next_rows(transaction, horizon)? {
        let rows = transaction
            .prepare_cached("DELETE FROM events WHERE sequence <= ?1")?
            .execute([rows::signed(through.0)])?;
        removed.rows += rows as u64;
        last = Some(through);
        if Instant::now() >= until {
            break;
        }
    }
    match last {
        Some(through) => {
            transaction
                .prepare_cached("UPDATE log SET trimmed_sequence = max(trimmed_sequence, ?1)")?
                .execute(params![rows::signed(through.0)])?;
        }
        None => removed.more = false,
    }
    Ok(removed)
}

/// The last of the next few rows to remove. The lengths of body and encoded event come from the
/// row's header, so the pages of a large event are not read for them.
fn next_rows(conn: &Connection, horizon: &str) -> rusqlite::Result<Option<Sequence>> {
    let mut statement = conn.prepare_cached(
        "SELECT sequence, receive_time < ?1, octet_length(raw_json) + length(encoded)
         FROM events ORDER BY sequence LIMIT ?2",
    )?;
    let mut oldest = statement.query(params![horizon, ROWS_AT_ONCE])?;
    let (mut last, mut bytes) = (None, 0);
    while let Some(row) = oldest.next()? {
        if !row.get::<_, bool>(1)? || bytes >= BYTES_AT_ONCE {
            break;
        }
        last = Some(Sequence(row.get(0)?));
        bytes += row.get::<_, u64>(2)?;
    }
    Ok(last)
}
