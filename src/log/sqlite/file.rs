//! The file as its appender sees it. Each group is one transaction and one sync.

mod index;
mod mending;
#[cfg(test)]
pub(super) mod tests;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};
use rustix::fs::fstatvfs;

use super::{
    checkpoint::Checkpoints,
    connection::{self, BUSY_TIMEOUT, Checkpoint, PAGE_BYTES},
    draft::{Committed, Draft},
    ids::{Ids, Recent},
    place::{Place, Watch},
    rows::{self, Prepared},
    schema, set_back,
    space::{self, Space},
    trouble::{Changed, Trouble},
    wal,
    wall_clock::{self, Time, WallClock},
};
use crate::{
    event::{Epoch, Position, Sequence, TextKey},
    log::{erasure::Cleaned, metrics::Metrics},
};

/// What [`LogFile::probe`] writes: about as much as the largest event, with its body and encoding.
const PROBE_BYTES: i64 = 4 * 1024 * 1024;
/// How long anything but an append may wait for other users of the file, since all appends wait for
/// it.
const BRIEF_WAIT: Duration = Duration::from_millis(250);

/// How long an append may have to wait until the write-ahead log is empty.
const EMPTY_WAIT: Duration = Duration::from_millis(20);

/// An open file. As long as no error has occurred, `last` is what the file says.
pub(super) struct LogFile {
    conn: Connection,
    ids: Ids,
    /// What readers are told of `ids`.
    recent: Arc<Recent>,
    epoch: Epoch,
    watch: Watch,
    last: Position,
    /// The receive time that the next event has at least.
    floor: Option<Timestamp>,
    clock: WallClock,
    /// The newest event that a whole checkpoint has moved into the file.
    moved: Sequence,
    /// What the write-ahead log had after the last commit.
    now: Checkpoint,
    checkpoints: Checkpoints,
    /// Whether there was a change after the last sync.
    unsynced: bool,
    /// Whether the index of ids has to begin anew.
    ids_damaged: bool,
    /// Whether a change has taken the indexes on events out.
    indexes_suspected: bool,
    metrics: Metrics,
}

/// Makes everything that can be read durable, after a failed write or sync: see [`wal`]. Calls
/// `settled` when that is done, before the write-ahead log may begin anew.
pub(super) fn settle(
    conn: &Connection,
    place: &Place,
    settled: impl FnOnce(),
) -> Result<(), Trouble> {
    let before = connection::checkpoint(conn, "NOOP")?;
    // Nobody else may append meanwhile.
    let alone = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    let moved = wal::write_again(place.wal_file(), before.pages, before.moved)?;
    if !moved.is_empty() {
        moved.move_again(place.wal_file(), place.file()?)?;
    }
    place.sync_folder()?;
    alone.rollback()?;
    // If others have moved pages at the same time, the pages written again may be older than
    // theirs.
    if !moved.is_empty() {
        let now = connection::checkpoint(conn, "NOOP")?;
        if now.moved != before.moved || connection::checkpoint(conn, "PASSIVE")?.busy {
            return Err(Trouble::Busy);
        }
    }
    settled();
    // A new write-ahead log lies elsewhere on the disk, which may have lost more than pages.
    // Readers may prevent this. It is not needed.
    connection::checkpoint(conn, "TRUNCATE")?;
    // It must be durable that it is empty, before another file gets its place on the disk.
    Ok(place.wal_file().sync_all()?)
}

impl LogFile {
    /// Takes over a connection to a file of this schema version.
    pub(super) fn new(
        conn: Connection,
        place: Arc<Place>,
        recent: Arc<Recent>,
        metrics: Metrics,
    ) -> rusqlite::Result<Self> {
        connection::wipe(&conn, true)?;
        let epoch = schema::identity(&conn)?.epoch;
        let page_bytes = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let last = last(&conn, epoch)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        let floor = set_back::floor(&conn, last)?;
        Ok(Self {
            ids: Ids::open(&conn, opener(&place), recent.clone())?,
            recent,
            epoch,
            watch: Watch::new(place.clone(), epoch, page_bytes),
            last,
            floor,
            clock: WallClock::new(wall_clock::moment(), floor),
            moved: Sequence::ZERO,
            now: Checkpoint::default(),
            checkpoints: Checkpoints::new(place),
            unsynced: false,
            ids_damaged: false,
            indexes_suspected: false,
            metrics,
            conn,
        })
    }

    /// Opens the file again after an error. Makes sure that it is the same file, that all in it is
    /// durable and that it can be written, and reads anew where it ends. The old connection stays
    /// open until then: else the new one would recover what the error left in the write-ahead log,
    /// and readers could see that before it is durable.
    pub(super) fn renew(&mut self) -> Result<(), Trouble> {
        if !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        self.checkpoints.wait();
        self.check()?;
        let place = self.watch.place();
        let conn = connection::writer(place.log())?;
        connection::bound_wal(&conn, self.checkpoints.pages_max * PAGE_BYTES)?;
        place.check()?;
        conn.busy_timeout(BRIEF_WAIT)?;
        // Before anything is moved: if only the -shm is wrong, the write-ahead log still has
        // everything.
        let last = match last(&conn, self.epoch)? {
            Some(last) if last == self.last || last.sequence > self.last.sequence => last,
            _ => return Err(overwritten(place)),
        };
        settle(&conn, place, || self.checkpoints.stop())?;
        probe(&conn)?;
        let ids = Ids::open(&conn, opener(place), self.recent.clone())?;
        self.floor = set_back::floor(&conn, last)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        self.conn = conn;
        self.ids = ids;
        self.mend()?;
        self.last = last;
        Ok(())
    }

    /// Keeps the write-ahead log at about this size, unless somebody reads the log for long.
    pub(super) fn bound_wal(&mut self, bytes_max: u64) -> rusqlite::Result<()> {
        self.checkpoints.pages_max = bytes_max / PAGE_BYTES;
        connection::bound_wal(&self.conn, bytes_max)
    }

    /// Repairs a failed checkpoint: see [`settle`].
    pub(super) fn settle(&mut self) -> Result<(), Trouble> {
        self.watch.torn();
        self.checkpoints.wait();
        self.conn.busy_timeout(BRIEF_WAIT)?;
        let place = self.watch.place();
        let settled = settle(&self.conn, place, || self.checkpoints.stop());
        self.conn.busy_timeout(BUSY_TIMEOUT)?;
        settled
    }

    /// The newest durable event.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    /// The time of day, as far as it can be believed.
    pub(super) fn time(&mut self) -> Time {
        self.clock.look(wall_clock::moment())
    }

    /// Follows the machine's clock whatever the log says. If the newest event lies far in its
    /// future, receive times go back.
    pub(super) fn trust_clock(&mut self) -> rusqlite::Result<()> {
        let now = wall_clock::moment();
        self.floor = set_back::to_clock(&self.conn, self.last.sequence, self.floor, now.0)?;
        self.clock = WallClock::new(now, None);
        Ok(())
    }

    /// The newest event that is durable in the file alone.
    pub(super) fn moved(&self) -> Sequence {
        self.moved
    }

    /// Takes over what was known at an earlier start.
    pub(super) fn moved_before(&mut self, moved: Sequence) {
        self.moved = self.moved.max(moved);
    }

    /// Gives each event of a group the next place, and makes the whole group durable, or nothing of
    /// it.
    pub(super) fn commit(
        &mut self,
        group: impl IntoIterator<Item = Prepared>,
    ) -> Result<Committed, Trouble> {
        let time = self.time();
        self.write(|draft| {
            group.into_iter().try_for_each(|event| {
                // The clock may have been set right since the event came.
                let seen = event.event.receive_time.and_then(rows::time);
                let seen = seen.map(|seen| seen.min(time.sure));
                draft.insert(event, draft.last().sequence.next(), time.held.or(seen))
            })
        })
    }

    /// The same for events that have got their places and receive times elsewhere. Sequences may
    /// skip. A receive time before that of the event before it is raised to that.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for logs that are ordered elsewhere")
    )]
    pub(super) fn apply(
        &mut self,
        batch: impl IntoIterator<Item = (Prepared, Sequence, Timestamp)>,
    ) -> Result<Committed, Trouble> {
        self.write(|draft| {
            batch
                .into_iter()
                .try_for_each(|(event, sequence, time)| draft.insert(event, sequence, Some(time)))
        })
    }

    /// Makes durable what `fill` puts into a draft, in one transaction and with one sync.
    fn write(
        &mut self,
        fill: impl FnOnce(&mut Draft<'_>) -> Result<(), Trouble>,
    ) -> Result<Committed, Trouble> {
        self.mend()?;
        self.check()?;
        let mut draft = Draft::new(&self.conn, &mut self.ids, self.last, self.floor);
        fill(&mut draft)?;
        let last = draft.last();
        let drafted = draft.finish();
        self.store(&drafted.rows)?;
        let committed = drafted.committed();
        if !committed.events.is_empty() {
            self.synced();
        }
        self.ids.insert(committed.events.iter().map(|event| {
            let agent = &event.keys.texts[TextKey::AgentId];
            (event.id, event.sequence, agent.as_str())
        }));
        // If the file is no longer at its path, a restart does not find what was committed.
        self.check()?;
        self.last = last;
        if let Some(event) = committed.events.last() {
            self.floor = Some(event.receive_time);
        }
        Ok(committed)
    }

    /// Opens the file for reading, for a thread beside this one.
    pub(super) fn opener(&self) -> impl Fn() -> rusqlite::Result<Connection> + use<> {
        opener(self.watch.place())
    }

    /// Reads what the file says now.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Trouble> {
        Ok(read(&self.conn)?)
    }

    /// Changes rows besides appends, in a transaction of its own. It does not wait for others, and
    /// mostly not for the disk: the change becomes durable with the next group or the next change,
    /// so that no group has to sync much besides its own.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let changed = self.change_with_ids(|transaction, _| change(transaction));
        self.suspect_indexes(&changed)?;
        changed
    }

    /// The same. If it fails after `change` has used the ids, they must be opened again.
    fn change_with_ids<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>, &mut Ids) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        self.check()?;
        self.conn.busy_timeout(Duration::ZERO)?;
        // A power loss takes back only what lies behind the last synced commit, and a group's sync
        // covers all before it. So an unsynced change can be lost, but no append.
        let synced = self.unsynced;
        self.conn
            .pragma_update(None, "synchronous", if synced { "FULL" } else { "NORMAL" })?;
        let changed = self.changed(change);
        self.conn.pragma_update(None, "synchronous", "FULL")?;
        self.conn.busy_timeout(BUSY_TIMEOUT)?;
        if changed.is_ok() {
            self.unsynced = !synced;
        }
        changed
    }

    fn changed<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>, &mut Ids) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let transaction = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if last(&transaction, self.epoch)? != Some(self.last) {
            return Err(overwritten(self.watch.place()));
        }
        let changed = change(&transaction, &mut self.ids)?;
        transaction.commit()?;
        Ok(changed)
    }

    /// What the log takes on its disk.
    pub(super) fn space(&self) -> Result<Space, Trouble> {
        let wal = self.watch.place().wal_file().metadata()?;
        Ok(Space::of(&self.conn, wal.len())?)
    }

    /// What is left on that disk.
    pub(super) fn disk_free(&self) -> io::Result<u64> {
        let disk = fstatvfs(self.watch.place().wal_file())?;
        Ok(space::free_bytes(&disk))
    }

    /// Takes free pages from the file, until the step has had its time. Returns how many.
    pub(super) fn give_back(&mut self, pages: u64, until: Instant) -> Result<u64, Trouble> {
        self.change(|transaction| Ok(space::give_back(transaction, pages, until)?))
    }

    /// Cuts the file off behind the pages that it still has, with the next checkpoint, which comes
    /// soon.
    pub(super) fn cut_off(&mut self) {
        self.checkpoints.soon();
    }

    /// Fails if somebody has changed the files.
    pub(super) fn check(&mut self) -> Result<(), Trouble> {
        self.now = connection::checkpoint(&self.conn, "NOOP")?;
        let checked = self.watch.check(&self.now, self.checkpoints.is_moving());
        if let Err(Trouble::Changed(Changed::WalGone(_))) = checked {
            // It is still open, so its content can be moved into the log. The next start shows
            // whether that was all.
            let _ = self.briefly(|file| connection::checkpoint(&file.conn, "FULL"));
        }
        let is_whole = self.now.moved == self.now.pages && self.checkpoints.is_synced();
        if checked.is_ok() && is_whole {
            self.moved = self.moved.max(self.watch.moved());
        }
        checked
    }

    /// The same, and fails if the log does not end where it did.
    pub(super) fn look(&mut self) -> Result<(), Trouble> {
        self.check()?;
        match last(&self.conn, self.epoch)? {
            Some(last) if last == self.last => Ok(()),
            _ => Err(overwritten(self.watch.place())),
        }
    }

    /// Writes and syncs as much as a large event takes, and removes it again. Otherwise a disk that
    /// is nearly full would seem to work again after each event that it refused. Then makes anew
    /// what the index of ids has lost.
    pub(super) fn probe(&mut self) -> rusqlite::Result<()> {
        probe(&self.conn)?;
        self.mend()
    }

    /// Moves the write-ahead log into the file beside appends, if it has grown enough: see
    /// [`checkpoint`](super::checkpoint).
    pub(super) fn checkpoint(&mut self) -> Result<(), Trouble> {
        self.checkpoints.step(&self.conn, &self.now)
    }

    /// The same while no event waits, so it need not wait for the next one's sync.
    pub(super) fn checkpoint_idle(&mut self) -> Result<(), Trouble> {
        if self.checkpoints.waits() {
            self.watch.place().wal_file().sync_data()?;
            self.synced();
        }
        self.checkpoint()
    }

    /// All that is in the write-ahead log is durable.
    fn synced(&mut self) {
        self.unsynced = false;
        self.checkpoints.synced();
    }

    /// Tries once to move all of the write-ahead log into the file and to empty it. Others who read
    /// the log may prevent that.
    pub(super) fn empty_wal(&mut self) -> Result<Cleaned, Trouble> {
        self.check()?;
        if self.checkpoints.is_moving() {
            return Ok(Cleaned::Later);
        }
        self.checkpoints.stop();
        self.conn.busy_timeout(EMPTY_WAIT)?;
        let done = connection::checkpoint(&self.conn, "TRUNCATE");
        self.conn.busy_timeout(BUSY_TIMEOUT)?;
        if done?.busy {
            return Ok(Cleaned::Held);
        }
        self.watch.place().wal_file().sync_all()?;
        Ok(Cleaned::All)
    }

    /// Moves all of the write-ahead log into the file, if no reader is in the way, and closes it.
    /// Returns the newest event that the file has without the write-ahead log.
    pub(super) fn close(mut self) -> Result<Sequence, Trouble> {
        // SQLite would not sync again what a failed pass has moved.
        if !self.checkpoints.wait() {
            self.settle()?;
        }
        self.checkpoints.stop();
        self.check()?;
        self.conn.busy_timeout(BRIEF_WAIT)?;
        // Its threads read the file.
        drop(self.ids);
        let done = connection::checkpoint(&self.conn, "TRUNCATE")?;
        self.watch.place().wal_file().sync_all()?;
        connection::close(self.conn)?;
        Ok(match done.busy {
            true => self.moved,
            false => self.last.sequence,
        })
    }

    /// Does something while all appends wait. Gives up soon if others use the file.
    fn briefly<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.conn.busy_timeout(BRIEF_WAIT)?;
        let result = work(self);
        self.conn.busy_timeout(BUSY_TIMEOUT)?;
        result
    }
}

fn probe(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE log SET probe = zeroblob(?1)", [PROBE_BYTES])?;
    // These are zeroes already, and need not be written once more.
    connection::wipe(conn, false)?;
    conn.execute("UPDATE log SET probe = NULL", [])?;
    connection::wipe(conn, true)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// Opens the file for index work, if it is still the same.
fn opener(place: &Arc<Place>) -> impl Fn() -> rusqlite::Result<Connection> + use<> {
    let place = place.clone();
    move || {
        let gone = |_| rusqlite::Error::InvalidPath(place.log().to_owned());
        place.check_log().map_err(gone)?;
        let conn = connection::reader(place.log())?;
        place.check_log().map_err(gone)?;
        Ok(conn)
    }
}

fn overwritten(place: &Place) -> Trouble {
    Changed::Overwritten(place.log().to_owned()).into()
}

/// Where the log ends. None if it is not the one with this identity any more.
fn last(conn: &Connection, epoch: Epoch) -> rusqlite::Result<Option<Position>> {
    conn.prepare_cached(&format!("{} WHERE epoch = ?1", rows::LAST))?
        .query_row([epoch.0], rows::last)
        .optional()
}
