//! What a log is opened with, and the parts of an open log.

use std::{fmt, path::PathBuf};

use tokio::sync::watch;

use super::{
    appender::Appender,
    eraser::Eraser,
    follow::{Followers, Tail},
    limits::Limits,
    sqlite::Reader,
};
use crate::event::Epoch;

/// The log's files in the data folder: the log itself, and its write-ahead log.
pub(crate) const FILES: [&str; 2] = ["events.db", "events.db-wal"];

/// How the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder for the log and its lock file. It is made if it is not there.
    pub data_dir: PathBuf,
    /// What this start may do.
    pub consent: Consent,
    /// How much is kept.
    pub limits: Limits,
}

/// What an operator allows for one start. All that is not needed has no effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// A new log may begin although there are files that are no log, or not a whole one. These
    /// files get another name.
    pub new_log: bool,
    /// The log may go on without events that it once had.
    pub accept_loss: bool,
    /// The machine's clock is right, even if the newest event lies in its future. Receive times may
    /// go back.
    pub trust_clock: bool,
}

/// An open log, in its parts.
pub struct Log {
    /// What tells it from other logs.
    pub identity: Identity,
    /// Whether this start has made it.
    pub is_new: bool,
    /// Takes events.
    pub appender: Appender,
    /// Erases events.
    pub eraser: Eraser,
    /// Reads events.
    pub reader: Reader,
    /// Where the log ends. The channel closes when the log is closed or its thread has failed.
    pub tail: watch::Receiver<Tail>,
    /// Makes followers.
    pub followers: Followers,
}

/// Made with the log, and never changed.
#[derive(Clone)]
pub struct Identity {
    /// Differs from the epoch of any other log.
    pub epoch: Epoch,
    /// Key for the ids of its events: without it, nobody can check a guess at an event's content
    /// against the event's id.
    pub id_key: [u8; 32],
}

/// Leaves out the key, which is secret.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}
