//! Connections to the file, set up for what they are used for.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

/// How long a connection waits for another one, for example an operator's, before it gives up.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page size of the file and of its write-ahead log.
pub(super) const PAGE_BYTES: u64 = 8 * 1024;
/// The size to which the write-ahead log is cut back once it is larger.
pub(super) const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The same in pages.
pub(super) const WAL_PAGES_MAX: u64 = WAL_BYTES_MAX / PAGE_BYTES;
/// KiB of pages that the writer keeps in memory. It mostly writes at the end of each table. In a
/// small file SQLite walks through all of them at some commits.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// The same for a reader, which mostly reads one page after the other.
const READER_CACHE_KIB: i64 = 4 * 1024;
/// A reader needs one for each shape of filter that is in use.
const STATEMENTS_MAX: usize = 64;

/// The only connection that writes. The file must exist.
pub(super) fn writer(path: &Path) -> rusqlite::Result<Connection> {
    let conn = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // The page size has an effect only in an empty file, and only before the journal mode is set.
    conn.pragma_update(None, "page_size", PAGE_BYTES)?;
    // In any other file SQLite would write this again, before anybody has looked at the log.
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    // On macOS a plain sync only reaches the drive's cache.
    conn.pragma_update(None, "fullfsync", true)?;
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    // See `checkpoint.rs`.
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    bound_wal(&conn, WAL_BYTES_MAX)?;
    // A connection that ends because of an error must change nothing; see `close`.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(conn)
}

/// A connection that only runs checkpoints, and never syncs: see [`super::checkpoint`].
pub(super) fn mover(path: &Path) -> rusqlite::Result<Connection> {
    let conn = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.pragma_update(None, "synchronous", "OFF")?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(conn)
}

/// Whether, from now on, what is removed or written over is filled with zeroes.
pub(super) fn wipe(conn: &Connection, wipes: bool) -> rusqlite::Result<()> {
    conn.pragma_update_and_check(None, "secure_delete", wipes, |_| Ok(()))
}

/// Cuts the write-ahead log back to this size when it begins anew and is larger.
pub(super) fn bound_wal(conn: &Connection, bytes_max: u64) -> rusqlite::Result<()> {
    conn.pragma_update_and_check(None, "journal_size_limit", bytes_max, |_| Ok(()))
}

/// Moves all of the write-ahead log into the file, if no reader is in the way, and closes the
/// connection that writes. The last one removes the side files.
pub(super) fn close(conn: Connection) -> rusqlite::Result<()> {
    checkpoint(&conn, "TRUNCATE")?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    conn.close().map_err(|(_, error)| error)
}

/// The result of a checkpoint. All is zero if another one was running.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checkpoint {
    /// Whether others have prevented it.
    pub(super) busy: bool,
    /// Pages in the write-ahead log, moved or not.
    pub(super) pages: u64,
    /// Pages that have been moved into the file.
    pub(super) moved: u64,
}

/// Runs a checkpoint in one of SQLite's modes. `NOOP` moves nothing and only reports.
pub(super) fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<Checkpoint> {
    conn.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row([], |row| {
            Ok(Checkpoint {
                busy: row.get(0)?,
                pages: row.get::<_, i64>(1)?.try_into().unwrap_or(0),
                moved: row.get::<_, i64>(2)?.try_into().unwrap_or(0),
            })
        })
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(conn)
}

fn open(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    // Without SQLITE_OPEN_CREATE, so that a missing file is an error, and without URI, so that a
    // folder may have any name.
    let conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // What callers said must not get into a temporary folder.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}
