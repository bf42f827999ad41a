//! Erases events: finds them with the log's readers, and has the writer erase what is personal.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time,
};

use super::{
    erasure::{Cleaned, Job, Target},
    error::ReadError,
    sqlite::Reader,
};
use crate::event::Sequence;

/// The most jobs that wait. More callers wait for a place.
const JOBS_MAX: usize = 16;
/// How often to try to empty the write-ahead log.
const CLEAN_INTERVAL: Duration = Duration::from_millis(250);
/// After so many tries somebody reads the log for long. The gateway's own reads are short.
const HELD_MIN: u32 = 4;

/// Erases events. Clones share the writer.
#[derive(Clone, Debug)]
pub struct Eraser {
    reader: Reader,
    jobs: mpsc::Sender<Job>,
}

/// Makes the handle, and the writer's end.
pub(super) fn eraser(reader: Reader) -> (Eraser, mpsc::Receiver<Job>) {
    let (jobs, receiver) = mpsc::channel(JOBS_MAX);
    (Eraser { reader, jobs }, receiver)
}

/// Why not everything was erased. What was erased stays so, and the rest needs another try.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum EraseError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the log could not erase all: {0}")]
    Write(String),
}

/// How far an erasure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Erased {
    /// Events that were erased, or found if nothing is to be erased.
    pub events: u64,
    /// Events that cannot be read. They are not erased.
    pub damaged: u64,
    /// Everything up to here was looked at.
    pub examined: Sequence,
    /// The last event to look at.
    pub through: Sequence,
    pub stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It finds and erases events.
    Erasing,
    /// The events are erased. What they held goes from the files beside the log.
    Cleaning,
    /// That waits for somebody who reads the log.
    Held,
    /// No file of the log holds what the events held.
    Done,
}

/// An erasure that is under way.
pub(crate) struct Erasing {
    eraser: Eraser,
    target: Target,
    dry_run: bool,
    state: Erased,
    /// How often somebody who reads the log has kept the write-ahead log from being emptied.
    held: u32,
}

impl Eraser {
    /// One that can only count events, with `dry_run`.
    pub(crate) fn that_counts(reader: Reader) -> Self {
        eraser(reader).0
    }

    /// Begins to erase all events that are in the log now and match. With `dry_run` it only counts
    /// them.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(crate) async fn erase(&self, target: Target, dry_run: bool) -> Result<Erasing, EraseError> {
        let (after, through) = match target {
            Target::Sequence(sequence) => (Sequence(sequence.0.saturating_sub(1)), sequence),
            _ => (Sequence::ZERO, self.reader.bounds().await?.latest.sequence),
        };
        Ok(Erasing {
            eraser: self.clone(),
            target,
            dry_run,
            held: 0,
            state: Erased {
                events: 0,
                damaged: 0,
                examined: after,
                through,
                stage: Stage::Erasing,
            },
        })
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Job,
    ) -> Result<T, EraseError> {
        let (answer, answered) = oneshot::channel();
        let closed = || EraseError::Write("the log is closed".into());
        self.jobs.send(job(answer)).await.map_err(|_| closed())?;
        answered
            .await
            .map_err(|_| closed())?
            .map_err(EraseError::Write)
    }
}

impl Erasing {
    /// Does the next part of the work, and says how far it is. None once it has said
    /// [`Stage::Done`].
    ///
    /// # Errors
    /// If the log cannot be read or written.
    pub(crate) async fn next(&mut self) -> Result<Option<Erased>, EraseError> {
        match self.state.stage {
            Stage::Erasing if self.state.examined < self.state.through => self.batch().await?,
            Stage::Erasing if self.dry_run => self.state.stage = Stage::Done,
            Stage::Erasing => self.state.stage = Stage::Cleaning,
            Stage::Cleaning | Stage::Held => self.clean().await?,
            Stage::Done => return Ok(None),
        }
        Ok(Some(self.state))
    }

    async fn batch(&mut self) -> Result<(), EraseError> {
        let Erased {
            examined, through, ..
        } = self.state;
        let reader = &self.eraser.reader;
        let found = reader
            .erasable(self.target.clone(), examined, through)
            .await?;
        self.state.damaged += found.damaged;
        let rows = found.sequences;
        self.state.events += match (self.dry_run, rows.is_empty()) {
            (true, _) | (_, true) => rows.len() as u64,
            (false, false) => {
                let target = self.target.clone();
                let job = |answer| Job::Rows {
                    target,
                    rows,
                    answer,
                };
                self.eraser.ask(job).await?
            }
        };
        self.state.examined = found.covered;
        Ok(())
    }

    async fn clean(&mut self) -> Result<(), EraseError> {
        let cleaned = self.eraser.ask(|answer| Job::Clean { answer }).await?;
        self.held = match cleaned {
            Cleaned::Held => self.held + 1,
            Cleaned::All | Cleaned::Later => 0,
        };
        self.state.stage = match cleaned {
            Cleaned::All => Stage::Done,
            Cleaned::Held if self.held >= HELD_MIN => Stage::Held,
            Cleaned::Held | Cleaned::Later => Stage::Cleaning,
        };
        if cleaned != Cleaned::All {
            time::sleep(CLEAN_INTERVAL).await;
        }
        Ok(())
    }
}
