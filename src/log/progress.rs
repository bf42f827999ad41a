//! How far a long piece of work is, and whether it should stop.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Written by the thread that works, and read by others. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<State>);

#[derive(Debug, Default)]
struct State {
    // A std mutex: held to read or replace it.
    step: Mutex<&'static str>,
    done: AtomicU64,
    total: AtomicU64,
    stopped: AtomicBool,
}

/// The work was told to stop.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Stopped;

impl Progress {
    /// Begins a step of the work, with what it does and how much that is, in any unit.
    pub(crate) fn begin(&self, step: &'static str, total: u64) {
        *self.0.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
        self.0.done.store(0, Ordering::Relaxed);
        self.0.total.store(total, Ordering::Relaxed);
    }

    /// Says how much of the step is done. Fails if the work should stop.
    pub(crate) fn reached(&self, done: u64) -> Result<(), Stopped> {
        self.0.done.store(done, Ordering::Relaxed);
        match self.is_stopped() {
            true => Err(Stopped),
            false => Ok(()),
        }
    }

    /// Whether the work should stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::Relaxed)
    }

    /// What is being done, how much of it is done, and how much there is to do.
    pub(crate) fn now(&self) -> (&'static str, u64, u64) {
        let step = *self.0.step.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (step, read(&self.0.done), read(&self.0.total))
    }

    /// Tells the work to stop.
    pub(crate) fn stop(&self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}
