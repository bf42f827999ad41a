//! One read: it goes over rows, from stretch to stretch, until it has looked at all of them or at
//! as much as one read may.

use rusqlite::Connection;

use super::{
    condition::Scan,
    ends::{self, DAMAGE_ROWS_MAX, Ends},
    rows,
};
use crate::{
    event::{Position, Sequence, StoredEvent},
    log::{Batch, Damage, Query, ReadError, SCAN_ROWS_MAX},
};

/// The bytes after which one read looks at no more rows.
const SCAN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The places after `after`, up to `through`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) after: Sequence,
    pub(super) through: Sequence,
}

impl Stretch {
    pub(super) fn is_empty(&self) -> bool {
        self.after >= self.through
    }

    fn has(&self, place: Sequence) -> bool {
        self.after < place && place <= self.through
    }

    /// Its first place, in the direction of the read.
    fn first(&self, back: bool) -> Sequence {
        match back {
            true => self.through,
            false => self.after.next(),
        }
    }

    /// The place of the last row, in the direction of the read, as far as it can be told.
    fn last(&self, conn: &Connection, ends: &Ends, back: bool) -> Sequence {
        let end = self.first(!back);
        match ends::from(conn, end, !back) {
            Ok(Some(found)) if !ends.is_dense => found.sequence,
            _ => end,
        }
    }

    /// The newest event, or the place before the stretch if there is none.
    fn newest(&self, conn: &Connection, ends: &Ends) -> Position {
        match ends::from(conn, self.through, true) {
            Ok(Some(newest)) if newest.sequence > self.after => newest,
            Err(_) => ends::without_event(self.through),
            _ => ends::place(conn, ends, self.after),
        }
    }

    /// How far damage reaches that a read has met at `next`: it ends before the first event that
    /// can be read again.
    fn extent(&self, conn: &Connection, ends: &Ends, back: bool, next: Sequence) -> Damage {
        // Where rows may be missing, the key says which one is damaged, if it can be read.
        let key = match ends.is_dense {
            true => None,
            false => ends::key_from(conn, next, back).ok().flatten(),
        };
        let sequence = key.filter(|key| self.has(*key)).unwrap_or(next);
        let mut end = sequence;
        for _ in 0..DAMAGE_ROWS_MAX {
            let behind = behind(end, back);
            if !self.has(behind) {
                break;
            }
            match ends::from(conn, behind, back) {
                Ok(Some(good)) if self.has(good.sequence) => {
                    end = self::behind(good.sequence, !back);
                    break;
                }
                Ok(_) => {
                    end = self.first(!back);
                    break;
                }
                Err(_) => end = behind,
            }
        }
        Damage { sequence, end }
    }
}

/// The place behind another, in the direction of the read.
fn behind(place: Sequence, back: bool) -> Sequence {
    match back {
        true => Sequence(place.0.saturating_sub(1)),
        false => place.next(),
    }
}

/// What a read has found, and what it has looked at. Its methods return whether they have looked at
/// all of a stretch.
///
/// If a method meets damage behind other events, it ends before the damage, so that the next read
/// meets it first. Damage that says no place is one of an index.
pub(super) struct Walk<'r> {
    pub(super) conn: &'r Connection,
    pub(super) query: &'r Query,
    pub(super) ends: &'r Ends,
    events: Vec<StoredEvent>,
    looked: Option<Position>,
    rows_looked: u64,
    returned_bytes: usize,
    looked_bytes: usize,
    /// Whether it has passed over rows of which something else says that they are not wanted.
    passes_over: bool,
}

impl<'r> Walk<'r> {
    pub(super) fn new(conn: &'r Connection, query: &'r Query, ends: &'r Ends) -> Self {
        Self {
            conn,
            query,
            ends,
            events: Vec::new(),
            looked: None,
            rows_looked: 0,
            returned_bytes: 0,
            looked_bytes: 0,
            passes_over: false,
        }
    }

    /// Looks at rows one after the other.
    pub(super) fn scan(&mut self, scan: &Scan, stretch: &Stretch) -> Result<bool, ReadError> {
        if stretch.is_empty() {
            return Ok(true);
        }
        let (conn, ends, back) = (self.conn, self.ends, self.query.newest_first);
        self.passes_over |= scan.is_index();
        let last = stretch.last(conn, ends, back);
        let mut next = stretch.first(back);
        let mut statement = scan.prepare(conn, back)?;
        let mut rows = scan.query(&mut statement, next)?;
        loop {
            let event = match self.next(&mut rows, scan, stretch, next) {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(true),
                Err(ReadError::Damaged { .. }) if self.looked.is_some() => return Ok(false),
                Err(ReadError::Damaged { what, .. }) if !scan.is_index() => {
                    let damage = Some(stretch.extent(conn, ends, back, next));
                    return Err(ReadError::Damaged { damage, what });
                }
                Err(error) => return Err(error),
            };
            let place = event.sequence;
            let is_full = self.take(event);
            if place == last || is_full {
                return Ok(place == last);
            }
            next = behind(place, back);
        }
    }

    /// The next row, which should be at `next` or behind it. None behind the stretch.
    fn next(
        &self,
        rows: &mut rusqlite::Rows<'_>,
        scan: &Scan,
        stretch: &Stretch,
        next: Sequence,
    ) -> Result<Option<StoredEvent>, ReadError> {
        let back = self.query.newest_first;
        // Every place has a row, unless somebody has removed some between others.
        let is_dense = self.ends.is_dense && !scan.is_index();
        let event = match rows.next()? {
            Some(row) => Some(rows::event(row, self.query.with_raw)?),
            None => None,
        };
        let is_outside = |event: &StoredEvent| match back {
            true => event.sequence <= stretch.after,
            false => event.sequence > stretch.through,
        };
        let Some(event) = event.filter(|event| !is_outside(event)) else {
            return match is_dense {
                true => Err(damaged("a row is missing")),
                false => Ok(None),
            };
        };
        let is_next = match back {
            _ if is_dense => event.sequence == next,
            true => event.sequence <= next,
            false => event.sequence >= next,
        };
        if !is_next {
            return Err(damaged("a row is not in its place"));
        }
        match scan.fits(&event.keys) {
            true => Ok(Some(event)),
            false => Err(damaged("an entry of an index leads to another event")),
        }
    }

    /// Looks at the events at places where something says that wanted ones may be.
    pub(super) fn places(
        &mut self,
        places: impl Iterator<Item = Result<Sequence, ReadError>>,
    ) -> Result<bool, ReadError> {
        self.passes_over = true;
        for place in places {
            match place.and_then(|place| Ok((place, self.at(place)?))) {
                Ok((_, Some(event))) => {
                    if self.take(event) {
                        return Ok(false);
                    }
                }
                Ok((place, None)) => {
                    self.looked = Some(ends::without_event(place));
                    self.rows_looked += 1;
                    if self.rows_looked >= SCAN_ROWS_MAX {
                        return Ok(false);
                    }
                }
                Err(ReadError::Damaged { .. }) if self.looked.is_some() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// The event at a place. None if it was removed.
    fn at(&self, place: Sequence) -> Result<Option<StoredEvent>, ReadError> {
        match ends::at(self.conn, place, self.query.with_raw)? {
            None if self.ends.is_dense => Err(ReadError::Damaged {
                damage: Some(Damage::at(place)),
                what: "a row is missing".into(),
            }),
            found => Ok(found),
        }
    }

    /// Keeps an event if it is wanted. Returns whether the read may look at no more.
    fn take(&mut self, event: StoredEvent) -> bool {
        let query = self.query;
        let raw = event.raw.as_ref().map_or(0, |raw| raw.json.len());
        let bytes = event.encoded.len() + raw;
        self.looked = Some(event.position());
        self.rows_looked += 1;
        self.looked_bytes += bytes;
        if query.selector.matches(&event.keys) {
            self.returned_bytes += bytes;
            self.events.push(event);
        }
        self.events.len() == query.events_max.max(1)
            || self.returned_bytes > query.bytes_max
            || self.rows_looked >= SCAN_ROWS_MAX
            || self.looked_bytes > SCAN_BYTES_MAX.max(query.bytes_max)
    }

    /// What was found in this stretch.
    pub(super) fn batch(self, stretch: &Stretch, complete: bool) -> Batch {
        let newest = || stretch.newest(self.conn, self.ends);
        let covered = match self.looked {
            _ if complete && self.query.newest_first => Position::ORIGIN,
            Some(looked) if !complete || !self.passes_over => looked,
            _ => newest(),
        };
        Batch {
            events: self.events,
            covered,
            complete,
        }
    }
}

/// Damage of an index, or of a place that the caller knows.
pub(super) fn damaged(what: &str) -> ReadError {
    ReadError::Damaged {
        damage: None,
        what: what.into(),
    }
}
