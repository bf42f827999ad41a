//! What the promises are tested with: the real program, its clients, what was seen, and who judges
//! it.

pub(crate) mod bodies;
pub(crate) mod clock;
pub(crate) mod grpc;
pub(crate) mod history;
pub(crate) mod launch;
pub(crate) mod power;
pub(crate) mod process;
pub(crate) mod promises;
pub(crate) mod terminal;
pub(crate) mod webhook;

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// How long anything may take that should take no time, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until there is something; a test fails with `what` if there never is.
pub(crate) async fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look).await
}

/// As [`eventually`], with a deadline of its own.
pub(crate) async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> T {
    eventually_asking(patience, what, async || look()).await
}

/// As [`eventually`], for what has to be asked.
pub(crate) async fn eventually_asking<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What should come by itself; a test fails with `what` if it does not.
pub(crate) async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, coming).await {
        Ok(came) => came,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
