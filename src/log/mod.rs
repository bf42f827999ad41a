//! The log: makes events durable, numbers them, and reads them back.
//!
//! # Contract
//!
//! - **Committing.** [`Appender::append`] resolves when its event is on disk, together with all
//!   that waited with it (a group), or when it is certain that the log did not take it now. An
//!   event whose id is already in the log is not stored again; the answer is the first one's place.
//!   Sequences grow strictly, receive times never fall.
//! - **Following.** [`Tail`] says where the log ends and whether it can take events. It moves after
//!   the commit and before the answer, so whoever has an answer can read the event. A [`Follower`]
//!   begins anywhere and yields all events up to the tail in order, or says what was removed. It
//!   takes committed groups without a read, and reads from the file what it was too late for.
//! - **Reading.** A [`Reader`] only knows the file, never the appender: whatever commits elsewhere
//!   one day and is followed into the file is read the same way.
//!
//! ```text
//!       trimmed            earliest                     tail
//!  ────────┼───────────────────┼──────── events ─────────┼──────▶ sequence
//!   removed by retention        what readers see          what is durable
//! ```

pub(crate) mod cursor;
mod follow;
mod metrics;
pub(crate) mod sqlite;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;

pub(crate) use follow::{Followed, Follower};
pub use follow::{Followers, Publisher, followers};
pub use metrics::Metrics;
pub(crate) use sqlite::Appender;
pub use sqlite::{Reader, open};

use crate::{
    event::{Epoch, EventId, Position, Sequence, StoredEvent},
    filter::Selector,
};

/// The log's files in the data folder: itself, and its write-ahead log.
pub(crate) const FILES: [&str; 2] = ["events.db", "events.db-wal"];

/// How the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder that holds the file and its lock. Made if it is not there.
    pub data_dir: PathBuf,
    /// Whether a new log may begin where something is that is no log, or not a whole one
    /// ([`Unfit`]). That keeps its content under another name. Where a log is, this means nothing.
    pub new_log: bool,
}

/// An open log, in its parts.
pub struct Log {
    /// Who the log is.
    pub identity: Identity,
    /// Whether it was made just now.
    pub is_new: bool,
    /// The way in.
    pub appender: Appender,
    /// The way out.
    pub reader: Reader,
    /// Where it ends. Closed once the appender is gone, be it finished or failed.
    pub tail: watch::Receiver<Tail>,
    /// Where those begin who follow it.
    pub followers: Followers,
}

/// What is made once, with the log.
#[derive(Clone)]
pub struct Identity {
    /// Tells this log from any other.
    pub epoch: Epoch,
    /// Key of the event ids in it, so that nobody can guess the content of an event from its id.
    pub id_key: [u8; 32],
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// Where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The newest durable event.
    pub position: Position,
    /// Whether events can be committed.
    pub available: bool,
}

/// The answer to an append: the event is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its identity.
    pub id: EventId,
    /// Its place; the first one's, if it was there before.
    pub sequence: Sequence,
    /// Whether the log had it already.
    pub duplicate: bool,
}

/// Why an event was not taken. It may be offered again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The file cannot be written now: a full disk, an I/O error. The log tries by itself to come
    /// back.
    #[error("the log cannot take events now: {0}")]
    Unavailable(Arc<str>),
    /// The gateway is leaving.
    #[error("the log is closed")]
    Closed,
}

/// Why nothing was read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read now.
    #[error("the log cannot be read now: {0}")]
    Unavailable(Arc<str>),
    /// What the file holds is not what was written.
    #[error("the log is damaged: {0}")]
    Damaged(Arc<str>),
    /// Retention has removed events between the place asked for and the earliest.
    #[error("the events after that place have been removed")]
    Expired(Earliest),
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

/// Why a log could not be opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made or written.
    #[error(
        "cannot use the data folder {path}: {source}; give --data-dir a folder that this user may write to"
    )]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another gateway has it.
    #[error(
        "the data folder {path} is in use by another gateway; stop that one, or give this one a --data-dir of its own"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The files of the log cannot be used.
    #[error("cannot use the log {path}: {source}")]
    Files {
        /// The log.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is there is no log, or not a whole one.
    #[error(
        "the log {path} {what}; put back what belongs there or restore a backup, or start once with --new-log: what is there gets \
         another name then, and a new log begins"
    )]
    Unfit {
        /// The log.
        path: PathBuf,
        /// What is wrong with it.
        what: Unfit,
    },
    /// The file was written by a later version.
    #[error(
        "the log {path} has schema version {found}, and this gateway knows only {known}; use the newer gateway that wrote it"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that this build knows.
        known: i64,
    },
    /// The system gives no more threads.
    #[error("cannot start the threads of the log: {source}; raise this user's limit")]
    Threads {
        /// What the system said.
        source: std::io::Error,
    },
    /// Anything else that SQLite says.
    #[error(
        "cannot open the log {path}: {source}; if the file is damaged, restore a backup, or move it away and begin a new one"
    )]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// What is wrong with files that are to be a log. A gateway never leaves them so, however it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Nothing is in it.
    #[error("is empty (0 bytes): something has emptied it")]
    Empty,
    /// The file is not there, and one that belongs to it is: the one with this at its end.
    #[error("is missing, but its {0} file is there, which may hold events")]
    Missing(&'static str),
    /// The end of it is missing.
    #[error("has {found} bytes and should have {expected}: something has cut it short")]
    CutShort {
        /// Its bytes.
        found: u64,
        /// What it says itself.
        expected: u64,
    },
    /// It is something else.
    #[error("is no log of this gateway: it is no SQLite file, or one without the gateway's tables")]
    Foreign,
    /// Something has set the version of its schema.
    #[error(
        "has schema version {0}, which no gateway writes: something has changed its user_version"
    )]
    Version(i64),
    /// The write-ahead log is another one's.
    #[error("and the -wal file beside it are of two logs, or of two states of one")]
    ForeignWal,
    /// Another program has left a change half done.
    #[error(
        "has a -journal file beside it, which is no gateway's: if it belongs to it, opening the log once with sqlite3 takes the \
         change back, else move it away"
    )]
    Journal,
}

/// Rows looked at by one read at the most, so that a filter that matches nothing does not hold a
/// reader for long: some 5 ms.
pub(crate) const SCAN_ROWS_MAX: u64 = 5_000;
/// How often a log that is away is tried again.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_secs(1);
