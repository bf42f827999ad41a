//! What a log is opened with, and what it is then.

use std::{fmt, path::PathBuf};

use tokio::sync::watch;

use super::{
    appender::Appender,
    follow::{Followers, Tail},
    sqlite::Reader,
};
use crate::event::Epoch;

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
