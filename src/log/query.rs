//! What a reader is asked, and what it answers.

use jiff::Timestamp;

use crate::{
    event::{Position, Sequence, StoredEvent},
    filter::Selector,
};

/// Rows that one read looks at: some 5 ms of work, so that a filter that matches nothing does not
/// occupy a reader for long.
pub(crate) const SCAN_ROWS_MAX: u64 = 5_000;

/// How much a read is waited for, and how long others may wait for it. `sqlite/lanes.rs` says who
/// waits for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Look-ups by key, and what the live stream itself has to read.
    Now,
    /// The last stretch of a subscriber that is nearly up to date: at most [`SCAN_ROWS_MAX`]
    /// places.
    Near,
    /// Pages of lists.
    Page,
    /// Catch-up from far behind.
    Far,
}

impl Lane {
    /// The lane of one who catches up from one place to another.
    pub(crate) fn for_distance(after: Sequence, through: Sequence) -> Self {
        match through.0.saturating_sub(after.0) {
            0..=SCAN_ROWS_MAX => Self::Near,
            _ => Self::Far,
        }
    }
}

/// A stretch of the log to read, bounded in what it returns and in what it looks at.
#[derive(Clone, Debug)]
pub struct Query {
    /// Who it waits for.
    pub lane: Lane,
    /// Which events.
    pub selector: Selector,
    /// From right after this place …
    pub after: Sequence,
    /// … up to and including this one.
    pub through: Sequence,
    /// From the end of that stretch to its beginning.
    pub newest_first: bool,
    /// The most events to return, at least 1.
    pub events_max: usize,
    /// Stop after the event that passes this many bytes of encoded event and, where asked for, raw
    /// body.
    pub bytes_max: usize,
    /// Whether to bring [`StoredEvent::raw`].
    pub with_raw: bool,
}

/// What a [`Query`] found.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The events, in the order asked for.
    pub events: Vec<StoredEvent>,
    /// How far the reader looked: every match up to here is in `events` or was before it. Forward,
    /// the newest event looked at, matching or not, and never before `after`. (Where there was none
    /// to look at, `after` itself.) Newest first, the oldest one looked at, or the origin once it
    /// has passed `after`.
    pub covered: Position,
    /// Whether the whole stretch was looked at.
    pub complete: bool,
}

/// Where a log begins that has lost its first events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earliest {
    /// Right before the earliest event: a reader that goes on from here misses nothing that is
    /// left. The event there is gone, and with it its id tag (zeroes) and its time, except in a log
    /// that has lost all events: that begins where it ends.
    pub before: Position,
    /// That event's receive time; none if the log is empty.
    pub time: Option<Timestamp>,
}

/// The ends of the log and what lies between.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Where it begins.
    pub earliest: Earliest,
    /// The earliest event; none if it is empty.
    pub earliest_sequence: Option<Sequence>,
    /// The newest event that there ever was.
    pub latest: Position,
    /// Events in the log.
    pub event_count: u64,
    /// Bytes of bodies, headers and encoded events.
    pub event_bytes: u64,
}

/// What is at a place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Located {
    /// An event, with this position right behind it. The origin is always here.
    Here(Position),
    /// No event any more, but the next one is there: between others, or right before the earliest.
    Hole,
    /// Retention has removed this place and the one after it.
    Expired(Earliest),
    /// The log has never come so far.
    Beyond,
}
