//! Notices that the appender's thread does not come back in time: a disk hangs, or another program
//! holds the file. A thread of its own watches, since the one that hangs can tell nobody.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::time::{Duration, Instant};

/// The longest that a webhook waits for its event to be durable. Verbex waits 1 s for the answer.
/// Unit tests are about other promises, and hold up commits themselves.
pub(super) const WAIT_MAX: Duration = match cfg!(test) {
    true => Duration::from_secs(20),
    false => Duration::from_millis(700),
};

/// What the appender's thread does at the moment. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse(Arc<Shared>);

/// Ends the watch when it is dropped.
pub(super) struct Watched(Pulse);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.0.changed.notify_one();
    }
}

#[derive(Debug, Default)]
struct Shared {
    // A std mutex: never held over an await or a call that can block.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Since when somebody waits for what is done now.
    since: Option<Instant>,
    late: bool,
    /// The watching thread sleeps until it is woken, and not only for a time.
    asleep: bool,
    ended: bool,
}

impl Pulse {
    /// Work begins, and somebody has waited for it since then.
    pub(super) fn begin(&self, since: Instant) {
        let mut state = self.lock();
        state.since = Some(since);
        if std::mem::take(&mut state.asleep) {
            self.0.changed.notify_one();
        }
    }

    /// The work is done, and says nothing of how long the next event will wait.
    pub(super) fn rest(&self) {
        self.lock().since = None;
    }

    /// The work is done. Whether the log was late until now, and is not any more.
    pub(super) fn end(&self) -> bool {
        let mut state = self.lock();
        let in_time = state
            .since
            .take()
            .is_none_or(|since| since.elapsed() < WAIT_MAX);
        let recovered = state.late && in_time;
        state.late &= !in_time;
        recovered
    }

    /// Whether work took too long, and none was done in time since then.
    pub(super) fn is_late(&self) -> bool {
        self.lock().late
    }

    /// Starts the thread. It calls `late` each time that the log becomes late, and ends when
    /// the result is dropped.
    pub(super) fn watch(&self, late: impl Fn() + Send + 'static) -> io::Result<Watched> {
        let pulse = self.clone();
        thread::Builder::new()
            .name("log-pulse".into())
            .spawn(move || pulse.run(late))?;
        Ok(Watched(self.clone()))
    }

    fn run(&self, late: impl Fn()) {
        let mut state = self.lock();
        while !state.ended {
            let left = match state.since {
                Some(since) if !state.late => WAIT_MAX.saturating_sub(since.elapsed()),
                _ => Duration::MAX,
            };
            if left.is_zero() {
                state.late = true;
                late();
                continue;
            }
            state = if left == Duration::MAX {
                state.asleep = true;
                let woken = self.0.changed.wait(state);
                woken.unwrap_or_else(PoisonError::into_inner)
            } else {
                let woken = self.0.changed.wait_timeout(state, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
