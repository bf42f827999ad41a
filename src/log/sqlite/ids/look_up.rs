//! Where an id is, by what the file says.

use rusqlite::{Connection, OptionalExtension, params};

use super::{batch, entry::Key, recent::Known, run::Run};
use crate::{
    event::{EventId, Sequence},
    log::sqlite::{
        fault::Fault,
        rows::{self, signed},
    },
};

/// The place of the event with this id, for whoever may only look into what the writer knows.
pub(crate) fn place_of(
    conn: &Connection,
    known: &Known,
    id: EventId,
) -> rusqlite::Result<Option<Sequence>> {
    for place in known.places.iter().rev() {
        if is_at(conn, id, *place)? {
            return Ok(Some(*place));
        }
    }
    let (indexed, last): (u64, u64) = conn
        .prepare_cached(
            "SELECT max(indexed_sequence, trimmed_sequence, base_sequence), last_sequence FROM log",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let indexed = Sequence(indexed);
    let tail = in_rows(conn, known.reach(indexed).next(), Sequence(last), id)?;
    if tail.is_some() {
        return Ok(tail);
    }
    let runs = match Run::all(conn) {
        Ok(runs) => runs,
        Err(Fault::Damaged) => return in_rows(conn, Sequence::ZERO, indexed, id),
        Err(Fault::Sqlite(error)) => return Err(error),
    };
    for run in runs.iter().rev() {
        let found = match in_run(conn, run, id) {
            Ok(found) => found,
            Err(Fault::Damaged) => in_rows(conn, run.first, run.last, id)?,
            Err(Fault::Sqlite(error)) => return Err(error),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The place of the event with this id, if its stretch is that of the run.
pub(super) fn in_run(conn: &Connection, run: &Run, id: EventId) -> Result<Option<Sequence>, Fault> {
    for place in run.places(conn, Key::of(id))? {
        if is_at(conn, id, place)? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// The same without the run, row by row. Rows that are damaged are passed over.
pub(super) fn in_rows(
    conn: &Connection,
    first: Sequence,
    last: Sequence,
    id: EventId,
) -> rusqlite::Result<Option<Sequence>> {
    let read = || -> Result<Option<Sequence>, Fault> {
        let found = conn
            .prepare_cached(
                "SELECT sequence FROM events
                 WHERE sequence BETWEEN ?1 AND ?2 AND id = ?3
                     AND sequence > (SELECT trimmed_sequence FROM log)
                 ORDER BY +sequence DESC LIMIT 1",
            )?
            .query_row(params![signed(first.0), signed(last.0), id.0], |row| {
                row.get(0)
            })
            .optional()?;
        Ok(found.map(Sequence))
    };
    match read() {
        Ok(found) => return Ok(found),
        Err(Fault::Damaged) => {}
        Err(Fault::Sqlite(error)) => return Err(error),
    }
    let mut found = None;
    batch::rows(conn, first, last, |sequence, other, _| {
        if other == Some(id) {
            found = Some(sequence);
        }
    })?;
    match found {
        Some(place) if is_at(conn, id, place)? => Ok(Some(place)),
        _ => Ok(None),
    }
}

/// Whether the event at a place, where its key says that it is, has this id.
pub(super) fn is_at(conn: &Connection, id: EventId, place: Sequence) -> rusqlite::Result<bool> {
    match read_id(conn, place) {
        Ok(None) => Ok(false),
        Ok(Some(found)) if found == id => Ok(true),
        // The row must begin with the key. If it does not, it is damaged, and so is one that
        // cannot be read. The event was taken, and is not taken again.
        Ok(Some(found)) => Ok(Key::of(found) != Key::of(id) || is_damaged(conn, place)?),
        Err(Fault::Damaged) => Ok(true),
        Err(Fault::Sqlite(error)) => Err(error),
    }
}

/// Whether the event at a place is not what was written.
fn is_damaged(conn: &Connection, place: Sequence) -> rusqlite::Result<bool> {
    let holds = conn
        .prepare_cached(&format!(
            "SELECT {} FROM events WHERE sequence = ?1",
            *rows::SELECTED
        ))?
        .query_row([signed(place.0)], rows::holds);
    match holds.map_err(Fault::from) {
        Ok(holds) => Ok(!holds),
        Err(Fault::Damaged) => Ok(true),
        Err(Fault::Sqlite(error)) => Err(error),
    }
}

/// The id of the event at a place. None if it is gone, or damaged.
pub(super) fn id_at(conn: &Connection, place: Sequence) -> rusqlite::Result<Option<EventId>> {
    match read_id(conn, place) {
        Ok(id) => Ok(id),
        Err(Fault::Damaged) => Ok(None),
        Err(Fault::Sqlite(error)) => Err(error),
    }
}

fn read_id(conn: &Connection, place: Sequence) -> Result<Option<EventId>, Fault> {
    let found = conn
        .prepare_cached(
            "SELECT id FROM events
             WHERE sequence = ?1 AND sequence > (SELECT trimmed_sequence FROM log)",
        )?
        .query_row([signed(place.0)], |row| row.get(0))
        .optional()?;
    Ok(found.map(EventId))
}
