//! Looks into the log's file without its write-ahead log, without locks, and without leaving other
//! files beside it.

use std::{os::unix::ffi::OsStrExt, path::Path};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::event::{Epoch, Sequence};

/// What the file says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    pub(super) epoch: Epoch,
    /// The newest event that a checkpoint has moved into the file.
    pub(super) last: Sequence,
    /// The schema's version: `user_version`.
    pub(super) version: i64,
}

/// Reads no row of `events`, but fails if one of the columns is missing that all versions have.
const READ: &str = "
    SELECT epoch, last_sequence, user_version FROM log, pragma_user_version
    WHERE NOT EXISTS (SELECT id_key, created, trimmed_sequence, last_id, last_receive_time,
                             event_count, event_bytes, probe
                      FROM log WHERE FALSE)
      AND NOT EXISTS (SELECT sequence, id, type, event_name, trace_id, organization_id, agent_id,
                             call_id, status, event_time, receive_time, raw_json, raw_headers,
                             encoded
                      FROM events WHERE FALSE)";

/// Fails if something is missing that version 2 has added.
const READ_2: &str = "
    SELECT events.checksum, base_sequence, unchecked_sequence, log.checksum, indexed_sequence,
           run, tier, entries, first_sequence, id_runs.last_sequence, id_runs.checksum, place,
           content, agent_places.agent_id, first, sequences, agent_places.checksum,
           events_by_agent.sequence
    FROM events, log, id_runs, id_parts, agent_places, events_by_agent WHERE FALSE";

/// Reads the file. None if it lacks the log's tables and columns.
///
/// # Errors
/// If the file cannot be read, is no SQLite file, or is shorter than it says.
pub(super) fn read(path: &Path) -> rusqlite::Result<Option<Alone>> {
    of(&connect(path)?)
}

/// Opens the file alone.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(format!("file:{}?immutable=1", escaped(path)), access)
}

/// What an open file says of itself.
pub(super) fn of(conn: &Connection) -> rusqlite::Result<Option<Alone>> {
    let read = || {
        let found = conn.query_row(READ, [], |row| {
            Ok(Alone {
                epoch: Epoch(row.get(0)?),
                last: Sequence(row.get(1)?),
                version: row.get(2)?,
            })
        })?;
        if found.version >= 2 {
            conn.prepare(READ_2)?;
        }
        Ok(found)
    };
    match read() {
        Ok(found) => Ok(Some(found)),
        Err(rusqlite::Error::SqliteFailure(error, message)) if error.code != ErrorCode::Unknown => {
            Err(rusqlite::Error::SqliteFailure(error, message))
        }
        // A table or column is missing, there is no row, or a value has another type.
        Err(_) => Ok(None),
    }
}

/// A path, escaped for a URI.
pub(super) fn escaped(path: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    path.as_os_str()
        .as_bytes()
        .iter()
        .map(|byte| match byte {
            byte if plain(byte) => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
