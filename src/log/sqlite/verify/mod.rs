//! Reads a whole log, and says what is not as a gateway has written it.
//!
//! Nothing is believed: SQLite's structure, the schema, the row of `log`, each event against its
//! checksum, its body and its neighbours, and each index against the events. A gateway may use the
//! log meanwhile: the events are read in stretches, each in a snapshot of its own.

mod events;
mod found;
mod header;
mod structure;
#[cfg(test)]
mod tests;

use std::path::Path;

use rusqlite::Connection;

use self::found::STEPS;
pub(crate) use self::found::{Identify, Verified};
pub(crate) use super::faults::Remedy;
use super::{fault, faults::Faults, folder::LOG_NAME, ids, loss, read_only, schema};
use crate::log::{Progress, WorkError};

/// Reads all of the log in this folder.
///
/// # Errors
/// If there is no log, it cannot be read, or `progress` was told to stop.
pub(crate) fn verify(
    data_dir: &Path,
    identify: Identify<'_>,
    progress: &Progress,
) -> Result<Verified, WorkError> {
    let path = data_dir.join(LOG_NAME);
    let mut found = Verified::default();
    // Before SQLite opens the file in this process: closing it releases SQLite's locks.
    let largest = header::check(&path, &mut found.faults);
    let mut conn = read_only::connect(&path)?;
    if let Some(largest) = largest {
        let sql = "SELECT max(rootpage) FROM sqlite_schema";
        let root: u32 = conn.query_row(sql, [], |row| row.get(0))?;
        if root != largest {
            let what = "bytes 52 to 55 of events.db do not name the largest root page";
            found.faults.log(what);
        }
    }
    told(&mut found.faults, "what the log lacks", |faults| {
        if let Some(loss) = loss::of(data_dir, &conn)? {
            faults.log(loss);
        }
        Ok(())
    })?;
    check(&mut conn, identify, progress, &mut found)?;
    Ok(found)
}

/// Reads all that SQLite can see of a log.
fn check(
    conn: &mut Connection,
    identify: Identify<'_>,
    progress: &Progress,
    found: &mut Verified,
) -> Result<(), WorkError> {
    let result = checked(conn, identify, progress, found);
    // SQLite says only that it was interrupted.
    if progress.is_stopped() {
        progress.reached(0)?;
    }
    result
}

fn checked(
    conn: &mut Connection,
    identify: Identify<'_>,
    progress: &Progress,
    found: &mut Verified,
) -> Result<(), WorkError> {
    structure::check(conn, progress, found)?;
    let faults = &mut found.faults;
    told(faults, "the row of log", |faults| {
        if !schema::is_sealed(conn)? {
            faults.log(
                "its identity (epoch, id_key, created, base_sequence or \
                        unchecked_sequence) is not what was written",
            );
        }
        Ok(())
    })?;
    events::check(conn, identify, progress, found)?;
    let stop = progress.clone();
    conn.progress_handler(STEPS, Some(move || stop.is_stopped()))?;
    let faults = &mut found.faults;
    progress.begin("reading indexes", 1);
    told(faults, "the index of ids", |faults| {
        ids::verify::runs(conn, faults)
    })
}

/// Does a part of the work. That a part cannot be read is one of its faults.
fn told(
    faults: &mut Faults,
    part: &str,
    work: impl FnOnce(&mut Faults) -> Result<(), fault::Fault>,
) -> Result<(), WorkError> {
    match work(faults) {
        Ok(()) => Ok(()),
        Err(fault::Fault::Damaged) => {
            faults.log(format_args!("{part} cannot be read"));
            Ok(())
        }
        Err(fault::Fault::Sqlite(error)) => Err(error.into()),
    }
}
