//! The tables, and how an older file gets them.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};

use super::{checksum, ids, rows, upgrade};
use crate::{
    event::Epoch,
    log::{error::OpenError, parts::Identity},
};

/// The version of the files that this build makes: `PRAGMA user_version`.
pub(super) const VERSION: i64 = 2;

/// The events, and what belongs to them.
const EVENTS: &str = "
    CREATE TABLE events (
        sequence        INTEGER PRIMARY KEY,
        id              BLOB NOT NULL CHECK (length(id) = 16),
        id_hex          TEXT GENERATED ALWAYS AS (lower(hex(id))) VIRTUAL,
        type            TEXT NOT NULL,
        event_name      TEXT NOT NULL,
        trace_id        TEXT NOT NULL,
        organization_id TEXT NOT NULL,
        agent_id        TEXT NOT NULL,
        call_id         TEXT NOT NULL,
        status          TEXT NOT NULL,
        event_time      TEXT NOT NULL,
        receive_time    TEXT NOT NULL,
        raw_json        TEXT NOT NULL,
        raw_headers     TEXT NOT NULL,
        encoded         BLOB NOT NULL,
        -- 0: not made yet; see log.unchecked_sequence.
        checksum        INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX events_by_call ON events (call_id);

    -- Whoever removes an event, the sums stay true. (octet_length() is too new for the tools that
    -- operators have.)
    CREATE TRIGGER events_removed AFTER DELETE ON events BEGIN
        UPDATE log SET
            event_count = event_count - 1,
            event_bytes = event_bytes
                - length(CAST(old.raw_json AS BLOB))
                - length(CAST(old.raw_headers AS BLOB))
                - length(old.encoded);
    END;
";

/// What is known of the log beside its events, and how events are found.
const REST: &str = "
    -- One row. What is last here outlives the event itself.
    CREATE TABLE log (
        only               INTEGER PRIMARY KEY CHECK (only = 1),
        epoch              BLOB NOT NULL CHECK (length(epoch) = 16),
        id_key             BLOB NOT NULL CHECK (length(id_key) = 32),
        created            TEXT NOT NULL,
        -- The log began behind this place.
        base_sequence      INTEGER NOT NULL DEFAULT 0,
        -- Up to here events may have no checksum yet: those of a file of version 1.
        unchecked_sequence INTEGER NOT NULL DEFAULT 0,
        -- Over the values above.
        checksum           INTEGER NOT NULL DEFAULT 0,
        trimmed_sequence   INTEGER NOT NULL DEFAULT 0,
        -- Events up to here are in id_runs and agent_places.
        indexed_sequence   INTEGER NOT NULL DEFAULT 0,
        last_sequence      INTEGER NOT NULL DEFAULT 0,
        last_id            BLOB,
        last_receive_time  TEXT,
        event_count        INTEGER NOT NULL DEFAULT 0,
        event_bytes        INTEGER NOT NULL DEFAULT 0,
        -- Filled and emptied to find out whether the disk takes an event. Last, so that reading
        -- the others never touches it.
        probe              BLOB
    ) STRICT;

    -- For queries on one agent: the events that its lists name, and those that are in no list yet.
    CREATE VIEW events_by_agent AS
        SELECT event.*
        FROM agent_places AS place
            JOIN json_each(place.sequences) AS entry
            JOIN events AS event
                ON event.sequence = entry.value AND event.agent_id = place.agent_id
        WHERE place.first <= (SELECT indexed_sequence FROM log)
        UNION ALL
        SELECT * FROM events WHERE sequence > (SELECT indexed_sequence FROM log);
";

/// Makes the tables in an empty file, which gets its identity from `make`, and brings an older file
/// to [`VERSION`]: in one transaction or not at all.
pub(super) fn migrate(
    conn: &mut Connection,
    path: &Path,
    now: Timestamp,
    make: impl FnOnce() -> Identity,
) -> Result<(), OpenError> {
    match known(conn, path)? {
        VERSION => Ok(()),
        1 => upgrade(conn).map_err(OpenError::database(path)),
        _ => begin(conn, now, &make()).map_err(OpenError::database(path)),
    }
}

/// The version of the file, if this build knows it.
pub(super) fn known(conn: &Connection, path: &Path) -> Result<i64, OpenError> {
    match version(conn).map_err(OpenError::database(path))? {
        found if found > VERSION => Err(OpenError::NewerSchema {
            path: path.to_owned(),
            found,
            known: VERSION,
        }),
        found => Ok(found),
    }
}

fn begin(conn: &mut Connection, now: Timestamp, identity: &Identity) -> rusqlite::Result<()> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    transaction.execute_batch(EVENTS)?;
    transaction.execute_batch(ids::TABLES)?;
    transaction.execute_batch(REST)?;
    transaction.execute(
        "INSERT INTO log (only, epoch, id_key, created) VALUES (1, ?1, ?2, ?3)",
        params![identity.epoch.0, identity.id_key, rows::time_text(now)],
    )?;
    seal(&transaction)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn upgrade(conn: &mut Connection) -> rusqlite::Result<()> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    upgrade::before(&transaction)?;
    transaction.execute_batch(ids::TABLES)?;
    transaction.execute_batch(REST)?;
    upgrade::after(&transaction)?;
    seal(&transaction)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Makes the checksum of what `log` says for good. Belongs to each change of one of these values.
pub(super) fn seal(conn: &Connection) -> rusqlite::Result<()> {
    let (_, sum) = sealed(conn)?;
    conn.execute("UPDATE log SET checksum = ?1", [sum])?;
    Ok(())
}

/// Whether these values are those that were written.
pub(super) fn is_sealed(conn: &Connection) -> rusqlite::Result<bool> {
    let (stored, sum) = sealed(conn)?;
    Ok(stored == sum)
}

/// The checksum that `log` has, and the one that it should have.
fn sealed(conn: &Connection) -> rusqlite::Result<(i64, i64)> {
    conn.query_row(
        "SELECT checksum, epoch, id_key, created, base_sequence, unchecked_sequence FROM log",
        [],
        |row| {
            let values: Result<Vec<_>, _> = (1..6).map(|index| row.get_ref(index)).collect();
            Ok((row.get(0)?, checksum::of(values?)))
        },
    )
}

/// A part of the schema.
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) table: String,
    pub(super) sql: String,
}

/// What the schema of a file of this version has.
pub(super) fn objects() -> rusqlite::Result<Vec<Object>> {
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(EVENTS)?;
    conn.execute_batch(ids::TABLES)?;
    conn.execute_batch(REST)?;
    let mut objects = conn.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let objects = objects.query_map([], |row| {
        Ok(Object {
            kind: row.get(0)?,
            name: row.get(1)?,
            table: row.get(2)?,
            sql: row.get(3)?,
        })
    })?;
    objects.collect()
}

pub(super) fn identity(conn: &Connection) -> rusqlite::Result<Identity> {
    conn.query_row("SELECT epoch, id_key FROM log", [], |row| {
        Ok(Identity {
            epoch: Epoch(row.get(0)?),
            id_key: row.get(1)?,
        })
    })
}

fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}
