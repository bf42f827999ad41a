//! Where the log begins and ends, and what is at a place.

use rusqlite::{Connection, OptionalExtension};

use super::{
    condition::Scan,
    rows::{self, SELECTED, signed},
};
use crate::{
    event::{Position, Sequence, StoredEvent},
    log::{Damage, Earliest, ReadError},
};

/// How far behind a damaged event a read looks for one that it can read.
pub(super) const DAMAGE_ROWS_MAX: u64 = 1_000;

/// Where the log begins and ends.
pub(super) struct Ends {
    /// The log began after this place.
    base: Sequence,
    /// The place before the earliest event that is left; the latest place if none is left.
    pub(super) floor: Sequence,
    pub(super) latest: Position,
    /// Whether each place from the first to the last has a row. So one that is missing is damage.
    pub(super) is_dense: bool,
}

impl Ends {
    pub(super) fn of(conn: &Connection) -> rusqlite::Result<Self> {
        let latest = conn.prepare_cached(rows::LAST)?.query_row([], rows::last)?;
        let (base, trimmed, count): (u64, u64, u64) = conn
            .prepare_cached("SELECT base_sequence, trimmed_sequence, event_count FROM log")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let removed = base.max(trimmed);
        let is_dense = latest.sequence.0.checked_sub(removed) == Some(count);
        let removed = Sequence(removed);
        let floor = match is_dense {
            true => removed,
            // Events that somebody removed from the front by hand count as trimmed, too.
            false => match key_from(conn, removed.next(), false) {
                Ok(Some(first)) => Sequence(first.0.saturating_sub(1)),
                Ok(None) => latest.sequence,
                Err(_) => removed,
            },
        };
        Ok(Self {
            base: Sequence(base),
            floor,
            latest,
            is_dense,
        })
    }

    /// Whether events right behind this place are gone. From the origin on, that is so only if the
    /// log has lost events since it began.
    pub(super) fn lacks(&self, after: Sequence) -> bool {
        after < self.floor && (after > Sequence::ZERO || self.floor > self.base)
    }

    pub(super) fn first(&self, conn: &Connection) -> Sequence {
        let first = key_from(conn, self.floor.next(), false).ok().flatten();
        first.unwrap_or(self.floor.next())
    }

    pub(super) fn earliest(&self, conn: &Connection) -> Earliest {
        let first = readable_from(conn, self.floor.next(), self.latest.sequence.next());
        Earliest {
            before: match self.floor {
                floor if floor == self.latest.sequence => self.latest,
                floor => without_event(floor),
            },
            time: first.and_then(|first| first.receive_time),
        }
    }
}

/// The event at a place.
pub(super) fn at(
    conn: &Connection,
    sequence: Sequence,
    with_raw: bool,
) -> Result<Option<StoredEvent>, ReadError> {
    conn.prepare_cached(&format!(
        "SELECT {} FROM events WHERE sequence = ?1",
        *SELECTED
    ))?
    .query_row([signed(sequence.0)], |row| rows::event(row, with_raw))
    .optional()
    .map_err(|error| match error.into() {
        ReadError::Damaged { what, .. } => ReadError::Damaged {
            damage: Some(Damage::at(sequence)),
            what,
        },
        other => other,
    })
}

/// The first event at a place or behind it, and before `end`, that can be read.
pub(super) fn readable_from(
    conn: &Connection,
    mut place: Sequence,
    end: Sequence,
) -> Option<Position> {
    for _ in 0..DAMAGE_ROWS_MAX {
        if place >= end {
            return None;
        }
        match from(conn, place, false) {
            Ok(found) => return found.filter(|found| found.sequence >= place),
            Err(_) => place = place.next(),
        }
    }
    None
}

/// The first event from a place on, in a direction.
pub(super) fn from(
    conn: &Connection,
    place: Sequence,
    back: bool,
) -> rusqlite::Result<Option<Position>> {
    let mut statement = Scan::All.prepare(conn, back)?;
    let mut rows = Scan::All.query(&mut statement, place)?;
    let row = rows.next()?;
    row.map(|row| Ok(rows::event(row, false)?.position()))
        .transpose()
}

/// The key of the first row from a place on, in a direction. It is not checked.
pub(super) fn key_from(
    conn: &Connection,
    place: Sequence,
    back: bool,
) -> rusqlite::Result<Option<Sequence>> {
    let (from, order) = match back {
        true => ("<=", "DESC"),
        false => (">=", "ASC"),
    };
    conn.prepare_cached(&format!(
        "SELECT sequence FROM events WHERE sequence {from} ?1 ORDER BY sequence {order} LIMIT 1"
    ))?
    .query_row([signed(place.0)], |row| row.get(0).map(Sequence))
    .optional()
}

/// The event at a place. None if it was removed, unless it is the newest, or if it is damaged.
pub(super) fn known(conn: &Connection, ends: &Ends, sequence: Sequence) -> Option<Position> {
    if sequence == ends.latest.sequence {
        return Some(ends.latest);
    }
    if sequence <= ends.floor {
        // The event counts as removed, even if its row is still there.
        return None;
    }
    let found = from(conn, sequence, false).ok().flatten();
    found.filter(|found| found.sequence == sequence)
}

/// A place, with id tag and time if they are known.
pub(super) fn place(conn: &Connection, ends: &Ends, sequence: Sequence) -> Position {
    known(conn, ends, sequence).unwrap_or(without_event(sequence))
}

/// A place whose event is gone.
pub(super) fn without_event(sequence: Sequence) -> Position {
    Position {
        sequence,
        ..Position::ORIGIN
    }
}
