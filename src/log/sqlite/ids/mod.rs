//! Which ids the log has, exactly, without an index of random keys.
//!
//! Ids are random, so an index on them writes about one page for each event. Here they are written
//! in large sorted pieces instead, each once:
//!
//! ```text
//!  1 ── run (tier 1) ── run (tier 0) ── run (tier 0) ── indexed ── batch ── batch ── last
//!       sorted entries in parts, a filter in memory       │     in memory, with full ids
//! ```
//!
//! - **A run** has the ids of a stretch of the log: 8 bytes of each, and its sequence, sorted. Runs
//!   lie side by side up to `indexed_sequence`. Eight of a tier are merged into one of the next.
//! - **A batch** has the ids behind that. It is read back when the file is opened.
//! - **Look-ups are exact.** Filter, run and batch only say where to look. The event's row decides:
//!   a row that was removed, or lies before what retention has trimmed, is not there. So an entry
//!   may outlive its event.
//! - **Work.** A full batch, or eight runs, go to a thread that sorts them. Its rows are written in
//!   the transactions of later groups, some for each event, so that no group waits for them. The
//!   same job writes the lists of `agent_places`. The transaction with the last of its rows also
//!   makes the run count. While no events come, a chore goes on with the work.
//! - **Retention** leaves entries behind. A run goes with its parts once all its events are gone. A
//!   chore sweeps the lists each time that a twentieth of the log has been removed.
//! - **Readers** share the batches, and look up ids and agents there before they read the file.
//! - **Damage** in this index is found by checksums, and made good from the rows of `events`.

mod batch;
mod entry;
mod filter;
mod job;
mod look_up;
mod open;
mod recent;
mod run;
mod sizes;
mod sweep;
#[cfg(test)]
mod tests;
mod twins;
mod upkeep;
pub(super) mod verify;
mod work;

use std::collections::{BTreeSet, VecDeque};

use rusqlite::Connection;

use self::{entry::Key, filter::Filter, job::Open, recent::Unsorted, run::Run, work::Work};
use super::{fault::Fault, schema_edit};
use crate::event::{EventId, Sequence};

pub(super) use self::{
    batch::{UNKNOWN, listed},
    look_up::place_of,
    recent::{Known, Recent},
    sweep::sweep,
    work::IndexWork,
};

/// What the file has of it, beside `log.indexed_sequence`.
pub(super) const TABLES: &str = "
    CREATE TABLE id_runs (
        run            INTEGER PRIMARY KEY,
        tier           INTEGER NOT NULL,
        entries        INTEGER NOT NULL,
        first_sequence INTEGER NOT NULL,
        last_sequence  INTEGER NOT NULL,
        checksum       INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE id_parts (
        place   INTEGER PRIMARY KEY,
        content BLOB NOT NULL
    ) STRICT;
    CREATE TABLE agent_places (
        agent_id  TEXT NOT NULL,
        first     INTEGER NOT NULL,
        -- A JSON array.
        sequences TEXT NOT NULL,
        checksum  INTEGER NOT NULL,
        PRIMARY KEY (agent_id, first)
    ) STRICT, WITHOUT ROWID;
";

/// The ids of a log. Where a method fails, it must be opened again.
pub(super) struct Ids {
    open: Open,
    /// The oldest first.
    runs: Vec<Live>,
    /// The events behind those that are in runs.
    unsorted: Unsorted,
    /// At most one for each lane.
    works: Vec<Work>,
    /// Runs whose parts are not all as they were written.
    damaged: BTreeSet<u64>,
    /// Runs that count no more, and still have parts.
    dead: VecDeque<u64>,
    /// Events for which no parts were removed yet.
    owed: usize,
    /// The number of the next new run.
    next_run: u64,
    /// Lists that begin behind this place were left by work that did not end.
    old_lists_after: Option<Sequence>,
    /// Events to wait for until failed work is tried again.
    rest: usize,
    /// Events that merges have met whose id an event before them has.
    repeated: u64,
    /// Stretches of which runs have to be made before ids are looked up.
    lost: Vec<(Sequence, Sequence)>,
    /// The pages of a table are damaged.
    broken: bool,
}

/// A run that counts.
struct Live {
    run: Run,
    filter: Filter,
}

impl Ids {
    /// The place of the event with this id, if the log has it.
    pub(super) fn find(
        &mut self,
        conn: &Connection,
        id: EventId,
    ) -> rusqlite::Result<Option<Sequence>> {
        for place in self.unsorted.places(id) {
            if look_up::is_at(conn, id, place)? {
                return Ok(Some(place));
            }
        }
        let key = Key::of(id);
        for live in self.runs.iter().rev() {
            if !live.filter.may_have(key) {
                continue;
            }
            match look_up::in_run(conn, &live.run, id) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(Fault::Sqlite(error)) => return Err(error),
                Err(Fault::Damaged) => {
                    if self.damaged.insert(live.run.number) {
                        tracing::warn!(run = live.run.number, "a run of ids is damaged");
                    }
                    let found = look_up::in_rows(conn, live.run.first, live.run.last, id)?;
                    if found.is_some() {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(None)
    }

    /// How many events were met since the last call whose id an event before them has.
    pub(super) fn take_repeated(&mut self) -> u64 {
        std::mem::take(&mut self.repeated)
    }

    /// Whether its tables can only be made anew.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Takes events that have become durable, in their order.
    pub(super) fn insert<'e>(
        &mut self,
        events: impl IntoIterator<Item = (EventId, Sequence, &'e str)>,
    ) {
        self.unsorted.insert(events);
    }
}

/// Makes the tables anew, in the transaction at hand: they are damaged, and to remove them SQLite
/// would have to read them.
pub(super) fn begin_anew(conn: &Connection) -> rusqlite::Result<()> {
    schema_edit::edit(conn, |conn| {
        conn.execute(
            "DELETE FROM sqlite_schema WHERE name IN ('id_runs', 'id_parts', 'agent_places')",
            [],
        )
    })?;
    conn.execute_batch(TABLES)?;
    conn.execute(
        "UPDATE log SET indexed_sequence = max(base_sequence, trimmed_sequence)",
        [],
    )?;
    Ok(())
}
