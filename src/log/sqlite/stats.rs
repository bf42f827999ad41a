//! What a log holds, and what takes its space.

use std::{collections::BTreeMap, fs, path::Path};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::{folder::LOG_NAME, place::beside, query, read_only, rows};
use crate::{
    event::{Position, Sequence},
    log::{Bounds, Progress, WorkError},
};

/// Rows of one read, which ends before the next begins: a long read would keep the write-ahead log
/// from being emptied.
const ROWS_AT_ONCE: u64 = 5_000;
/// The growth is measured over this time before now, or since the earliest event.
const GROWTH_OVER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The growth of a shorter time says nothing about a day.
const GROWTH_OVER_MIN: SignedDuration = SignedDuration::from_hours(1);

/// What a log holds.
#[derive(Clone, Debug)]
pub(crate) struct Stats {
    pub bounds: Bounds,
    /// The version of the file's schema.
    pub schema: i64,
    pub space: Space,
    /// By day, in UTC, and type.
    pub days: BTreeMap<String, BTreeMap<String, u64>>,
    /// None if there are not enough events to tell.
    pub growth: Option<Growth>,
}

/// What takes space, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Space {
    pub file: u64,
    pub wal: u64,
    /// In the file: the webhooks' bodies.
    pub bodies: u64,
    pub headers: u64,
    /// Events, ready to be sent.
    pub encoded: u64,
    /// Indexes, and tables that serve as indexes.
    pub indexes: u64,
    /// Pages for new events.
    pub free: u64,
}

impl Space {
    /// The rest: the other columns, and what is left over in pages.
    pub(crate) fn other(&self) -> u64 {
        let named = self.bodies + self.headers + self.encoded + self.indexes + self.free;
        self.file.saturating_sub(named)
    }
}

/// How fast the log grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    pub events_per_day: f64,
    pub bytes_per_day: f64,
    /// How long it was measured.
    pub over: SignedDuration,
}

/// Reads the whole log in this folder. A gateway may use it meanwhile: then this finds what was
/// there when it began.
///
/// # Errors
/// If there is no log, it cannot be read, or `progress` was told to stop.
pub(crate) fn stats(
    data_dir: &Path,
    now: Timestamp,
    progress: &Progress,
) -> Result<Stats, WorkError> {
    let path = data_dir.join(LOG_NAME);
    let conn = read_only::connect(&path)?;
    let bounds = query::bounds(&conn)?;
    let mut space = space(&conn)?;
    space.wal = fs::metadata(beside(&path, "-wal")).map_or(0, |wal| wal.len());

    let begin = (now - GROWTH_OVER).max(bounds.earliest.time.unwrap_or(now));
    let mut count = Count {
        recent_from: rows::time_text(begin),
        ..Count::default()
    };
    count.rows(&conn, &bounds, progress)?;
    space.bodies = count.bodies;
    space.headers = count.headers;
    space.encoded = count.encoded;

    let over = now.duration_since(begin);
    let event_bytes = (space.file - space.free).checked_div(bounds.event_count);
    let growth = event_bytes
        .filter(|_| over >= GROWTH_OVER_MIN)
        .map(|event_bytes| {
            let days = over.as_secs_f64() / SignedDuration::from_hours(24).as_secs_f64();
            let events_per_day = count.recent as f64 / days;
            Growth {
                events_per_day,
                bytes_per_day: events_per_day * event_bytes as f64,
                over,
            }
        });
    Ok(Stats {
        bounds,
        schema: conn.pragma_query_value(None, "user_version", |row| row.get(0))?,
        space,
        days: count.days,
        growth,
    })
}

/// What the file takes, without what is inside the rows.
fn space(conn: &Connection) -> rusqlite::Result<Space> {
    let snapshot = conn.unchecked_transaction()?;
    let pragma = |name| snapshot.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let page_bytes = pragma("page_size")?;
    Ok(Space {
        file: pragma("page_count")? * page_bytes,
        free: pragma("freelist_count")? * page_bytes,
        // Only the pages of the tables that it is asked for are read.
        indexes: snapshot.query_row(
            "SELECT coalesce(sum(pgsize), 0) FROM sqlite_schema JOIN dbstat USING (name)
             WHERE aggregate = TRUE AND sqlite_schema.name NOT IN ('events', 'log')",
            [],
            |row| row.get(0),
        )?,
        ..Space::default()
    })
}

/// What was counted in the rows.
#[derive(Default)]
struct Count {
    days: BTreeMap<String, BTreeMap<String, u64>>,
    bodies: u64,
    headers: u64,
    encoded: u64,
    /// Events received at or after `recent_from`.
    recent: u64,
    recent_from: String,
}

impl Count {
    fn rows(
        &mut self,
        conn: &Connection,
        bounds: &Bounds,
        progress: &Progress,
    ) -> Result<(), WorkError> {
        progress.begin("reading events", bounds.event_count);
        let Position { sequence: last, .. } = bounds.latest;
        let mut after = bounds.earliest.before.sequence;
        let mut done = 0;
        while after < last {
            let through = through(conn, after)?.map_or(last, |through| through.min(last));
            done += self.stretch(conn, after, through)?;
            after = through;
            progress.reached(done)?;
        }
        Ok(())
    }

    /// Counts a stretch, and returns its number of rows.
    fn stretch(
        &mut self,
        conn: &Connection,
        after: Sequence,
        through: Sequence,
    ) -> rusqlite::Result<u64> {
        // The lengths are read without the texts.
        let mut statement = conn.prepare_cached(
            "SELECT substr(receive_time, 1, 10), type, count(*),
                    count(*) FILTER (WHERE receive_time >= ?3),
                    sum(octet_length(raw_json)), sum(octet_length(raw_headers)),
                    sum(octet_length(encoded))
             FROM events WHERE sequence > ?1 AND sequence <= ?2 GROUP BY 1, 2",
        )?;
        let mut rows = statement.query((after.0, through.0, &self.recent_from))?;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            let day = self.days.entry(row.get(0)?).or_default();
            let events: u64 = row.get(2)?;
            *day.entry(row.get(1)?).or_default() += events;
            found += events;
            self.recent += row.get::<_, u64>(3)?;
            self.bodies += row.get::<_, u64>(4)?;
            self.headers += row.get::<_, u64>(5)?;
            self.encoded += row.get::<_, u64>(6)?;
        }
        Ok(found)
    }
}

/// The last place of a stretch of so many rows; none if there are fewer. Sequences may skip.
fn through(conn: &Connection, after: Sequence) -> rusqlite::Result<Option<Sequence>> {
    conn.prepare_cached(
        "SELECT sequence FROM events WHERE sequence > ?1 ORDER BY sequence LIMIT 1 OFFSET ?2",
    )?
    .query_row((after.0, ROWS_AT_ONCE - 1), |row| row.get(0).map(Sequence))
    .optional()
}
