//! Ctrl-C and SIGTERM.

use std::{future::Future, process};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// Resolves at the first signal to stop. A second one ends the process at once, whatever it is waiting for.
pub(super) fn interrupted() -> impl Future<Output = ()> + Send + 'static {
    let (told, hear) = oneshot::channel();
    tokio::spawn(async move {
        either_signal().await;
        // Nobody listens any more if the command is on its way out already.
        let _ = told.send(());
        either_signal().await;
        process::exit(1);
    });
    async {
        // The sender is dropped unsent only with the runtime.
        let _ = hear.await;
    }
}

async fn either_signal() {
    // Listening fails only where signals cannot be caught at all; then they end the process by themselves.
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    let Ok(mut interrupt) = signal(SignalKind::interrupt()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
