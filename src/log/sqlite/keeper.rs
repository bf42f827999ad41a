//! Keeps the mark: a thread that notes how far the log is durable. Nobody waits for it.

use std::{
    io,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use jiff::Timestamp;

use super::mark::{Mark, MarkFile};
use crate::{
    event::{Epoch, Position, Sequence},
    log::metrics::Metrics,
};

/// How late the mark may be. Under load it is written this often.
const INTERVAL: Duration = Duration::from_secs(1);

/// The thread. Dropping it writes the mark once more and waits for that.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What is to be written: the newest event, and the newest one in the log alone.
    due: Option<(Position, Sequence)>,
    /// Whether the thread waits for something to write.
    idle: bool,
    closed: bool,
}

impl Keeper {
    /// Starts the thread. If the file cannot be opened, the log has no mark, and a warning says so.
    pub(super) fn start(path: &Path, epoch: Epoch, metrics: Metrics) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let file = MarkFile::open(path)
            .inspect_err(|error| tell(error, &metrics))
            .ok();
        let thread = match file {
            None => None,
            Some(file) => {
                let shared = shared.clone();
                let thread = thread::Builder::new().name("log-mark".into());
                Some(thread.spawn(move || shared.run(file, epoch, &metrics))?)
            }
        };
        Ok(Self { shared, thread })
    }

    /// Notes where the durable log ends.
    pub(super) fn note(&self, last: Position, moved: Sequence) {
        let mut state = self.shared.lock();
        state.due = Some((last, moved));
        if state.idle {
            state.idle = false;
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, mut file: MarkFile, epoch: Epoch, metrics: &Metrics) {
        let mut written = None;
        let mut failed = false;
        loop {
            let (due, closed) = self.next();
            if let Some((last, moved)) = due.filter(|due| failed || written != Some(*due)) {
                let mark = Mark {
                    epoch,
                    last,
                    moved,
                    written: Timestamp::now(),
                };
                match file.write(&mark) {
                    Ok(()) => {
                        written = Some((last, moved));
                        failed = false;
                    }
                    Err(error) if failed => {
                        tracing::debug!(%error, "events.mark cannot be written");
                        metrics.mark_failed();
                    }
                    Err(error) => {
                        tell(&error, metrics);
                        failed = true;
                    }
                }
            }
            if closed {
                return;
            }
            self.pause();
        }
    }

    /// Waits for something to write, or for the end.
    fn next(&self) -> (Option<(Position, Sequence)>, bool) {
        let mut state = self.lock();
        while state.due.is_none() && !state.closed {
            state.idle = true;
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        (state.due.take(), state.closed)
    }

    /// Lets more come together.
    fn pause(&self) {
        let state = self.lock();
        let _ = self
            .changed
            .wait_timeout_while(state, INTERVAL, |state| !state.closed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(error: &io::Error, metrics: &Metrics) {
    metrics.mark_failed();
    tracing::warn!(
        %error,
        "events.mark cannot be written; events are stored all the same, but a later start may not \
         notice that some are missing"
    );
}
