//! The log's home: one SQLite file in the data folder.

use crate::event::{EventId, NewEvent, Sequence};
use jiff::Timestamp;

use super::{
    AppendError, Appended, Batch, Bounds, Config, Located, Log, OpenError, Query, ReadError,
};
use crate::event::StoredEvent;

/// The way into the log. Clones share it.
#[derive(Clone, Debug)]
pub struct Appender {}

impl Appender {
    /// Makes an event durable; see the contract in [`crate::log`].
    pub async fn append(&self, _event: NewEvent) -> Result<Appended, AppendError> {
        Err(AppendError::Closed)
    }
    /// Commits what has been taken, refuses what follows, and resolves when the appender thread is gone.
    pub async fn finish(&self) {}
}

/// Reads the log. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Reader {}

impl Reader {
    /// Reads a stretch.
    pub async fn read(&self, _query: Query) -> Result<Batch, ReadError> {
        Err(ReadError::Unavailable("".into()))
    }
    /// The event with this id, raw body included.
    pub async fn get(&self, _id: EventId) -> Result<Option<StoredEvent>, ReadError> {
        Err(ReadError::Unavailable("".into()))
    }
    /// What is at a place.
    pub async fn locate(&self, _sequence: Sequence) -> Result<Located, ReadError> {
        Err(ReadError::Unavailable("".into()))
    }
    /// The place right before the first event received at or after `time`: the tail if there is none.
    pub async fn before_time(&self, _time: Timestamp) -> Result<crate::event::Position, ReadError> {
        Err(ReadError::Unavailable("".into()))
    }
    /// The ends of the log.
    pub async fn bounds(&self) -> Result<Bounds, ReadError> {
        Err(ReadError::Unavailable("".into()))
    }
}

/// Opens the log, or makes it.
pub fn open(_config: &Config) -> Result<Log, OpenError> {
    Err(OpenError::Locked { path: "".into() })
}
