//! Queries of the log, and their answers.

use jiff::Timestamp;

use crate::{
    event::{Position, Sequence, StoredEvent},
    filter::Selector,
};

/// The most rows that one read looks at: about 5 ms of work, so that a filter that matches nothing
/// does not occupy a reader for long.
pub(crate) const SCAN_ROWS_MAX: u64 = 5_000;

/// How urgent a read is. `sqlite/lanes.rs` says which reads wait for which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Look-ups by key, and what the router has to read.
    Now,
    /// Catch-up of a subscriber or follower that is at most [`SCAN_ROWS_MAX`] places behind.
    Near,
    /// Pages of lists.
    Page,
    /// Catch-up from further behind.
    Far,
}

impl Lane {
    /// The lane for catching up from one place to another.
    pub(crate) fn for_distance(after: Sequence, through: Sequence) -> Self {
        match through.0.saturating_sub(after.0) {
            0..=SCAN_ROWS_MAX => Self::Near,
            _ => Self::Far,
        }
    }
}

/// A stretch of the log to read. What it returns and what it looks at is bounded.
#[derive(Clone, Debug)]
pub struct Query {
    /// How urgent it is.
    pub lane: Lane,
    /// Which events it wants.
    pub selector: Selector,
    /// The stretch begins right after this place.
    pub after: Sequence,
    /// It ends with this place.
    pub through: Sequence,
    /// Whether to read from the end of the stretch to its beginning.
    pub newest_first: bool,
    /// The most events to return, at least 1.
    pub events_max: usize,
    /// The read stops after the event with which the encoded events, and the raw bodies if they are
    /// wanted, have more bytes than this.
    pub bytes_max: usize,
    /// Whether to bring [`StoredEvent::raw`].
    pub with_raw: bool,
}

/// What a [`Query`] found.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The events, in the order that was asked for.
    pub events: Vec<StoredEvent>,
    /// How far the reader looked: every match up to here is in `events`. Forward, this is the
    /// newest event that it looked at, whether it matches or not, or `after` if there was none.
    /// Newest first, it is the oldest event that it looked at, or the origin if `complete`.
    pub covered: Position,
    /// Whether the whole stretch was looked at.
    pub complete: bool,
}

/// Events one after the other that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first of them, in the direction of the read.
    pub sequence: Sequence,
    /// The last of them that the reader has looked for: what can be read lies behind it.
    pub end: Sequence,
}

impl Damage {
    /// A single event.
    pub(crate) fn at(sequence: Sequence) -> Self {
        Self {
            sequence,
            end: sequence,
        }
    }

    /// The place behind it. No event is known there.
    pub(crate) fn behind(&self) -> Position {
        Position {
            sequence: self.end,
            ..Position::ORIGIN
        }
    }
}

/// Where a log begins whose first events may have been removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earliest {
    /// Right before the earliest event. Id tag and time are not known here, since the event at this
    /// place was removed. If all events were removed, this is the end of the log, which is known.
    pub before: Position,
    /// The receive time of the earliest event. None if the log is empty.
    pub time: Option<Timestamp>,
}

/// The ends of the log and how much lies between.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub earliest: Earliest,
    /// The earliest event. None if the log is empty.
    pub earliest_sequence: Option<Sequence>,
    /// The newest event, even if it was removed.
    pub latest: Position,
    pub event_count: u64,
    /// Bytes of bodies, headers and encoded events.
    pub event_bytes: u64,
}

/// What is at a place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Located {
    /// The event at this position, or the origin.
    Here(Position),
    /// No event, but the events after it are there: it lies between others, or right before the
    /// earliest.
    Hole,
    /// Retention has removed this place and at least one after it.
    Expired(Earliest),
    /// A place after the end of the log.
    Beyond,
}
