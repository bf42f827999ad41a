//! Work on a run that is being done: a thread makes its rows, and they are written bit by bit.

use std::collections::VecDeque;

use rusqlite::Connection;

use super::{
    job::{From, Job, Output, Row},
    run::Run,
};

/// Bytes that a merge writes for each new event: those of an entry and of its filter, and a third
/// more, so that it ends before the next one is due.
const MERGE_BYTES: usize = 21;
/// The same for a damaged run.
const MEND_BYTES: usize = 64;
/// Work that is not done at the same time as other work of its lane. So a large merge does not hold
/// up a small one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Batch,
    /// Of runs of this tier.
    Merge(u32),
    Mend,
}

/// How far all work has come.
pub(crate) enum IndexWork {
    Done,
    GoesOn,
    /// Some was given up, and may be begun again.
    Failed,
}

pub(super) struct Work {
    pub(super) lane: Lane,
    pub(super) from: From,
    /// The number of the new run.
    pub(super) number: u64,
    job: Job,
    rows: VecDeque<Row>,
    /// Bytes to write for each new event.
    rate: usize,
    /// Bytes that may be written now. Less than none after a large row.
    credit: i64,
}

impl Work {
    pub(super) fn new(lane: Lane, from: From, run: Run, job: Job) -> Self {
        Self {
            lane,
            from,
            number: run.number,
            job,
            rows: VecDeque::new(),
            rate: match lane {
                Lane::Batch => 0,
                Lane::Merge(_) => MERGE_BYTES,
                Lane::Mend => MEND_BYTES,
            },
            credit: 0,
        }
    }

    /// Writes as much as goes with this many events. Returns the job's end.
    pub(super) fn write(
        &mut self,
        conn: &Connection,
        events: usize,
    ) -> rusqlite::Result<Option<Output>> {
        self.credit += (events * self.rate) as i64;
        loop {
            while self.credit > 0
                && let Some(row) = self.rows.pop_front()
            {
                row.write(conn)?;
                self.credit -= row.bytes() as i64;
            }
            if !self.rows.is_empty() {
                return Ok(None);
            }
            match self.job.next() {
                Some(Output::Slab { rows, bytes }) => {
                    self.rows = rows.into();
                    if let From::Batch { batch, .. } = &self.from {
                        self.rate = bytes * 4 / 3 / batch.len().max(1) + 1;
                    }
                }
                None => {
                    self.credit = self.credit.min(0);
                    return Ok(None);
                }
                end => return Ok(end),
            }
        }
    }

    /// Whether it can write more before its thread hands over more.
    pub(super) fn has_rows(&self) -> bool {
        !self.rows.is_empty()
    }

    pub(super) fn has(&self, run: u64) -> bool {
        match &self.from {
            From::Batch { .. } => false,
            From::Runs(runs) => runs.iter().any(|input| input.number == run),
            From::Rows(input) => input.number == run,
        }
    }
}
