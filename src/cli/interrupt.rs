//! The signals that ask a process to stop, and the one that must not.

use std::{fs, future::Future, io, process};

use rustix::process as system;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// Ctrl-C, SIGTERM, and the end of the terminal. All of them ask the process to stop.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// None if `nohup` or a shell has set the process to outlive its terminal.
    hangup: Option<Signal>,
    /// Sent for a write beyond `ulimit -f`. When it is caught, such a write fails like one to a
    /// full disk.
    _file_size: Signal,
}

impl Signals {
    /// From now on these signals do not end the process by themselves.
    ///
    /// # Errors
    /// If the system does not allow signals to be caught.
    pub(super) fn listen() -> io::Result<Self> {
        let hangup = (!hangups_are_ignored()).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: hangup.transpose()?,
            _file_size: signal(SignalKind::from_raw(system::Signal::XFSZ.as_raw()))?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> SignalKind {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = hangup => SignalKind::hangup(),
        }
    }
}

/// Ends the process at once, with the exit code of this signal.
#[expect(clippy::exit, reason = "a second signal means: do not wait")]
pub(super) fn end_at_once(signal: SignalKind) -> ! {
    process::exit(128 + signal.as_raw_value())
}

/// Resolves at the first signal to stop. A second one ends the process at once, whatever it is
/// waiting for.
#[expect(clippy::disallowed_methods, reason = "it ends with the process")]
pub(super) fn interrupted() -> impl Future<Output = ()> + Send + 'static {
    let (told, hear) = oneshot::channel();
    tokio::spawn(async move {
        let Ok(mut signals) = Signals::listen() else {
            // If signals cannot be caught, they still end the process by themselves.
            return std::future::pending().await;
        };
        signals.next().await;
        // Fails if the command has already ended.
        let _ = told.send(());
        end_at_once(signals.next().await)
    });
    async {
        // The sender is dropped without sending only when the runtime ends.
        let _ = hear.await;
    }
}

/// Whether this process was started with SIGHUP ignored; false if the system does not say.
fn hangups_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal N is bit N - 1.
    mask.is_some_and(|mask| mask & (1 << (SignalKind::hangup().as_raw_value() - 1)) != 0)
}
