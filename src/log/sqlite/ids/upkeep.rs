//! The upkeep of the runs, which goes along with appends.

use std::time::Instant;

use rusqlite::Connection;

use super::{
    Ids, Live,
    job::{From, Job, Made, Output},
    run::{self, Run},
    sizes::SIZES,
    work::{Lane, Work},
};
use crate::{event::Sequence, log::sqlite::fault};

/// New events for each part that is removed. Each event makes about a 150th of a part.
const EVENTS_A_GRAVE: usize = 64;

/// As if so many events came, work goes on between two looks at the clock.
const EVENTS_AT_ONCE: usize = 256;

impl Ids {
    /// Writes what goes with this many new events, in their transaction.
    pub(crate) fn work(&mut self, conn: &Connection, events: usize) -> rusqlite::Result<()> {
        self.rest = self.rest.saturating_sub(events);
        if self.rest == 0 {
            self.begin();
        }
        // If it falls behind, because its thread got no time, it catches up.
        let pace = match self.unsorted.is_full(SIZES.batch) {
            true => 4 * events,
            false => events,
        };
        for at in (0..self.works.len()).rev() {
            if let Some(end) = self.works[at].write(conn, pace)? {
                let work = self.works.swap_remove(at);
                self.end(conn, work, end)?;
            }
        }
        self.bury(conn, events)
    }

    /// Whether nothing is left to do until more events come.
    pub(crate) fn is_idle(&self) -> bool {
        self.works.is_empty()
            && self.unsorted.frozen().is_none()
            && !self.unsorted.is_full(SIZES.batch)
            && self.dead.is_empty()
            && self.damaged.is_empty()
            && (0..SIZES.last_tier).all(|tier| self.to_merge(tier).is_none())
    }

    /// Whether work has failed. If so, it is begun again the next time, and not after more events.
    pub(crate) fn begins_again(&mut self) -> bool {
        std::mem::take(&mut self.rest) > 0
    }

    /// Works as if events came, until the time is over or its threads have to hand over more.
    pub(crate) fn go_on(&mut self, conn: &Connection, until: Instant) -> rusqlite::Result<()> {
        loop {
            self.work(conn, EVENTS_AT_ONCE)?;
            let is_waiting = self.dead.is_empty() && !self.works.iter().any(Work::has_rows);
            if is_waiting || Instant::now() >= until {
                return Ok(());
            }
        }
    }

    /// Starts what is due.
    fn begin(&mut self) {
        self.unsorted.freeze(SIZES.batch);
        if let Some(batch) = self.unsorted.frozen() {
            let run = self.new_run(0, self.unsorted.indexed().next(), batch.last);
            let from = From::Batch {
                batch: batch.clone(),
                forget_lists_after: self.old_lists_after,
            };
            self.start(Lane::Batch, from, run);
        }
        for tier in 0..SIZES.last_tier {
            if let Some(runs) = self.to_merge(tier)
                && let [first, .., last] = &runs[..]
            {
                let run = self.new_run(tier + 1, first.first, last.last);
                self.start(Lane::Merge(tier), From::Runs(runs), run);
            }
        }
        let is_damaged = |live: &&Live| {
            let number = live.run.number;
            self.damaged.contains(&number) && !self.works.iter().any(|work| work.has(number))
        };
        if let Some(Live { run, .. }) = self.runs.iter().find(is_damaged) {
            let most = SIZES.batch * SIZES.fan.pow(SIZES.last_tier.min(3) - 1);
            // A run of the last tier is made in pieces that fit in memory.
            let (tier, last) = match run.tier == SIZES.last_tier {
                true => (
                    run.tier - 1,
                    run.last.min(Sequence(run.first.0 + most as u64 - 1)),
                ),
                false => (run.tier, run.last),
            };
            let made = self.new_run(tier, run.first, last);
            self.start(Lane::Mend, From::Rows(*run), made);
        }
    }

    pub(super) fn new_run(&self, tier: u32, first: Sequence, last: Sequence) -> Run {
        Run {
            number: self.next_run,
            tier,
            entries: 0,
            first,
            last,
        }
    }

    /// Starts work, unless its lane has some.
    fn start(&mut self, lane: Lane, from: From, run: Run) {
        if self.works.iter().any(|work| work.lane == lane) {
            return;
        }
        self.next_run += 1;
        match Job::start(self.open.clone(), from.clone(), run) {
            Ok(job) => self.works.push(Work::new(lane, from, run, job)),
            Err(error) => self.failed(&error),
        }
    }

    /// The oldest runs of a tier that lie side by side, once there are enough.
    fn to_merge(&self, tier: u32) -> Option<Vec<Run>> {
        let fits = |live: &Live| {
            live.run.tier == tier
                && !self.damaged.contains(&live.run.number)
                && !self.works.iter().any(|work| work.has(live.run.number))
        };
        let mut windows = self.runs.windows(SIZES.fan);
        let window = windows.find(|window| window.iter().all(fits))?;
        Some(window.iter().map(|live| live.run).collect())
    }

    fn end(&mut self, conn: &Connection, work: Work, end: Output) -> rusqlite::Result<()> {
        match end {
            Output::Made(made) => self.made(conn, work.from, made),
            Output::Damaged(run) => {
                self.damaged.insert(run.number);
                self.dead.push_back(work.number);
                Ok(())
            }
            Output::Failed(error) if fault::is_damage(&error) => Err(error),
            Output::Failed(error) => {
                self.failed(&error);
                self.dead.push_back(work.number);
                Ok(())
            }
            // It is not an end.
            Output::Slab { .. } => Ok(()),
        }
    }

    fn failed(&mut self, error: &dyn std::error::Error) {
        tracing::warn!(%error, "work on the index of ids failed; it is tried again later");
        self.rest = SIZES.batch / 4;
    }

    /// From here on the new run counts, and those that it replaces do not.
    fn made(&mut self, conn: &Connection, from: From, made: Made) -> rusqlite::Result<()> {
        let Made { run, filter, .. } = made;
        self.repeated += made.repeated;
        run.insert(conn)?;
        self.adopt(Live { run, filter });
        match from {
            From::Batch { .. } => {
                conn.prepare_cached("UPDATE log SET indexed_sequence = ?1")?
                    .execute([run.last.0])?;
                self.unsorted.sorted(run.last);
                self.old_lists_after = None;
                self.forget_trimmed(conn)
            }
            From::Runs(runs) => {
                let mut runs = runs.into_iter();
                runs.try_for_each(|input| self.forget(conn, input.number))
            }
            From::Rows(input) if input.last <= run.last => self.forget(conn, input.number),
            From::Rows(input) => {
                let rest = Run {
                    first: run.last.next(),
                    ..input
                };
                let mut runs = self.runs.iter_mut();
                if let Some(live) = runs.find(|live| live.run.number == input.number) {
                    live.run = rest;
                }
                rest.insert(conn)
            }
        }
    }

    /// Puts a run in its place in the log.
    pub(super) fn adopt(&mut self, live: Live) {
        let is_before = |other: &Live| other.run.first < live.run.first;
        let at = self.runs.partition_point(is_before);
        self.runs.insert(at, live);
    }

    /// Forgets runs whose events retention has removed.
    fn forget_trimmed(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let trimmed: u64 = conn
            .prepare_cached("SELECT trimmed_sequence FROM log")?
            .query_row([], |row| row.get(0))?;
        while let Some(Live { run, .. }) = self.runs.first()
            && run.last.0 <= trimmed
            && !self.works.iter().any(|work| work.has(run.number))
        {
            self.forget(conn, run.number)?;
        }
        Ok(())
    }

    fn forget(&mut self, conn: &Connection, number: u64) -> rusqlite::Result<()> {
        Run::remove(number, conn)?;
        self.runs.retain(|live| live.run.number != number);
        self.damaged.remove(&number);
        self.dead.push_back(number);
        Ok(())
    }

    /// Removes parts that nobody looks into any more.
    fn bury(&mut self, conn: &Connection, events: usize) -> rusqlite::Result<()> {
        let Some(run) = self.dead.front() else {
            self.owed = 0;
            return Ok(());
        };
        self.owed += events;
        let most = (self.owed / EVENTS_A_GRAVE) as u64;
        if most > 0 {
            self.owed %= EVENTS_A_GRAVE;
            if run::remove_parts(conn, *run, most)? < most {
                self.dead.pop_front();
            }
        }
        Ok(())
    }
}
