//! Finds the events that are to be erased.

use rusqlite::{Connection, Row, params};

use super::rows::{self, signed};
use crate::{
    event::Sequence,
    log::{
        erasure::{Found, Target},
        error::ReadError,
        phone::Phone,
    },
};

/// The most events that one look returns: one piece of work for the writer.
const FOUND_MAX: usize = 256;
/// The rows that one look searches for a phone number, and their bytes: a few milliseconds of work.
const ROWS_MAX: usize = 500;
const BYTES_MAX: usize = 512 * 1024;

/// See [`super::Reader::erasable`].
pub(super) fn find(
    conn: &Connection,
    target: &Target,
    after: Sequence,
    through: Sequence,
) -> Result<Found, ReadError> {
    match target {
        Target::Sequence(sequence) => one(conn, *sequence),
        Target::Call(call) => of_call(conn, call, after, through),
        Target::Phone(phone) => with_number(conn, phone, after, through),
    }
}

/// An event that was erased has this in place of its headers. No other headers begin so.
fn is_erased(headers: &[u8]) -> bool {
    let begin = [b"{\"", rows::ERASE_TIME.as_bytes(), b"\":"].concat();
    headers.starts_with(&begin)
}

fn one(conn: &Connection, sequence: Sequence) -> Result<Found, ReadError> {
    let mut found = nothing(sequence);
    let mut statement =
        conn.prepare_cached("SELECT raw_headers FROM events WHERE sequence = ?1")?;
    let mut rows = statement.query([signed(sequence.0)])?;
    // Headers that cannot be read are those of an event that was not erased.
    let is_there = match rows.next() {
        Ok(Some(row)) => !is_erased(row.get_ref(0)?.as_bytes().unwrap_or_default()),
        Ok(None) => false,
        Err(_) => true,
    };
    found.sequences.extend(is_there.then_some(sequence));
    Ok(found)
}

fn of_call(
    conn: &Connection,
    call: &str,
    after: Sequence,
    through: Sequence,
) -> Result<Found, ReadError> {
    let mut found = nothing(through);
    let mut statement = conn.prepare_cached(
        "SELECT sequence FROM events
         WHERE call_id = ?1 AND sequence > ?2 AND sequence <= ?3
         ORDER BY sequence LIMIT ?4",
    )?;
    let places = params![call, signed(after.0), signed(through.0), FOUND_MAX];
    let places: Vec<Sequence> = statement
        .query_map(places, |row| row.get(0).map(Sequence))?
        .collect::<rusqlite::Result<_>>()?;
    if let [.., last] = places[..]
        && places.len() == FOUND_MAX
    {
        found.covered = last;
    }
    for place in places {
        found.sequences.extend(one(conn, place)?.sequences);
    }
    Ok(found)
}

fn with_number(
    conn: &Connection,
    phone: &Phone,
    after: Sequence,
    through: Sequence,
) -> Result<Found, ReadError> {
    let mut found = nothing(through);
    let mut statement = conn.prepare_cached(
        "SELECT sequence, raw_json, raw_headers FROM events
         WHERE sequence > ?1 AND sequence <= ?2 ORDER BY sequence",
    )?;
    let mut last = after;
    let mut rows = statement.query(params![signed(after.0), signed(through.0)])?;
    let (mut looked, mut bytes) = (0, 0);
    loop {
        let (sequence, has_it, length) = match rows.next() {
            Ok(Some(row)) => search(row, phone)?,
            Ok(None) => return Ok(found),
            Err(error) => match ReadError::from(error) {
                ReadError::Damaged { .. } => {
                    found.damaged += 1;
                    found.covered = last.next();
                    return Ok(found);
                }
                error => return Err(error),
            },
        };
        last = sequence;
        found.sequences.extend(has_it.then_some(sequence));
        looked += 1;
        bytes += length;
        if looked == ROWS_MAX || bytes >= BYTES_MAX || found.sequences.len() == FOUND_MAX {
            found.covered = sequence;
            return Ok(found);
        }
    }
}

/// The place of a row, whether it holds the number, and how much was searched.
fn search(row: &Row<'_>, phone: &Phone) -> rusqlite::Result<(Sequence, bool, usize)> {
    let text = |index| -> rusqlite::Result<_> {
        // A damaged row may hold another type, and bytes that are no text.
        Ok(row.get_ref(index)?.as_bytes().unwrap_or_default())
    };
    let (json, headers) = (text(1)?, text(2)?);
    let is_in = |bytes: &[u8]| phone.is_in(&String::from_utf8_lossy(bytes));
    let has_it = is_in(json) || is_in(headers);
    Ok((Sequence(row.get(0)?), has_it, json.len() + headers.len()))
}

fn nothing(covered: Sequence) -> Found {
    Found {
        sequences: Vec::new(),
        covered,
        damaged: 0,
    }
}
