//! What is known of the ids when a file is opened, and how it gets what it has lost.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{
    Ids, Live,
    batch::Batch,
    job::{self, End, Made},
    recent::{Recent, Unsorted},
    run::{self, Run},
    sizes::SIZES,
};
use crate::{
    event::Sequence,
    log::sqlite::{connection, fault::Fault},
};

/// A tail of so many batches is read into memory. Of a longer one runs are made first.
const BATCHES_MAX: u64 = 4;

impl Ids {
    /// Reads what the file has. Writes nothing.
    pub(crate) fn open(
        conn: &Connection,
        open: impl Fn() -> rusqlite::Result<Connection> + Send + Sync + 'static,
        recent: Arc<Recent>,
    ) -> rusqlite::Result<Self> {
        let ends = |row: &rusqlite::Row<'_>| Ok([0, 1, 2].map(|at| row.get(at)));
        let [trimmed, indexed, last] = conn
            .prepare_cached(
                "SELECT max(trimmed_sequence, base_sequence), indexed_sequence, last_sequence
                 FROM log",
            )?
            .query_row([], ends)?;
        let (trimmed, indexed, last) = (Sequence(trimmed?), Sequence(indexed?), Sequence(last?));
        let mut ids = Self {
            open: Arc::new(open),
            runs: Vec::new(),
            unsorted: Unsorted::new(recent, indexed.max(trimmed)),
            works: Vec::new(),
            damaged: BTreeSet::new(),
            dead: Default::default(),
            owed: 0,
            next_run: 1,
            old_lists_after: Some(indexed),
            rest: 0,
            repeated: 0,
            lost: Vec::new(),
            broken: false,
        };
        ids.read_runs(conn).map_err(Fault::into_sqlite)?;
        ids.find_lost(trimmed);
        if ids.is_long(last) {
            ids.lost.push((ids.unsorted.indexed().next(), last));
        } else {
            ids.read_tail(conn, last)?;
        }
        Ok(ids)
    }

    fn read_runs(&mut self, conn: &Connection) -> Result<(), Fault> {
        let runs = match Run::all(conn) {
            Err(Fault::Damaged) => {
                self.broken = true;
                Vec::new()
            }
            runs => runs?,
        };
        for run in runs {
            match run.filter(conn) {
                Ok(filter) => self.runs.push(Live { run, filter }),
                Err(Fault::Damaged) => {}
                Err(error) => return Err(error),
            }
        }
        let with_parts = match run::with_parts(conn) {
            Err(Fault::Damaged) => {
                self.broken = true;
                Vec::new()
            }
            numbers => numbers?,
        };
        let lives = |number: &u64| self.runs.iter().any(|live| live.run.number == *number);
        self.dead = with_parts.iter().copied().filter(|n| !lives(n)).collect();
        let live = self.runs.iter().map(|live| live.run.number);
        self.next_run = live.chain(with_parts).max().unwrap_or(0) + 1;
        Ok(())
    }

    /// Runs lie side by side. What is between them has been lost.
    fn find_lost(&mut self, trimmed: Sequence) {
        let mut covered = trimmed;
        for Live { run, .. } in &self.runs {
            if run.first > covered.next() {
                let last = Sequence(run.first.0 - 1);
                self.lost.push((covered.next(), last));
            }
            covered = covered.max(run.last);
        }
        let indexed = self.unsorted.indexed();
        if covered < indexed {
            self.lost.push((covered.next(), indexed));
        }
    }

    fn is_long(&self, last: Sequence) -> bool {
        last.0.saturating_sub(self.unsorted.indexed().0) > BATCHES_MAX * SIZES.batch as u64
    }

    fn read_tail(&mut self, conn: &Connection, last: Sequence) -> rusqlite::Result<()> {
        let first = self.unsorted.indexed().next();
        if first <= last {
            self.unsorted.fill(Batch::read(conn, first, last)?);
        }
        Ok(())
    }

    /// Makes runs of all that has been lost, from the rows of `events`. What one transaction has
    /// done stays done.
    pub(crate) fn mend(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let (batch, fan) = (SIZES.batch as u64, SIZES.fan as u64);
        while let Some((first, last)) = self.lost.pop() {
            // Many places have no event behind a loss. They go with the next that has one.
            let begins = match first_row(conn, first, last) {
                Ok(Some(found)) => found,
                Ok(None) => last,
                Err(_) => first,
            };
            let chunk = last.min(Sequence(begins.0 + batch * fan - 1));
            let is_tail = first > self.unsorted.indexed();
            if is_tail && last.0 - first.0 < batch {
                self.read_tail(conn, last)?;
                continue;
            }
            tracing::info!(
                from = first.0,
                through = last.0,
                "an index of these events is made"
            );
            self.mend_chunk(conn, first, chunk)?;
            // Else the write-ahead log of a long upgrade takes as much space as the index.
            connection::checkpoint(conn, "PASSIVE")?;
            if chunk < last {
                self.lost.push((chunk.next(), last));
            }
        }
        Ok(())
    }

    fn mend_chunk(
        &mut self,
        conn: &Connection,
        first: Sequence,
        last: Sequence,
    ) -> rusqlite::Result<()> {
        let run = self.new_run(1.min(SIZES.last_tier), first, last);
        self.next_run += 1;
        let is_tail = first > self.unsorted.indexed();
        // Before the transaction: in one that has met damage SQLite writes nothing.
        let from = match is_tail {
            true => job::From::Batch {
                batch: Batch::read(conn, first, last)?.into(),
                forget_lists_after: self.old_lists_after,
            },
            false => job::From::Rows(run),
        };
        let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
        let made = job::make(&self.open, &from, run, &mut |row| Ok(row.write(conn)?));
        let Made { run, filter, .. } = made.map_err(|end| match end {
            End::Failed(error) => error,
            End::Damaged(_) | End::Unwanted => Fault::Damaged.into_sqlite(),
        })?;
        run.insert(conn)?;
        if is_tail {
            conn.execute("UPDATE log SET indexed_sequence = ?1", [last.0])?;
        }
        transaction.commit()?;
        if is_tail {
            self.unsorted.sorted(last);
            self.old_lists_after = None;
        }
        self.adopt(Live { run, filter });
        Ok(())
    }
}

/// The key of the first event in a stretch. It is not checked.
fn first_row(
    conn: &Connection,
    first: Sequence,
    last: Sequence,
) -> rusqlite::Result<Option<Sequence>> {
    conn.prepare_cached("SELECT min(sequence) FROM events WHERE sequence BETWEEN ?1 AND ?2")?
        .query_row([first.0, last.0], |row| {
            Ok(row.get::<_, Option<u64>>(0)?.map(Sequence))
        })
}
