//! Reads in SQL. Each function answers from one snapshot of the file.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::{
    condition::Way,
    ids,
    rows::{self, SELECTED, signed},
};
use crate::{
    event::{Epoch, EventId, Position, Sequence, StoredEvent},
    log::{
        Batch, Bounds, Damage, Earliest, Located, Query, ReadError, SCAN_ROWS_MAX, cursor::Cursor,
    },
};

/// The bytes after which one read looks at no more rows.
const SCAN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How far behind a damaged event a read looks for one that it can read.
const DAMAGE_ROWS_MAX: u64 = 1_000;

/// See [`super::Reader::read`].
pub(super) fn read(conn: &Connection, query: &Query) -> Result<Batch, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    if ends.lacks(query.after) && !query.newest_first {
        return Err(ReadError::Expired(ends.earliest(&snapshot)));
    }
    let stretch = Stretch {
        after: query.after.max(ends.floor),
        through: query.through.min(ends.latest.sequence),
    };
    let Some(filter) = query.selector.as_filter() else {
        // No row of the stretch can match.
        let covered = match query.newest_first {
            true => Position::ORIGIN,
            false => stretch.newest(&snapshot, &ends),
        };
        return Ok(Batch {
            events: Vec::new(),
            covered,
            complete: true,
        });
    };
    let way = Way::of(filter);
    match walk(&snapshot, query, &ends, &stretch, &way) {
        Err(ReadError::Damaged { damage: None, what }) if way.is_index() => {
            tracing::error!(
                %what,
                "an index of the log is damaged; the events are read without it"
            );
            walk(&snapshot, query, &ends, &stretch, &Way::Table)
        }
        walked => walked,
    }
}

/// The places that a read looks at: those after `after`, up to `through`.
struct Stretch {
    after: Sequence,
    through: Sequence,
}

impl Stretch {
    /// The place of the last row, in the direction of the read, as far as it can be told.
    fn last(&self, conn: &Connection, ends: &Ends, back: bool) -> Sequence {
        let (found, end) = match back {
            true => (at_or_after(conn, self.after.next()), self.after.next()),
            false => (at_or_before(conn, self.through), self.through),
        };
        match found {
            Ok(Some(found)) if !ends.is_dense => found.sequence,
            _ => end,
        }
    }

    /// The newest event, or the place before the stretch if there is none.
    fn newest(&self, conn: &Connection, ends: &Ends) -> Position {
        match at_or_before(conn, self.through) {
            Ok(Some(newest)) if newest.sequence > self.after => newest,
            Err(_) => without_event(self.through),
            _ => place(conn, ends, self.after),
        }
    }

    /// How far damage reaches that a read has met at `next`: it ends before the first event that
    /// can be read again.
    fn extent(&self, conn: &Connection, ends: &Ends, back: bool, next: Sequence) -> Damage {
        let inside = |place: &Sequence| (self.after.next()..=self.through).contains(place);
        let step = |place: Sequence, back: bool| match back {
            true => Sequence(place.0.saturating_sub(1)),
            false => place.next(),
        };
        let limit = match back {
            true => self.after.next(),
            false => self.through,
        };
        // Where rows may be missing, the key says which one is damaged, if it can be read.
        let key = match ends.is_dense {
            true => None,
            false => key_from(conn, next, back).ok().flatten().filter(inside),
        };
        let sequence = key.unwrap_or(next);
        let mut end = sequence;
        for _ in 0..DAMAGE_ROWS_MAX {
            let behind = step(end, back);
            if !inside(&behind) {
                break;
            }
            match from(conn, behind, back) {
                Ok(Some(good)) if inside(&good.sequence) => {
                    end = step(good.sequence, !back);
                    break;
                }
                Ok(_) => {
                    end = limit;
                    break;
                }
                Err(_) => end = behind,
            }
        }
        Damage { sequence, end }
    }
}

/// Reads rows one after the other, and checks each. If it meets damage, it returns what lies before
/// that, so that the next read meets the damage first.
fn walk(
    conn: &Connection,
    query: &Query,
    ends: &Ends,
    stretch: &Stretch,
    way: &Way,
) -> Result<Batch, ReadError> {
    let back = query.newest_first;
    let mut events: Vec<StoredEvent> = Vec::new();
    let mut looked: Option<Position> = None;
    let (mut rows_looked, mut returned_bytes, mut looked_bytes) = (0, 0, 0);
    let mut next = match back {
        true => stretch.through,
        false => stretch.after.next(),
    };
    let last = stretch.last(conn, ends, back);
    let mut complete = stretch.after >= stretch.through;
    let mut damage = None;
    let mut statement = way.prepare(conn, back)?;
    let mut rows = way.rows(&mut statement, next)?;
    while !complete {
        let read = match rows.next() {
            Ok(Some(row)) => rows::event(row, query.with_raw).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let event = match read.map_err(ReadError::from) {
            Ok(event) => event,
            Err(error @ ReadError::Unavailable(_)) => return Err(error),
            Err(error) => {
                damage = Some(error);
                break;
            }
        };
        let outside = |event: &StoredEvent| match back {
            true => event.sequence <= stretch.after,
            false => event.sequence > stretch.through,
        };
        let Some(event) = event.filter(|event| !outside(event)) else {
            // Every place has a row, unless somebody has removed some between others.
            if ends.is_dense && !way.is_index() {
                damage = Some(damaged("a row is missing"));
            } else {
                complete = true;
            }
            break;
        };
        let is_next = match back {
            _ if ends.is_dense && !way.is_index() => event.sequence == next,
            true => event.sequence <= next,
            false => event.sequence >= next,
        };
        if !is_next {
            damage = Some(damaged("a row is not in its place"));
            break;
        }
        let matches = query.selector.matches(&event.keys);
        if let Way::Index(key, value) = way
            && event.keys.texts[*key] != *value
        {
            return Err(damaged("an entry of an index leads to another event"));
        }
        let position = event.position();
        looked = Some(position);
        rows_looked += 1;
        let raw = event.raw.as_ref().map_or(0, |raw| raw.json.len());
        let bytes = event.encoded.len() + raw;
        looked_bytes += bytes;
        if matches {
            returned_bytes += bytes;
            events.push(event);
        }
        complete = position.sequence == last;
        if complete
            || events.len() == query.events_max.max(1)
            || returned_bytes > query.bytes_max
            || rows_looked == SCAN_ROWS_MAX
            || looked_bytes > SCAN_BYTES_MAX.max(query.bytes_max)
        {
            break;
        }
        next = match back {
            true => Sequence(position.sequence.0.saturating_sub(1)),
            false => position.sequence.next(),
        };
    }
    drop(rows);
    if let Some(error) = damage
        && looked.is_none()
    {
        return Err(match (way, error) {
            (Way::Table, ReadError::Damaged { what, .. }) => ReadError::Damaged {
                damage: Some(stretch.extent(conn, ends, back, next)),
                what,
            },
            (_, error) => error,
        });
    }
    let covered = match looked {
        _ if complete && back => Position::ORIGIN,
        // An index passes over rows.
        _ if complete && way.is_index() => stretch.newest(conn, ends),
        Some(looked) => looked,
        None => stretch.newest(conn, ends),
    };
    Ok(Batch {
        events,
        covered,
        complete,
    })
}
/// See [`super::Reader::get`].
pub(super) fn get(conn: &Connection, id: EventId) -> Result<Option<StoredEvent>, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    match ids::place_of(&snapshot, id)? {
        Some(sequence) => at(&snapshot, sequence),
        None => Ok(None),
    }
}

/// The event at a place, with its body.
fn at(conn: &Connection, sequence: Sequence) -> Result<Option<StoredEvent>, ReadError> {
    conn.prepare_cached(&format!(
        "SELECT {} FROM events WHERE sequence = ?1",
        *SELECTED
    ))?
    .query_row([signed(sequence.0)], |row| rows::event(row, true))
    .optional()
    .map_err(|error| match error.into() {
        ReadError::Damaged { what, .. } => ReadError::Damaged {
            damage: Some(Damage::at(sequence)),
            what,
        },
        other => other,
    })
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
        Located::Expired(ends.earliest(&snapshot))
    } else {
        // Of a damaged event only the place is known.
        match known(&snapshot, &ends, sequence) {
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
        match readable_from(&snapshot, middle, from) {
            Some(event) if event.receive_time < Some(time) => before = event.sequence,
            _ => from = middle,
        }
    }
    Ok(place(&snapshot, &ends, before))
}

/// See [`super::Reader::bounds`].
pub(super) fn bounds(conn: &Connection) -> Result<Bounds, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    let (event_count, event_bytes) = snapshot
        .prepare_cached("SELECT event_count, event_bytes FROM log")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Bounds {
        earliest: ends.earliest(&snapshot),
        earliest_sequence: (ends.floor < ends.latest.sequence).then(|| ends.first(&snapshot)),
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
    latest: Position,
    /// Whether each place from the first to the last has a row. So one that is missing is damage.
    is_dense: bool,
}

impl Ends {
    fn of(conn: &Connection) -> rusqlite::Result<Self> {
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
    fn lacks(&self, after: Sequence) -> bool {
        after < self.floor && (after > Sequence::ZERO || self.floor > self.base)
    }

    fn first(&self, conn: &Connection) -> Sequence {
        let first = key_from(conn, self.floor.next(), false).ok().flatten();
        first.unwrap_or(self.floor.next())
    }

    fn earliest(&self, conn: &Connection) -> Earliest {
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

/// The first event at a place or behind it, and before `end`, that can be read.
fn readable_from(conn: &Connection, mut place: Sequence, end: Sequence) -> Option<Position> {
    for _ in 0..DAMAGE_ROWS_MAX {
        if place >= end {
            return None;
        }
        match at_or_after(conn, place) {
            Ok(found) => return found.filter(|found| found.sequence >= place),
            Err(_) => place = place.next(),
        }
    }
    None
}

fn at_or_after(conn: &Connection, sequence: Sequence) -> rusqlite::Result<Option<Position>> {
    from(conn, sequence, false)
}

fn at_or_before(conn: &Connection, sequence: Sequence) -> rusqlite::Result<Option<Position>> {
    from(conn, sequence, true)
}

/// The first event from a place on, in a direction.
fn from(conn: &Connection, place: Sequence, back: bool) -> rusqlite::Result<Option<Position>> {
    let mut statement = Way::Table.prepare(conn, back)?;
    let mut rows = Way::Table.rows(&mut statement, place)?;
    let row = rows.next()?;
    row.map(|row| Ok(rows::event(row, false)?.position()))
        .transpose()
}

/// The key of the first row from a place on, in a direction. It is not checked.
fn key_from(conn: &Connection, place: Sequence, back: bool) -> rusqlite::Result<Option<Sequence>> {
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
fn known(conn: &Connection, ends: &Ends, sequence: Sequence) -> Option<Position> {
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
fn place(conn: &Connection, ends: &Ends, sequence: Sequence) -> Position {
    known(conn, ends, sequence).unwrap_or(without_event(sequence))
}

/// A place whose event is gone.
fn without_event(sequence: Sequence) -> Position {
    Position {
        sequence,
        ..Position::ORIGIN
    }
}

fn damaged(what: &str) -> ReadError {
    ReadError::Damaged {
        damage: None,
        what: what.into(),
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
            true => Self::Damaged {
                damage: None,
                what: text,
            },
            false => Self::Unavailable(text),
        }
    }
}
