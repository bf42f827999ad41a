//! Moves the write-ahead log into the file beside the appender, so that no event waits for it.
//!
//! A checkpoint has *passes*. Each runs on a thread of its own, and moves what came in before it.
//! What came in during the last pass is moved by the appender: only then can the write-ahead log
//! begin anew, and nothing may be appended meanwhile.
//!
//! The thread never syncs the write-ahead log. If that failed, the system might tell only this
//! thread, and the appender would take its own group for durable. So a pass moves only what a sync
//! of the appender has made durable. An open read, the *pin*, keeps SQLite from moving more, and
//! from beginning the write-ahead log anew, until the thread has synced the file.

use std::{
    io, mem,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{
    connection::{self, BUSY_TIMEOUT, Checkpoint, PAGE_BYTES, WAL_PAGES_MAX},
    place::Place,
    trouble::Trouble,
};

/// After so many passes the appender moves all that is left. Otherwise the write-ahead log would
/// grow for ever if events came faster than the disk can move them.
const PASSES_MAX: u32 = 4;
/// How long the appender waits for reads that run, once the write-ahead log is long: reads that
/// overlap could otherwise keep it growing for ever.
const READERS_WAIT: Duration = Duration::from_millis(20);
/// When a checkpoint of a long write-ahead log is tried again.
const LONG_INTERVAL: Duration = Duration::from_secs(10);

/// The checkpoints of a file. The appender's thread owns them.
pub(super) struct Checkpoints {
    place: Arc<Place>,
    stage: Stage,
    /// From this many pages on, the write-ahead log is long. A checkpoint begins each time that a
    /// quarter of them has been added, so that it is worth its syncs.
    pub(super) pages_max: u64,
    /// How often the appender has synced the write-ahead log.
    syncs: u64,
    passes: u32,
    /// The pages that the passes before have moved.
    moved: u64,
    /// The pages in the write-ahead log when the last checkpoint began, and when.
    began_at: (u64, Instant),
    /// The pages when a line last said that it is long.
    told_at: u64,
    /// Whether to begin one soon, though little was added.
    soon: bool,
}

enum Stage {
    Rest,
    /// What the pin sees is durable once there have been more than so many syncs.
    Pinned(Connection, u64),
    Moving(Connection, JoinHandle<Result<Checkpoint, Trouble>>),
    /// A pass may have failed. The transaction of the connection is what matters.
    Held(Connection),
}

impl Checkpoints {
    pub(super) fn new(place: Arc<Place>) -> Self {
        Self {
            place,
            stage: Stage::Rest,
            pages_max: WAL_PAGES_MAX,
            syncs: 0,
            passes: 0,
            moved: 0,
            began_at: (0, Instant::now()),
            told_at: 0,
            soon: false,
        }
    }

    /// Begins one with the next step.
    pub(super) fn soon(&mut self) {
        self.soon = true;
    }

    /// All that can be read is durable.
    pub(super) fn synced(&mut self) {
        self.syncs += 1;
    }

    /// Whether one waits for the next sync.
    pub(super) fn waits(&self) -> bool {
        matches!(self.stage, Stage::Pinned(..))
    }

    /// Whether the thread may be writing to the file now.
    pub(super) fn is_moving(&self) -> bool {
        matches!(self.stage, Stage::Moving(..))
    }

    /// Whether the file is synced, if all is moved: SQLite syncs it then, but the thread's SQLite
    /// does not.
    pub(super) fn is_synced(&self) -> bool {
        !matches!(self.stage, Stage::Moving(..) | Stage::Held(_))
    }

    /// Goes on, if it can. `now` is what the write-ahead log has, and `conn` the appender's
    /// connection.
    ///
    /// # Errors
    /// What was moved may not be durable, until the caller has made it so and calls [`Self::stop`].
    pub(super) fn step(&mut self, conn: &Connection, now: &Checkpoint) -> Result<(), Trouble> {
        if now.pages < self.began_at.0 {
            // The write-ahead log has begun anew.
            self.began_at.0 = 0;
            self.told_at = 0;
        }
        match mem::replace(&mut self.stage, Stage::Rest) {
            Stage::Rest if self.is_due(now.pages) => {
                self.soon = false;
                self.began_at = (now.pages, Instant::now());
                self.passes = 0;
                self.moved = now.moved;
                self.pin()
            }
            Stage::Pinned(pin, syncs) if self.syncs > syncs => {
                let place = self.place.clone();
                let thread = thread::Builder::new().name("log-checkpoint".into());
                let thread = thread.spawn(move || pass(&place))?;
                self.passes += 1;
                self.stage = Stage::Moving(pin, thread);
                Ok(())
            }
            Stage::Moving(pin, thread) if thread.is_finished() => {
                let ended = |_| Err(io::Error::other("a checkpoint's thread has ended").into());
                match thread.join().unwrap_or_else(ended) {
                    Ok(moved) => {
                        drop(pin);
                        self.passed(conn, now.pages, moved.moved)
                    }
                    Err(error) => {
                        self.stage = Stage::Held(pin);
                        Err(error)
                    }
                }
            }
            stage => {
                self.stage = stage;
                Ok(())
            }
        }
    }

    fn is_due(&self, pages: u64) -> bool {
        let (began_at, when) = self.began_at;
        self.soon
            || pages >= began_at + self.pages_max / 4
            || self.is_long(pages) && when.elapsed() >= LONG_INTERVAL
    }

    fn is_long(&self, pages: u64) -> bool {
        pages >= self.pages_max
    }

    fn pin(&mut self) -> Result<(), Trouble> {
        let pin = connection::reader(self.place.log())?;
        pin.execute_batch("BEGIN; SELECT epoch FROM log;")?;
        self.place.check()?;
        self.stage = Stage::Pinned(pin, self.syncs);
        Ok(())
    }

    /// A pass has ended.
    fn passed(&mut self, conn: &Connection, pages: u64, moved: u64) -> Result<(), Trouble> {
        let rest = pages.saturating_sub(moved);
        let is_near = rest <= self.pages_max / 64;
        let is_held_up = moved <= mem::replace(&mut self.moved, moved);
        if !is_near && !is_held_up && self.passes < PASSES_MAX {
            return self.pin();
        }
        // A read that is new is waited for. An old one keeps more than the appender should move.
        let is_new = self.is_long(pages) && rest <= self.pages_max / 4;
        let may_finish = is_near || is_new || !is_held_up;
        if !may_finish || self.finish(conn, pages)?.busy {
            self.tell(pages);
        }
        Ok(())
    }

    /// Moves the rest.
    fn finish(&self, conn: &Connection, pages: u64) -> Result<Checkpoint, Trouble> {
        if !self.is_long(pages) {
            return Ok(connection::checkpoint(conn, "PASSIVE")?);
        }
        conn.busy_timeout(READERS_WAIT)?;
        let finished = connection::checkpoint(conn, "RESTART");
        conn.busy_timeout(BUSY_TIMEOUT)?;
        Ok(finished?)
    }

    fn tell(&mut self, pages: u64) {
        if self.is_long(pages) && pages >= self.told_at + self.pages_max / 4 {
            self.told_at = pages;
            tracing::warn!(
                wal_bytes = pages * PAGE_BYTES,
                "the write-ahead log cannot shrink, because something has been reading the log for \
                 a long time"
            );
        }
    }

    /// Waits until the thread has ended. The pin stays until [`Self::stop`], so that the caller can
    /// first make durable what the thread has moved. Returns whether it is durable already.
    pub(super) fn wait(&mut self) -> bool {
        match mem::replace(&mut self.stage, Stage::Rest) {
            Stage::Moving(pin, thread) => {
                let is_durable = matches!(thread.join(), Ok(Ok(_)));
                self.stage = Stage::Held(pin);
                is_durable
            }
            Stage::Held(pin) => {
                self.stage = Stage::Held(pin);
                false
            }
            stage => {
                self.stage = stage;
                true
            }
        }
    }

    /// Waits until the thread has ended, and gives the checkpoint up.
    pub(super) fn stop(&mut self) {
        self.wait();
        self.stage = Stage::Rest;
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.wait();
    }
}

/// Moves what lies before the pin into the file, and syncs the file.
fn pass(place: &Place) -> Result<Checkpoint, Trouble> {
    let mover = connection::mover(place.log())?;
    // This opens all files. Only then can it be said which they are.
    connection::checkpoint(&mover, "NOOP")?;
    place.check()?;
    let moved = connection::checkpoint(&mover, "PASSIVE")?;
    place.file()?.sync_all()?;
    Ok(moved)
}
