//! The log's file looked at alone: without its write-ahead log, without locks, and without leaving a trace beside it.

use std::{os::unix::ffi::OsStrExt, path::Path};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::event::{Epoch, Sequence};

/// What the file says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone {
    pub(super) epoch: Epoch,
    /// The newest event that has been moved into it.
    pub(super) last: Sequence,
}

/// Looks into the file. None if it does not have the log's tables and version.
///
/// # Errors
/// If the file cannot be read, is no SQLite file, or is shorter than it says.
pub(super) fn read(path: &Path) -> rusqlite::Result<Option<Alone>> {
    let access = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(format!("file:{}?immutable=1", escaped(path)), access)?;
    of(&conn)
}

/// What an open file says of itself.
pub(super) fn of(conn: &Connection) -> rusqlite::Result<Option<Alone>> {
    const LOOK: &str = "
        SELECT epoch, last_sequence FROM log
        WHERE EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'events')
          AND (SELECT user_version FROM pragma_user_version) > 0";
    let read = conn.query_row(LOOK, [], |row| {
        Ok(Alone {
            epoch: Epoch(row.get(0)?),
            last: Sequence(row.get(1)?),
        })
    });
    match read {
        Ok(found) => Ok(Some(found)),
        Err(rusqlite::Error::SqliteFailure(error, message)) if error.code != ErrorCode::Unknown => {
            Err(rusqlite::Error::SqliteFailure(error, message))
        }
        // No such table or column, no row, or something else in it.
        Err(_) => Ok(None),
    }
}

/// A path as a URI has it.
fn escaped(path: &Path) -> String {
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
