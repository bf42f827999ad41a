//! Makes the checksums that rows of a file of version 1 lack, from the newest to the oldest. Then
//! no row can lose its checksum without being found.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    chores::{Chore, Next},
    fault::Fault,
    file::LogFile,
    rows::{self, SELECTED, signed},
    schema,
    trouble::Trouble,
};
use crate::event::Sequence;

/// The time from one step to the next: each row is written again, which must not be felt.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Unchecked;

impl Chore for Unchecked {
    fn name(&self) -> &'static str {
        "making the checksums of old events"
    }

    fn step(&mut self, file: &mut LogFile, until: Instant) -> Result<Next, Trouble> {
        if file.read(bound)? == Sequence::ZERO {
            return Ok(Next::Never);
        }
        // In a transaction that has met damage SQLite writes nothing.
        let made = file.read(|conn| make(conn, until))?;
        file.change(|transaction| Ok(write(transaction, &made)?))?;
        Ok(Next::After(PAUSE))
    }
}

/// Up to here rows may have no checksum.
fn bound(conn: &Connection) -> rusqlite::Result<Sequence> {
    conn.query_row("SELECT unchecked_sequence FROM log", [], |row| {
        row.get(0).map(Sequence)
    })
}

/// Some checksums, and the bound below them.
struct Made {
    sums: Vec<(Sequence, i64)>,
    bound: Sequence,
}

fn make(conn: &Connection, until: Instant) -> rusqlite::Result<Made> {
    let mut made = Made {
        sums: Vec::new(),
        bound: bound(conn)?,
    };
    while made.bound > Sequence::ZERO {
        let (sequence, sum) = match newest(conn, made.bound) {
            Ok(Some(found)) => found,
            Ok(None) => (Sequence::ZERO, None),
            // It cannot be read. From now on it counts as damaged.
            Err(Fault::Damaged) => (made.bound, None),
            Err(Fault::Sqlite(error)) => return Err(error),
        };
        made.sums.extend(sum.map(|sum| (sequence, sum)));
        made.bound = Sequence(sequence.0.saturating_sub(1));
        if Instant::now() >= until {
            break;
        }
    }
    Ok(made)
}

fn write(conn: &Connection, made: &Made) -> rusqlite::Result<()> {
    let mut update = conn.prepare_cached("UPDATE events SET checksum = ?2 WHERE sequence = ?1")?;
    for (sequence, sum) in &made.sums {
        update.execute(params![signed(sequence.0), sum])?;
    }
    conn.execute(
        "UPDATE log SET unchecked_sequence = ?1",
        [signed(made.bound.0)],
    )?;
    schema::seal(conn)
}

/// The newest row up to a place, and the checksum that it lacks. None if it has one, or if it is
/// not what a gateway writes.
fn newest(conn: &Connection, place: Sequence) -> Result<Option<(Sequence, Option<i64>)>, Fault> {
    let sql = format!(
        "SELECT {} FROM events WHERE sequence <= ?1 ORDER BY sequence DESC LIMIT 1",
        *SELECTED
    );
    let found = conn
        .prepare_cached(&sql)?
        .query_row([signed(place.0)], |row| {
            let event = rows::event(row, true)?;
            let lacks_one = rows::is_unchecked(row)? && rows::is_encoded(&event);
            let sum = lacks_one.then(|| rows::checksum(row)).transpose()?;
            Ok((event.sequence, sum))
        })
        .optional()?;
    Ok(found)
}

#[cfg(test)]
mod tests;
