//! Counts the subscriptions that the router has woken and that have not run since.
//!
//! The router waits for them before it routes more. So a busy gateway sends what has come in
//! meanwhile at once, with one wake-up and one write for each subscriber, and not group by group.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// The count. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Wakings(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    count: AtomicUsize,
    none_left: Notify,
}

/// A subscription that was woken. It counts until this is dropped.
#[derive(Debug)]
pub(super) struct Woken(Arc<Shared>);

impl Wakings {
    pub(super) fn add(&self) -> Woken {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Woken(self.0.clone())
    }

    /// Resolves when all that were woken have run. Only one task may wait. Cancel safe.
    pub(super) async fn none_left(&self) {
        // A stored permit may be of an earlier time.
        while self.0.count.load(Ordering::Acquire) > 0 {
            self.0.none_left.notified().await;
        }
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::Release) == 1 {
            self.0.none_left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_wait_ends_when_the_last_one_has_run() {
        let wakings = Wakings::default();
        let is_over = || wakings.none_left().now_or_never().is_some();
        assert!(is_over());
        let (first, second) = (wakings.add(), wakings.add());
        assert!(!is_over());
        drop(second);
        assert!(!is_over());
        drop(first);
        assert!(is_over());
        // The permit of the last time does not end the next wait.
        let _third = wakings.add();
        assert!(!is_over());
    }
}
