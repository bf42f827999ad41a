//! The log in one SQLite file, `events.db` in the data folder.
//!
//! # Locking
//!
//! An OS lock on `gateway.lock` beside the file lasts as long as the appender: one gateway writes,
//! and a killed one leaves nothing to clean up. Within the process, the appender's thread owns the
//! one connection that writes, and each reader's thread has one that only reads. Others may read
//! with any SQLite tool at any time. They may also write (remove events, add an index): appends
//! wait for them. Webhooks that wait for 700 ms are refused, and their events stay in the queue.
//!
//! # Compatibility
//!
//! `user_version` is the version of the schema. An older file is upgraded at the start, in one
//! transaction. A newer one is refused. Users query the columns of `events`, so these
//! keep their meaning.
//!
//! # Performance
//!
//! A group is one transaction and one sync. It takes what waits when the group before is done, and
//! waits for no timer. An index on random ids would cost about one page of write-ahead log for each
//! event, so ids are kept in sorted runs: see [`ids`].
//!
//! After each 16 MiB a thread moves the write-ahead log into the file, and the writer only the last
//! part of it (`checkpoint.rs`). From 64 MiB on the writer also waits briefly for reads that run at
//! that moment, since reads that overlap would otherwise keep it growing. Reads are bounded in rows
//! ([`SCAN_ROWS_MAX`](super::SCAN_ROWS_MAX)), so only another program that leaves its transaction
//! open can make it longer.
//!
//! A start looks at both ends of the log, and reads the filters of the runs and the events behind
//! them.
//!
//! # Filesystem
//!
//! `synchronous=FULL`: a committed event survives a power loss, if the disk syncs when it is told
//! to. The folder must be on a local disk: neither the lock nor SQLite's shared memory works over a
//! network. Only the owner can read the folder and its files, since they hold what callers said.

mod alone;
mod beginning;
mod by_agent;
mod call_index;
mod checkpoint;
mod checksum;
mod chores;
mod condition;
mod connection;
mod copies;
pub(crate) mod copy;
mod draft;
mod ends;
mod epochs;
mod erasable;
mod erase;
mod fault;
mod faults;
mod file;
mod folder;
mod ids;
mod index_work;
mod inspection;
mod keeper;
mod lanes;
mod loss;
mod mark;
mod place;
mod query;
mod read_only;
mod reader;
mod remains;
mod retention;
mod room;
mod rows;
mod schema;
mod schema_edit;
mod set_back;
mod space;
pub(crate) mod stats;
#[cfg(test)]
pub(super) mod tests;
mod trouble;
mod unchecked;
mod upgrade;
pub(crate) mod verify;
mod wal;
mod walk;
mod wall_clock;
mod writer;

use std::{io, sync::Arc};

use jiff::Timestamp;

pub(crate) use self::read_only::open_read_only;
pub use self::reader::Reader;
pub(super) use self::rows::Prepared;
use self::{
    beginning::Beginning, file::LogFile, folder::Folder, ids::Recent, keeper::Keeper, place::Place,
    reader::Source,
};
use super::{
    error::OpenError,
    metrics::Metrics,
    parts::{Config, Identity, Log},
};
use crate::event::{Epoch, Sequence};

/// Opens the log, or makes it. Blocks for a moment.
///
/// A disk that cannot be written now is no error: the log opens with [`super::Tail::available`]
/// unset, and keeps trying by itself.
///
/// # Errors
/// If this user or this version cannot use the folder or the file, or if another gateway has it.
pub fn open(config: &Config, metrics: Metrics) -> Result<Log, OpenError> {
    let Folder {
        log: path,
        used,
        lock,
    } = Folder::hold(&config.data_dir)?;
    let now = Timestamp::now();
    let make = || Identity {
        epoch: Epoch(rand::random()),
        id_key: rand::random(),
    };
    let mark_path = path.with_file_name(mark::MARK_NAME);
    let mark = mark::read(&mark_path);
    if let Err(error) = &mark {
        tracing::warn!(
            %error,
            "events.mark cannot be read, so this start does not notice if events are missing; it \
             is written anew"
        );
    }
    let has_mark = !matches!(mark, Ok(None));
    let mark = mark.unwrap_or(None);
    let beginning = beginning::ensure(&path, mark.as_ref(), config.consent.new_log, now, make)?;
    let is_new = beginning == Beginning::New;
    // A mark of files that were renamed says nothing of a new log.
    let mark = mark.filter(|_| !is_new);
    let has_loss = beginning::check(&path, mark.as_ref(), config.consent.accept_loss, now)?;
    if is_new && used {
        tracing::warn!(
            log = %path.display(),
            "a gateway has used this data folder before, but it has no log; a new one begins"
        );
    }
    let failed = OpenError::database(&path);
    let mut conn = connection::writer(&path).map_err(failed)?;
    let place = Place::of(&path).map_err(|source| OpenError::Files {
        path: path.clone(),
        source,
    })?;
    let place = Arc::new(place);
    // The process before may have ended because a sync failed.
    let settled = file::settle(&conn, &place, || ());
    schema::migrate(&mut conn, &path, now, make)?;
    if has_loss {
        let (after, before) =
            loss::accept(&mut conn, mark.as_ref(), Epoch(rand::random()), now).map_err(failed)?;
        tracing::warn!(
            "events behind sequence {after} are lost; new events come behind sequence {before}"
        );
    }
    let identity = schema::identity(&conn).map_err(failed)?;
    let recent = Arc::new(Recent::default());
    let mut file =
        LogFile::new(conn, place.clone(), recent.clone(), metrics.clone()).map_err(failed)?;
    file.bound_wal(space::wal_bytes_max(config.limits.bytes))
        .map_err(failed)?;
    if config.consent.trust_clock {
        file.trust_clock().map_err(failed)?;
    }
    if !has_mark && file.last().sequence > Sequence::ZERO {
        tracing::warn!(
            "the log has no events.mark, as after an upgrade or a restored backup, so this start \
             does not notice if events are missing; it is written now"
        );
    }
    if let Some(mark) = mark.filter(|mark| mark.epoch == identity.epoch) {
        file.moved_before(mark.moved.min(file.last().sequence));
    }
    let keeper = Keeper::start(&mark_path, identity.epoch, metrics.clone())
        .map_err(|source| OpenError::Threads { source })?;
    if settled.is_ok() {
        keeper.note(file.last(), file.moved());
    }
    let threads = |source: io::Error| OpenError::Threads { source };
    let source = Source::new(place, settled.is_ok());
    let reader = {
        let source = source.clone();
        reader::start(move || source.open(), recent, metrics.clone()).map_err(threads)?
    };
    let handles = writer::start(writer::Parts {
        file,
        settled,
        source,
        reader: reader.clone(),
        lock,
        limits: config.limits,
        keeper,
        metrics,
    })
    .map_err(threads)?;
    Ok(Log {
        identity,
        is_new,
        appender: handles.appender,
        eraser: handles.eraser,
        reader,
        tail: handles.followers.tail(),
        followers: handles.followers,
    })
}
