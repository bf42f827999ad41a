//! Reads in SQL. Each function answers from one snapshot of the file.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::{
    condition::Condition,
    rows::{self, EventColumns, signed},
};
use crate::{
    event::{Epoch, EventId, Position, Sequence, StoredEvent},
    log::{Batch, Bounds, Earliest, Located, Query, ReadError, SCAN_ROWS_MAX, cursor::Cursor},
};

/// See [`super::Reader::read`].
pub(super) fn read(conn: &Connection, query: &Query) -> Result<Batch, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    if ends.lacks(query.after) && !query.newest_first {
        return Err(ReadError::Expired(ends.earliest()));
    }
    let after = query.after.max(ends.floor);
    let Some((first, last)) = stretch(&snapshot, after, query.through)? else {
        let covered = match query.newest_first {
            true => Position::ORIGIN,
            false => place(&snapshot, &ends, after)?,
        };
        return Ok(Batch {
            events: Vec::new(),
            covered,
            complete: true,
        });
    };
    let Some(filter) = query.selector.as_filter() else {
        // No row of the stretch can match.
        return Ok(Batch {
            events: Vec::new(),
            covered: match query.newest_first {
                true => Position::ORIGIN,
                false => last,
            },
            complete: true,
        });
    };
    let condition = Condition::of(filter);
    let window = match query.newest_first {
        _ if condition.walks_an_index => (first, last),
        true => {
            let start = last.sequence.0.saturating_sub(SCAN_ROWS_MAX - 1);
            let oldest = at_or_after(&snapshot, first.sequence.max(Sequence(start)))?;
            (oldest.unwrap_or(last), last)
        }
        false => {
            let end = first.sequence.0.saturating_add(SCAN_ROWS_MAX - 1);
            let newest = at_or_before(&snapshot, last.sequence.min(Sequence(end)))?;
            (first, newest.unwrap_or(first))
        }
    };
    let found = condition.select(&snapshot, query, window.0.sequence, window.1.sequence)?;
    // The read stopped after its last event, or it looked at the whole window.
    let stopped = found.stopped.then(|| found.events.last()).flatten();
    let (window_end, stretch_end) = match query.newest_first {
        true => (window.0, first),
        false => (window.1, last),
    };
    let looked = stopped.map_or(window_end, StoredEvent::position);
    let complete = looked.sequence == stretch_end.sequence;
    Ok(Batch {
        covered: match complete && query.newest_first {
            true => Position::ORIGIN,
            false => looked,
        },
        complete,
        events: found.events,
    })
}

/// See [`super::Reader::get`].
pub(super) fn get(conn: &Connection, id: EventId) -> Result<Option<StoredEvent>, ReadError> {
    let selected = EventColumns::select(true);
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {selected} FROM events
         WHERE id = ?1 AND sequence > (SELECT trimmed_sequence FROM log)"
    ))?;
    let columns = EventColumns::of(&statement, true)?;
    Ok(statement
        .query_row([id.0], |row| columns.event(row))
        .optional()?)
}

/// See [`super::Reader::locate`].
pub(super) fn locate(conn: &Connection, sequence: Sequence) -> Result<Located, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    Ok(if sequence == Sequence::ZERO {
        Located::Here(Position::ORIGIN)
    } else if sequence > ends.latest.sequence {
        Located::Beyond
    } else if ends.lacks(sequence) {
        Located::Expired(ends.earliest())
    } else {
        match known(&snapshot, &ends, sequence)? {
            Some(position) => Located::Here(position),
            None => Located::Hole,
        }
    })
}

/// See [`super::Reader::was_known`].
pub(super) fn was_known(conn: &Connection, cursor: &Cursor) -> Result<bool, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    // Most logs were never restored.
    let restored = snapshot
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'earlier_epochs'")?
        .exists([])?;
    if !restored {
        return Ok(false);
    }
    let mut epochs =
        snapshot.prepare_cached("SELECT epoch FROM earlier_epochs WHERE last_sequence >= ?1")?;
    let mut rows = epochs.query([signed(cursor.sequence.0)])?;
    while let Some(row) = rows.next()? {
        if cursor.is_of(Epoch(row.get(0)?)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// See [`super::Reader::before_time`]. Receive times never decrease, so this is a binary search.
pub(super) fn before_time(conn: &Connection, time: Timestamp) -> Result<Position, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    // Events up to `before` came before `time`; from `from` on, none did.
    let mut before = ends.floor;
    let mut from = ends.latest.sequence.next();
    while before.next() < from {
        let middle = Sequence(before.0 + (from.0 - before.0) / 2);
        match at_or_after(&snapshot, middle)? {
            Some(event) if event.receive_time < Some(time) => before = event.sequence,
            _ => from = middle,
        }
    }
    Ok(place(&snapshot, &ends, before)?)
}

/// See [`super::Reader::bounds`].
pub(super) fn bounds(conn: &Connection) -> Result<Bounds, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    let (event_count, event_bytes) = snapshot
        .prepare_cached("SELECT event_count, event_bytes FROM log")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Bounds {
        earliest: ends.earliest(),
        earliest_sequence: ends.first.map(|first| first.sequence),
        latest: ends.latest,
        event_count,
        event_bytes,
    })
}

/// Where the log begins and ends.
struct Ends {
    /// The log began after this place.
    base: Sequence,
    /// The place before the earliest event that is left; the latest place if none is left.
    floor: Sequence,
    first: Option<Position>,
    latest: Position,
}

impl Ends {
    fn of(conn: &Connection) -> rusqlite::Result<Self> {
        let latest = conn.prepare_cached(rows::LAST)?.query_row([], rows::last)?;
        let (base, trimmed) = conn
            .prepare_cached("SELECT base_sequence, trimmed_sequence FROM log")?
            .query_row([], |row| Ok((Sequence(row.get(0)?), Sequence(row.get(1)?))))?;
        let first = at_or_after(conn, trimmed.next())?;
        // Events that somebody removed from the front by hand count as trimmed, too.
        let floor = match first {
            Some(first) => Sequence(first.sequence.0.saturating_sub(1)),
            None => latest.sequence,
        };
        Ok(Self {
            base,
            floor,
            first,
            latest,
        })
    }

    /// Whether events right behind this place are gone. From the origin on, that is so only if the
    /// log has lost events since it began.
    fn lacks(&self, after: Sequence) -> bool {
        after < self.floor && (after > Sequence::ZERO || self.floor > self.base)
    }

    fn earliest(&self) -> Earliest {
        Earliest {
            before: match self.floor {
                floor if floor == self.latest.sequence => self.latest,
                floor => without_event(floor),
            },
            time: self.first.and_then(|first| first.receive_time),
        }
    }
}

/// The first and the last event after `after` and up to `through`.
fn stretch(
    conn: &Connection,
    after: Sequence,
    through: Sequence,
) -> rusqlite::Result<Option<(Position, Position)>> {
    let first = at_or_after(conn, Sequence(after.0.saturating_add(1)))?;
    let last = at_or_before(conn, through)?;
    Ok(first
        .zip(last)
        .filter(|(first, last)| first.sequence <= last.sequence))
}

fn at_or_after(conn: &Connection, sequence: Sequence) -> rusqlite::Result<Option<Position>> {
    one(conn, "sequence >= ?1 ORDER BY sequence LIMIT 1", sequence)
}

fn at_or_before(conn: &Connection, sequence: Sequence) -> rusqlite::Result<Option<Position>> {
    one(
        conn,
        "sequence <= ?1 ORDER BY sequence DESC LIMIT 1",
        sequence,
    )
}

fn one(conn: &Connection, which: &str, sequence: Sequence) -> rusqlite::Result<Option<Position>> {
    let columns = rows::POSITION;
    conn.prepare_cached(&format!("SELECT {columns} FROM events WHERE {which}"))?
        .query_row([signed(sequence.0)], rows::position)
        .optional()
}

/// The event at a place. None if it was removed, unless it is the newest.
fn known(conn: &Connection, ends: &Ends, sequence: Sequence) -> rusqlite::Result<Option<Position>> {
    if sequence == ends.latest.sequence {
        return Ok(Some(ends.latest));
    }
    if sequence <= ends.floor {
        // The event counts as removed, even if its row is still there.
        return Ok(None);
    }
    one(conn, "sequence = ?1", sequence)
}

/// A place, with id tag and time if they are known.
fn place(conn: &Connection, ends: &Ends, sequence: Sequence) -> rusqlite::Result<Position> {
    Ok(known(conn, ends, sequence)?.unwrap_or(without_event(sequence)))
}

/// A place whose event is gone.
fn without_event(sequence: Sequence) -> Position {
    Position {
        sequence,
        ..Position::ORIGIN
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::{Error, ErrorCode};
        let text = error.to_string().into();
        let damaged = match error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..) => true,
            error => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
        };
        match damaged {
            true => Self::Damaged(text),
            false => Self::Unavailable(text),
        }
    }
}
