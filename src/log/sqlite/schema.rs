//! The tables, and the migrations from older versions.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};

use super::rows;
use crate::{
    event::Epoch,
    log::{error::OpenError, parts::Identity},
};

/// Each migration makes a version of the file from the one before; the first starts from an empty
/// file. Only ever append to this list: `user_version` is the number of migrations that were run.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE events (
        sequence        INTEGER PRIMARY KEY,
        id              BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
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
        encoded         BLOB NOT NULL
    ) STRICT;
    CREATE INDEX events_by_agent ON events (agent_id);
    CREATE INDEX events_by_call ON events (call_id);

    -- One row. What is last here outlives the event itself.
    CREATE TABLE log (
        only              INTEGER PRIMARY KEY CHECK (only = 1),
        epoch             BLOB NOT NULL CHECK (length(epoch) = 16),
        id_key            BLOB NOT NULL CHECK (length(id_key) = 32),
        created           TEXT NOT NULL,
        trimmed_sequence  INTEGER NOT NULL DEFAULT 0,
        last_sequence     INTEGER NOT NULL DEFAULT 0,
        last_id           BLOB,
        last_receive_time TEXT,
        event_count       INTEGER NOT NULL DEFAULT 0,
        event_bytes       INTEGER NOT NULL DEFAULT 0,
        -- Filled and emptied to find out whether the disk takes an event. Last, so that reading
        -- the others never touches it.
        probe             BLOB
    ) STRICT;

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
"];

/// The newest version that this build knows.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// Brings the file to [`VERSION`], in one transaction or not at all. A new file gets an identity
/// from `make`.
pub(super) fn migrate(
    conn: &mut Connection,
    path: &Path,
    now: Timestamp,
    make: impl FnOnce() -> Identity,
) -> Result<(), OpenError> {
    match known(conn, path)? {
        found if found < VERSION => {
            apply(conn, found, now, make).map_err(OpenError::database(path))
        }
        _ => Ok(()),
    }
}

/// The version of the file, if this build knows it.
pub(super) fn known(conn: &Connection, path: &Path) -> Result<usize, OpenError> {
    let found = version(conn).map_err(OpenError::database(path))?;
    match usize::try_from(found) {
        Ok(version) if version > VERSION => Err(OpenError::NewerSchema {
            path: path.to_owned(),
            found,
            known: i64::try_from(VERSION).unwrap_or(i64::MAX),
        }),
        version => Ok(version.unwrap_or(0)),
    }
}

fn apply(
    conn: &mut Connection,
    found: usize,
    now: Timestamp,
    make: impl FnOnce() -> Identity,
) -> rusqlite::Result<()> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    for migration in MIGRATIONS.iter().skip(found) {
        transaction.execute_batch(migration)?;
    }
    if found == 0 {
        let identity = make();
        transaction.execute(
            "INSERT INTO log (only, epoch, id_key, created) VALUES (1, ?1, ?2, ?3)",
            params![identity.epoch.0, identity.id_key, rows::time_text(now)],
        )?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
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
