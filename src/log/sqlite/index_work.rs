//! Chores that look after the index of ids and agents while no events come, and behind retention.

use std::time::{Duration, Instant};

use super::{
    chores::{Chore, Next},
    file::LogFile,
    ids::{self, IndexWork},
    trouble::Trouble,
};
use crate::event::Sequence;

/// How often it looks whether there is something to do.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// When work goes on of which the thread has not handed over more.
const PAUSE: Duration = Duration::from_millis(10);
/// When work that failed is tried again.
const FAILED_INTERVAL: Duration = Duration::from_secs(60);
/// Lists are swept when this share of the log has been removed since the last time.
const SWEEP_SHARE: u64 = 20;

/// Index work goes along with appends. If none come, it goes on here.
#[derive(Default)]
pub(super) struct IdleWork {
    /// The newest event at the last step.
    seen: Sequence,
}

impl Chore for IdleWork {
    fn name(&self) -> &'static str {
        "work on the index of ids"
    }

    fn step(&mut self, file: &mut LogFile, until: Instant) -> Result<Next, Trouble> {
        let seen = std::mem::replace(&mut self.seen, file.last().sequence);
        if seen != self.seen {
            return Ok(Next::After(LOOK_INTERVAL));
        }
        Ok(Next::After(match file.work_on_index(until)? {
            IndexWork::Done => LOOK_INTERVAL,
            IndexWork::GoesOn => PAUSE,
            IndexWork::Failed => FAILED_INTERVAL,
        }))
    }
}

/// Removes lists of events that retention has removed.
#[derive(Default)]
pub(super) struct Sweep {
    /// The events up to here are in no list any more.
    swept: Sequence,
    running: Option<Running>,
}

struct Running {
    trimmed: Sequence,
    /// The agent with which it goes on.
    from: String,
}

impl Chore for Sweep {
    fn name(&self) -> &'static str {
        "removing lists of old events"
    }

    fn step(&mut self, file: &mut LogFile, until: Instant) -> Result<Next, Trouble> {
        if self.running.is_none() {
            let trimmed = file.read(|conn| {
                conn.prepare_cached("SELECT trimmed_sequence FROM log")?
                    .query_row([], |row| row.get(0).map(Sequence))
            })?;
            let left = file.last().sequence.0.saturating_sub(trimmed.0);
            if trimmed.0.saturating_sub(self.swept.0) <= left / SWEEP_SHARE {
                return Ok(Next::After(LOOK_INTERVAL));
            }
            self.running = Some(Running {
                trimmed,
                from: String::new(),
            });
        }
        let Some(Running { trimmed, from }) = &mut self.running else {
            return Ok(Next::After(LOOK_INTERVAL));
        };
        match file.change(|conn| Ok(ids::sweep(conn, from, *trimmed, until)?))? {
            Some(next) => {
                *from = next;
                Ok(Next::Soon)
            }
            None => {
                self.swept = *trimmed;
                self.running = None;
                Ok(Next::After(LOOK_INTERVAL))
            }
        }
    }
}
