//! Whether the log still has what it once had, by [`mark`], and how it goes on if not.
//!
//! It gets a new epoch then, so a cursor of a lost event is refused. New events get sequences
//! behind all that may have been given, so no sequence ever means two events.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{
    alone::{self, Alone},
    connection, epochs,
    fault::Fault,
    mark::{self, MARK_NAME, Mark},
    rows::{self, SELECTED},
    schema,
};
use crate::{
    event::{Epoch, Position, Sequence},
    log::error::Loss,
};

/// How many places are left free behind the mark, which is up to a second late.
const SPARE: u64 = 1_000_000;

/// What the log in this folder lacks, whether a gateway uses it or not.
pub(super) fn of(data_dir: &Path, conn: &Connection) -> rusqlite::Result<Option<Loss>> {
    // First the mark: the log may go on meanwhile. A mark that cannot be read says nothing.
    let mark = mark::read(&data_dir.join(MARK_NAME)).unwrap_or(None);
    let snapshot = conn.unchecked_transaction()?;
    match alone::of(&snapshot)? {
        Some(whole) => find(&snapshot, &whole, mark.as_ref()),
        None => Ok(None),
    }
}

/// What the log in this file lacks.
pub(super) fn find(
    conn: &Connection,
    whole: &Alone,
    mark: Option<&Mark>,
) -> rusqlite::Result<Option<Loss>> {
    let last = conn.query_row(rows::LAST, [], rows::last)?;
    // Rows of version 1 have nothing that shows whether they are whole.
    let has_checksums = whole.version >= schema::VERSION;
    let newest = match has_checksums {
        true => newest(conn)?,
        false => None,
    };
    if let Some(newest) = newest
        && (newest.sequence > last.sequence || newest.sequence == last.sequence && newest != last)
    {
        return Ok(Some(Loss::Disagrees {
            row: last.sequence,
            newest: newest.sequence,
        }));
    }
    let Some(mark) = mark else { return Ok(None) };
    if mark.epoch != whole.epoch {
        // A restored log was put here on purpose.
        let is_known = mark.last.sequence == Sequence::ZERO || epochs::has_had(conn, mark.epoch)?;
        return Ok((!is_known).then_some(Loss::AnotherLog {
            marked_epoch: mark.epoch,
            marked: mark.last.sequence,
            marked_received: mark.last.receive_time,
        }));
    }
    if last.sequence < mark.last.sequence {
        return Ok(Some(Loss::End {
            last: last.sequence,
            received: last.receive_time,
            marked: mark.last.sequence,
            marked_received: mark.last.receive_time,
        }));
    }
    let other = has_checksums
        && at(conn, mark.last.sequence)?.is_some_and(|found| found.id_tag != mark.last.id_tag);
    Ok(other.then_some(Loss::Rewound {
        marked: mark.last.sequence,
        marked_received: mark.last.receive_time,
    }))
}

/// Lets the log go on behind what is lost, with a new epoch. Returns the newest place that it still
/// has, and the one behind which it goes on.
pub(super) fn accept(
    conn: &mut Connection,
    mark: Option<&Mark>,
    epoch: Epoch,
    now: Timestamp,
) -> rusqlite::Result<(Sequence, Sequence)> {
    // A new table takes a page that held a part of an event.
    connection::wipe(conn, true)?;
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let last = transaction.query_row(rows::LAST, [], rows::last)?;
    let newest = newest(&transaction)?.unwrap_or(Position::ORIGIN);
    let (old, trimmed): ([u8; 16], u64) =
        transaction.query_row("SELECT epoch, trimmed_sequence FROM log", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let marked = mark
        .filter(|mark| mark.epoch.0 == old)
        .map_or(Position::ORIGIN, |mark| mark.last);
    let after = match newest.sequence > last.sequence {
        true => newest.sequence,
        // What was removed from the end was removed on purpose.
        false => last.sequence.max(Sequence(trimmed)),
    };
    let before = Sequence(after.max(marked.sequence).0 + SPARE);
    let time = last.receive_time.max(newest.receive_time);
    let time = time.or(marked.receive_time).unwrap_or(now);
    epochs::renew(&transaction, epoch, after)?;
    transaction.execute(
        "UPDATE log SET last_sequence = ?1, last_id = zeroblob(16), last_receive_time = ?2",
        params![before.0, rows::time_text(time)],
    )?;
    transaction.commit()?;
    // So that the file alone has the new epoch, too.
    connection::checkpoint(conn, "TRUNCATE")?;
    Ok((after, before))
}

fn newest(conn: &Connection) -> rusqlite::Result<Option<Position>> {
    one(conn, "ORDER BY sequence DESC LIMIT 1")
}

fn at(conn: &Connection, sequence: Sequence) -> rusqlite::Result<Option<Position>> {
    one(conn, &format!("WHERE sequence = {sequence}"))
}

/// None if there is no such event, or if it is damaged: that is told where it is read.
fn one(conn: &Connection, which: &str) -> rusqlite::Result<Option<Position>> {
    let event = conn
        .prepare(&format!("SELECT {} FROM events {which}", *SELECTED))
        .and_then(|mut statement| {
            statement
                .query_row([], |row| rows::event(row, false))
                .optional()
        });
    match event.map_err(Fault::from) {
        Ok(event) => Ok(event.map(|event| event.position())),
        Err(Fault::Damaged) => Ok(None),
        Err(Fault::Sqlite(error)) => Err(error),
    }
}
