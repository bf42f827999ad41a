//! The file as its appender sees it: groups go in, one transaction and one sync each.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{
    connection::{self, BUSY_TIMEOUT, PAGE_BYTES, WAL_PAGES_MAX},
    rows, schema,
};
use crate::{
    event::{NewEvent, Position, Sequence, StoredEvent},
    log::{Appended, Identity},
};

/// What [`File::probe`] writes: about the largest event, with its body and encoding.
const PROBE_BYTES: i64 = 4 * 1024 * 1024;
/// How long what is no append may wait for others who use the file, since all appends wait with it.
const BRIEF_WAIT: Duration = Duration::from_millis(250);

/// An open file. What `last` says is what the file says, as long as no error came.
pub(super) struct File {
    conn: Connection,
    last: Position,
    /// Pages that the write-ahead log may have before readers are waited for. A quarter of them makes a checkpoint worth its syncs.
    wal_pages_max: u64,
    /// The pages in it when it was last moved into the file.
    checkpointed_at: u64,
}

/// A group that is durable.
pub(super) struct Committed {
    /// An answer for each event of the group, in its order.
    pub(super) answers: Vec<Appended>,
    /// Those that are new.
    pub(super) events: Vec<StoredEvent>,
}

/// Why the file could not be taken up again.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReopenError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(
        "the file is another log now, or an older copy of this one; restart the gateway to use it"
    )]
    Replaced,
}

impl File {
    /// Takes over a connection to a file of this schema version.
    pub(super) fn new(conn: Connection) -> rusqlite::Result<Self> {
        let last = last(&conn)?;
        Ok(Self {
            conn,
            last,
            wal_pages_max: WAL_PAGES_MAX,
            checkpointed_at: 0,
        })
    }

    /// Opens the file again after an error, and makes sure that it is the same and can be written. Where it ends is read anew: of
    /// what an error left open, all or nothing may have become durable.
    pub(super) fn reopen(
        path: &Path,
        identity: &Identity,
        last: Position,
    ) -> Result<Self, ReopenError> {
        let file = Self::new(connection::writer(path)?)?;
        let found = schema::identity(&file.conn)?;
        if found.epoch != identity.epoch || file.last.sequence < last.sequence {
            return Err(ReopenError::Replaced);
        }
        file.briefly(Self::probe)?;
        Ok(file)
    }

    /// The newest durable event.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    /// Makes a group durable, or nothing of it. Duplicates are found, those within the group too, since it sees its own rows.
    pub(super) fn commit(
        &mut self,
        group: impl IntoIterator<Item = NewEvent>,
    ) -> rusqlite::Result<Committed> {
        let transaction = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut last = self.last;
        let mut committed = Committed {
            answers: Vec::new(),
            events: Vec::new(),
        };
        let mut bytes = 0;
        {
            let mut find =
                transaction.prepare_cached("SELECT sequence FROM events WHERE id = ?1")?;
            let mut insert = transaction.prepare_cached(rows::INSERT)?;
            for event in group {
                let id = event.id;
                let first = find.query_row([id.0], |row| row.get(0)).optional()?;
                let duplicate = first.is_some();
                let sequence = first.map_or(last.sequence.next(), Sequence);
                committed.answers.push(Appended {
                    id,
                    sequence,
                    duplicate,
                });
                if duplicate {
                    continue;
                }
                let seen = event.event.receive_time.and_then(rows::time);
                let receive_time = seen.max(last.receive_time).unwrap_or_default();
                let (event, size) = rows::insert(&mut insert, event, sequence, receive_time)?;
                bytes += size;
                last = event.position();
                committed.events.push(event);
            }
        }
        if let Some(event) = committed.events.last() {
            transaction
                .prepare_cached(
                    "UPDATE log SET last_sequence = ?1, last_id = ?2, last_receive_time = ?3,
                                    event_count = event_count + ?4, event_bytes = event_bytes + ?5",
                )?
                .execute(params![
                    event.sequence.0,
                    event.id.0,
                    rows::time_text(event.receive_time),
                    committed.events.len(),
                    bytes,
                ])?;
        }
        // Without a new row there is nothing to write, and no sync.
        transaction.commit()?;
        self.last = last;
        Ok(committed)
    }

    /// Writes as much as a large event takes, all the way to the disk, and takes it back: a disk that is nearly full must not seem
    /// to be away and back again with each event.
    pub(super) fn probe(&self) -> rusqlite::Result<()> {
        self.conn
            .execute("UPDATE log SET probe = zeroblob(?1)", [PROBE_BYTES])?;
        self.conn.execute("UPDATE log SET probe = NULL", [])?;
        Ok(())
    }

    /// Moves the write-ahead log into the file whenever enough has come together, so that it stays short. Readers are not
    /// waited for until it has become long; then they are, briefly, since else reads that overlap could keep it growing for ever.
    pub(super) fn checkpoint(&mut self) -> rusqlite::Result<()> {
        let pages = self.run_checkpoint("NOOP")?.pages;
        if pages < self.checkpointed_at {
            // It has begun anew.
            self.checkpointed_at = 0;
        }
        if pages < self.checkpointed_at + self.wal_pages_max / 4 {
            return Ok(());
        }
        self.checkpointed_at = pages;
        if pages < self.wal_pages_max {
            self.run_checkpoint("PASSIVE")?;
            return Ok(());
        }
        if self.briefly(|file| file.run_checkpoint("RESTART"))?.busy {
            tracing::warn!(
                wal_bytes = pages * PAGE_BYTES,
                "a reader of the log has been at it for so long that the write-ahead log cannot be cut back"
            );
        }
        Ok(())
    }

    /// Moves all of the write-ahead log into the file, if no reader is in the way, and closes it.
    pub(super) fn close(self) -> rusqlite::Result<()> {
        self.briefly(|file| file.run_checkpoint("TRUNCATE"))
            .map(|_| ())
    }

    /// Does something while all appends wait, and gives up soon if others are in its way.
    fn briefly<T>(&self, work: impl FnOnce(&Self) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.conn.busy_timeout(BRIEF_WAIT)?;
        let result = work(self);
        self.conn.busy_timeout(BUSY_TIMEOUT)?;
        result
    }

    fn run_checkpoint(&self, mode: &str) -> rusqlite::Result<Checkpoint> {
        self.conn
            .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
            .query_row([], |row| {
                Ok(Checkpoint {
                    busy: row.get(0)?,
                    pages: row.get(1)?,
                })
            })
    }
}

/// What a checkpoint came to.
struct Checkpoint {
    /// A reader was in the way.
    busy: bool,
    /// In the write-ahead log, moved or not.
    pages: u64,
}

fn last(conn: &Connection) -> rusqlite::Result<Position> {
    conn.query_row(rows::LAST, [], rows::last)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use jiff::Timestamp;

    use super::*;
    use crate::{
        event::{Epoch, EventId, Raw},
        proto,
    };

    fn event(number: u8) -> NewEvent {
        NewEvent {
            id: EventId([number; 16]),
            event: proto::Event::default(),
            event_time_given: false,
            raw: Raw::default(),
        }
    }

    #[test]
    fn the_write_ahead_log_stays_short_though_somebody_always_reads() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("events.db");
        std::fs::File::create(&path).unwrap();
        let mut conn = connection::writer(&path).unwrap();
        let identity = || Identity {
            epoch: Epoch([0; 16]),
            id_key: [0; 32],
        };
        schema::migrate(&mut conn, &path, Timestamp::UNIX_EPOCH, identity).unwrap();
        let mut file = File::new(conn).unwrap();
        file.wal_pages_max = 64;

        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let readers = [(); 2].map(|()| connection::reader(&path).unwrap());
                // Each lets go only when the other has begun.
                let mut held = None;
                for reader in readers.iter().cycle() {
                    let snapshot = reader.unchecked_transaction().unwrap();
                    last(&snapshot).unwrap();
                    held = Some(snapshot);
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
                drop(held);
            });
            let pages: rusqlite::Result<Vec<u64>> = (0..150)
                .map(|number| {
                    file.commit([event(number)])?;
                    file.checkpoint()?;
                    Ok(file.run_checkpoint("NOOP")?.pages)
                })
                .collect();
            done.store(true, Ordering::Relaxed);
            let pages_max = pages.unwrap().into_iter().max().unwrap_or(0);
            assert!(
                pages_max >= 16,
                "that little needs no checkpoint: {pages_max}"
            );
            assert!(pages_max <= 2 * 64, "{pages_max}");
        });
    }
}
