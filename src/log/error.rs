//! Errors of the log.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::{
    progress::Stopped,
    query::{Damage, Earliest},
};
use crate::event::{Epoch, Sequence};

/// How long to wait before a file is tried again that could not be read or written.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Why an event has no place yet. It may be offered again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The file cannot be written now, because of a full disk or an I/O error for example. The log
    /// keeps trying by itself.
    #[error("the log cannot take events now: {0}")]
    Unavailable(Arc<str>),
    /// The event is not durable yet. It waits, and may be taken all the same.
    #[error("the log has not made the event durable in time")]
    Late,
    /// So many events wait already that this one was not taken.
    #[error("too many events wait for the log")]
    Full,
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
    /// What the file holds is not what was written. All events before the damage were read.
    #[error("the log is damaged{}: {what}", place(damage.as_ref()))]
    Damaged {
        /// Which events, if it is events that cannot be read.
        damage: Option<Damage>,
        what: Arc<str>,
    },
    /// Retention has removed events between the place asked for and the earliest.
    #[error("the events after that place have been removed")]
    Expired(Earliest),
}

/// Why work on a whole log has ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// SQLite's errors are about the file that is read.
impl From<rusqlite::Error> for WorkError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Read(error.into())
    }
}

fn place(damage: Option<&Damage>) -> String {
    match damage {
        Some(Damage { sequence, end }) if sequence == end => format!(" at {sequence}"),
        Some(Damage { sequence, end }) => format!(" from {sequence} to {end}"),
        None => String::new(),
    }
}

/// Why a log could not be opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "cannot use the data folder {path}: {source}; give --data-dir a folder that this user may \
         write to"
    )]
    DataDir { path: PathBuf, source: io::Error },
    #[error(
        "the data folder {path} is in use by another gateway; stop that one, or give this one a \
         --data-dir of its own"
    )]
    Locked { path: PathBuf },
    #[error("there is no log in {data_dir}; --data-dir names the folder that holds events.db")]
    NoLog { data_dir: PathBuf },
    #[error("cannot use the log {path}: {source}")]
    Files { path: PathBuf, source: io::Error },
    /// The file is no log, or not a whole one.
    #[error(
        "the log {path} {what}; put the right files back, restore a backup, or start once with \
         --new-log, which renames these files and begins a new log"
    )]
    Unfit { path: PathBuf, what: Unfit },
    /// The log does not have what it once had.
    #[error(
        "the log {path} {what}; put the right files back, or start once with --accept-loss, which \
         goes on with the events that are there"
    )]
    Lost { path: PathBuf, what: Loss },
    #[error(
        "the log {path} has schema version {found}, and this gateway knows only {known}; use the \
         newer gateway that wrote it"
    )]
    NewerSchema {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error(
        "the log {path} has schema version {found}, and this gateway reads version {known}; start \
         it once with `serve`, which upgrades the log"
    )]
    OlderSchema {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("cannot start the threads of the log: {source}; raise this user's limit")]
    Threads { source: io::Error },
    /// Any other error of the database.
    #[error(
        "cannot open the log {path}: {source}; if the file is damaged, restore a backup, or move \
         it away and begin a new one"
    )]
    Database {
        path: PathBuf,
        source: Box<dyn Error + Send + Sync>,
    },
}

impl OpenError {
    /// Makes an error of the database into an error about this file.
    pub(super) fn database<E: Error + Send + Sync + 'static>(
        path: &Path,
    ) -> impl Fn(E) -> Self + Copy {
        move |source| Self::Database {
            path: path.to_owned(),
            source: source.into(),
        }
    }
}

/// What is wrong with files where a log should be. A gateway never leaves them so, however it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("is empty (0 bytes): something has emptied it")]
    Empty,
    /// The log is not there, but a file that belongs to it is. This is the end of that file's name.
    #[error("is missing, but its {0} file is there, which may hold events")]
    Missing(&'static str),
    /// The file's header says that it has `expected` bytes.
    #[error("has {found} bytes and should have {expected}: something has cut it short")]
    CutShort { found: u64, expected: u64 },
    #[error(
        "is not a log of this gateway: it is not an SQLite file, or it lacks the gateway's \
         tables"
    )]
    Foreign,
    #[error(
        "has schema version {0}, which no gateway writes: something has changed its user_version"
    )]
    Version(i64),
    #[error(
        "does not match the -wal file beside it: they come from two logs, or from two states \
         of one log"
    )]
    ForeignWal,
    /// A log that has been lost has left its mark.
    #[error("is missing, but events.mark says that it had reached sequence {0}")]
    Gone(Sequence),
    #[error(
        "is an older copy than its -wal file: it ends with sequence {found}, and the -wal was \
         begun when it had reached {expected}"
    )]
    OlderThanWal { found: Sequence, expected: Sequence },
    /// Another program has left a change half done.
    #[error(
        "has a -journal file beside it, which no gateway writes: if it belongs to the log, open \
         the log once with sqlite3, which takes the change back; otherwise move it away"
    )]
    Journal,
}

/// What a log lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Events at its end.
    End {
        last: Sequence,
        received: Option<Timestamp>,
        marked: Sequence,
        marked_received: Option<Timestamp>,
    },
    /// It has another event where the mark was: it was taken back, and went on differently.
    Rewound {
        marked: Sequence,
        marked_received: Option<Timestamp>,
    },
    /// The log that was here before is gone as a whole.
    AnotherLog {
        marked_epoch: Epoch,
        marked: Sequence,
        marked_received: Option<Timestamp>,
    },
    /// The row of `log` and the newest event contradict each other.
    Disagrees { row: Sequence, newest: Sequence },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: &Option<Timestamp>| match time {
            Some(time) => format!(" (received {time:.0})"),
            None => String::new(),
        };
        match self {
            Self::End {
                last,
                received,
                marked,
                marked_received,
            } => write!(
                f,
                "ends with sequence {last}{}, but events.mark says that it had reached {marked}{}: \
                 the events from {} to {marked} are missing, and perhaps some after them. An older \
                 copy of events.db or a lost or damaged events.db-wal has this effect",
                time(received),
                time(marked_received),
                last.next(),
            ),
            Self::Rewound {
                marked,
                marked_received,
            } => write!(
                f,
                "has another event at sequence {marked} than events.mark says{}: it is an older \
                 copy that has gone on differently",
                time(marked_received)
            ),
            Self::AnotherLog {
                marked_epoch,
                marked,
                marked_received,
            } => write!(
                f,
                "is another log than the one that events.mark tells of, which has the epoch \
                 {marked_epoch} and had reached sequence {marked}{}",
                time(marked_received)
            ),
            Self::Disagrees { row, newest } => write!(
                f,
                "contradicts itself: its last event should be sequence {row}, and its newest is \
                 {newest}: files of two states of the log have been mixed"
            ),
        }
    }
}
