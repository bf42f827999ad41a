//! Chores: everything besides appends that changes rows. Each is done in small steps between
//! groups, on the thread that owns the connection that writes.
//!
//! Appends come first: a step runs when no offer waits. Under steady load a chore that is due gets
//! a step now and then all the same. A chore that fails never takes the log away for appends.

use std::time::{Duration, Instant};

use rusqlite::ErrorCode;

use super::{file::LogFile, trouble::Trouble};

/// How long a step may take, since an append may have to wait for it.
const STEP: Duration = Duration::from_millis(2);
/// How long a chore that is due lets appends go first.
const PATIENCE: Duration = Duration::from_millis(20);
/// When a chore is tried again that found the file locked, and one that failed.
const BUSY_INTERVAL: Duration = Duration::from_millis(200);
const FAILED_INTERVAL: Duration = Duration::from_secs(60);

/// Work on the rows that has time.
pub(super) trait Chore: Send {
    /// What it does, for log lines: "removing old events".
    fn name(&self) -> &'static str;

    /// Does a part of the work, best with [`LogFile::change`], and ends soon after `until`. What
    /// takes longer belongs on a thread with its own connection; the step only asks whether that
    /// is done.
    ///
    /// # Errors
    /// What could not be done. It is tried again after a while.
    fn step(&mut self, file: &mut LogFile, until: Instant) -> Result<Next, Trouble>;
}

/// When a chore wants its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is more to do now.
    Soon,
    /// There is more to do now, and appends must not get ahead of it.
    AtOnce,
    After(Duration),
    /// There will be no more to do.
    Never,
}

/// All chores, and when each is due.
pub(super) struct Chores(Vec<Entry>);

struct Entry {
    chore: Box<dyn Chore>,
    due: Instant,
    /// How long it lets appends go first, once it is due.
    patience: Duration,
    /// Why the last step failed.
    failure: Option<String>,
}

impl Chores {
    pub(super) fn new(chores: Vec<Box<dyn Chore>>) -> Self {
        let now = Instant::now();
        let entry = |chore| Entry {
            chore,
            due: now,
            patience: PATIENCE,
            failure: None,
        };
        Self(chores.into_iter().map(entry).collect())
    }

    /// When the first of them is due, if no offer waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.iter().map(|entry| entry.due).min()
    }

    /// Whether one of them must have a step now, even if offers wait.
    pub(super) fn are_overdue(&self, now: Instant) -> bool {
        self.0.iter().any(|entry| entry.due + entry.patience <= now)
    }

    /// Does a step of the chore that has been due the longest, if one is due.
    ///
    /// # Errors
    /// If the file has to be opened again: after a failed sync, nothing about it is certain.
    pub(super) fn step(&mut self, file: &mut LogFile) -> Result<(), Trouble> {
        let began = Instant::now();
        let first = self.0.iter_mut().enumerate();
        let first = first.min_by_key(|(_, entry)| entry.due);
        if let Some((place, entry)) = first
            && entry.due <= began
            && entry.step(file, began)?
        {
            self.0.swap_remove(place);
        }
        Ok(())
    }
}

impl Entry {
    /// Returns whether it was the last one.
    fn step(&mut self, file: &mut LogFile, began: Instant) -> Result<bool, Trouble> {
        let result = self.chore.step(file, began + STEP);
        let now = Instant::now();
        match result {
            Ok(next) => {
                self.failure = None;
                // After a step, appends have the thread for as long as the step took.
                self.due = match next {
                    Next::After(pause) => now + pause,
                    Next::Soon | Next::AtOnce | Next::Never => now + (now - began),
                };
                self.patience = match next {
                    Next::AtOnce => Duration::ZERO,
                    Next::Soon | Next::After(_) | Next::Never => PATIENCE,
                };
                Ok(next == Next::Never)
            }
            Err(error) if is_busy(&error) => {
                self.due = now + BUSY_INTERVAL;
                Ok(false)
            }
            Err(error) => {
                self.due = now + FAILED_INTERVAL;
                if !leaves_the_file_whole(&error) {
                    return Err(error);
                }
                let reason = error.to_string();
                if self.failure.as_ref() != Some(&reason) {
                    tracing::warn!(
                        %error,
                        "{} failed; the gateway tries again every {} s, and takes events \
                         meanwhile",
                        self.chore.name(),
                        FAILED_INTERVAL.as_secs()
                    );
                }
                self.failure = Some(reason);
                Ok(false)
            }
        }
    }
}

fn code(error: &Trouble) -> Option<ErrorCode> {
    match error {
        Trouble::Sqlite(error) => error.sqlite_error_code(),
        _ => None,
    }
}

pub(super) fn is_busy(error: &Trouble) -> bool {
    matches!(error, Trouble::Busy)
        || matches!(
            code(error),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        )
}

/// Whether appends can go on after this error. They cannot after one of the disk, or if somebody
/// has changed the files.
pub(super) fn leaves_the_file_whole(error: &Trouble) -> bool {
    match error {
        Trouble::Sqlite(_) => code(error) != Some(ErrorCode::SystemIoFailure),
        Trouble::Busy | Trouble::Damaged(_) | Trouble::OutOfOrder { .. } => true,
        Trouble::Io(_) | Trouble::Changed(_) => false,
    }
}

#[cfg(test)]
mod tests;
