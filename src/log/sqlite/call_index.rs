//! The index on calls, when it is damaged: it is taken out of the schema at once, so that events go
//! on being stored, and made anew step by step.
//!
//! SQLite makes an index in one go, which takes half a minute for ten million events. So it is made
//! as a table whose rows are the entries of the index, and becomes the index when it has all of
//! them: a table without rowid and an index with the same values are stored in the same way. The
//! pages of the damaged index stay lost until the log is copied: to free them, SQLite would have to
//! read them, and could free pages of events instead.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{
    chores::{Chore, Next},
    condition::{CALL_INDEX, has_call_index},
    fault::Fault,
    file::LogFile,
    rows::signed,
    schema_edit,
    trouble::Trouble,
};
use crate::event::Sequence;

const SQL: &str = "CREATE INDEX events_by_call ON events (call_id)";

/// The entries so far, and up to which event there are all of them.
const BEGIN: &str = "
    CREATE TABLE call_places (
        call_id  TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY (call_id, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE call_places_made (through INTEGER NOT NULL) STRICT;
    INSERT INTO call_places_made SELECT max(base_sequence, trimmed_sequence) FROM log;
    CREATE TRIGGER call_places_removed AFTER DELETE ON events BEGIN
        DELETE FROM call_places WHERE call_id = old.call_id AND sequence = old.sequence;
    END;
";
/// How often it looks whether the index is missing.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Entries that are made in a step.
const ENTRIES: u64 = 512;

fn exists(conn: &Connection, kind: &str, name: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2")?
        .exists([kind, name])
}

/// Takes all indexes on events out of the schema, in the transaction at hand. Returns their names.
pub(super) fn take_out(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut names = conn
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'events'")?;
    let names: Vec<String> = names
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    schema_edit::edit(conn, |conn| {
        let delete = "DELETE FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'events'";
        conn.execute(delete, []).map(|_| ())
    })?;
    Ok(names)
}

/// Makes the index anew, if it is missing.
pub(super) struct CallIndex;

impl Chore for CallIndex {
    fn name(&self) -> &'static str {
        "making the index on calls anew"
    }

    fn step(&mut self, file: &mut LogFile, _: Instant) -> Result<Next, Trouble> {
        if file.read(has_call_index)? {
            return Ok(Next::After(LOOK_INTERVAL));
        }
        // In a transaction that has met damage SQLite writes nothing, so what is damaged is read
        // before.
        let skipped = file.read(damaged_next)?;
        let is_made = file.change(|transaction| Ok(make(transaction, &skipped)?))?;
        if is_made {
            tracing::info!("the index on calls is whole again");
        }
        Ok(Next::Soon)
    }
}

/// What is next, if some of it is damaged: what can be read.
#[derive(Default)]
struct Skipped {
    through: Option<Sequence>,
    entries: Vec<(String, Sequence)>,
}

/// Where the entries are next, and where the log ends.
fn next(conn: &Connection) -> rusqlite::Result<(Sequence, Sequence)> {
    conn.query_row(
        "SELECT through, last_sequence FROM call_places_made, log",
        [],
        |row| Ok((Sequence(row.get(0)?), Sequence(row.get(1)?))),
    )
}

fn damaged_next(conn: &Connection) -> rusqlite::Result<Skipped> {
    let mut skipped = Skipped::default();
    if !exists(conn, "table", "call_places")? {
        return Ok(skipped);
    }
    let (after, last) = next(conn)?;
    let through = Sequence(last.0.min(after.0 + ENTRIES));
    let read = |after: Sequence, through: Sequence| -> Result<Vec<(String, Sequence)>, Fault> {
        let mut rows = conn.prepare_cached(
            "SELECT call_id, sequence FROM events WHERE sequence > ?1 AND sequence <= ?2",
        )?;
        let rows = rows.query_map([after.0, through.0].map(signed), |row| {
            Ok((row.get(0)?, Sequence(row.get(1)?)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    match read(after, through) {
        Ok(_) => return Ok(skipped),
        Err(Fault::Damaged) => {}
        Err(Fault::Sqlite(error)) => return Err(error),
    }
    for place in after.0..through.0 {
        match read(Sequence(place), Sequence(place + 1)) {
            Ok(entries) => skipped.entries.extend(entries),
            Err(Fault::Damaged) => {}
            Err(Fault::Sqlite(error)) => return Err(error),
        }
    }
    skipped.through = Some(through);
    Ok(skipped)
}

/// Makes some entries. Returns whether the index is whole.
fn make(conn: &Connection, skipped: &Skipped) -> rusqlite::Result<bool> {
    if !exists(conn, "table", "call_places")? {
        conn.execute_batch(BEGIN)?;
        return Ok(false);
    }
    let (mut through, last) = next(conn)?;
    if let Some(end) = skipped.through {
        let mut insert =
            conn.prepare_cached("INSERT OR IGNORE INTO call_places VALUES (?1, ?2)")?;
        for (call, sequence) in &skipped.entries {
            insert.execute((call, signed(sequence.0)))?;
        }
        through = end;
    } else {
        let end = Sequence(last.0.min(through.0 + ENTRIES));
        conn.prepare_cached(
            "INSERT OR IGNORE INTO call_places
                 SELECT call_id, sequence FROM events WHERE sequence > ?1 AND sequence <= ?2",
        )?
        .execute([through.0, end.0].map(signed))?;
        through = end;
    }
    conn.execute(
        "UPDATE call_places_made SET through = ?1",
        [signed(through.0)],
    )?;
    if through < last {
        return Ok(false);
    }
    conn.execute_batch("DROP TRIGGER call_places_removed; DROP TABLE call_places_made;")?;
    schema_edit::edit(conn, |conn| {
        let rename = "UPDATE sqlite_schema
             SET type = 'index', name = ?1, tbl_name = 'events', sql = ?2
             WHERE type = 'table' AND name = 'call_places'";
        conn.execute(rename, [CALL_INDEX, SQL]).map(|_| ())
    })?;
    Ok(true)
}
