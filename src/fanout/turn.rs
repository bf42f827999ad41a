use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, oneshot},
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

/// Subscribers that may send what they have read at the same time. Others wait for a turn, so that
/// a live subscriber never waits behind a thousand that catch up.
const TURNS: usize = 8;
/// The longest turn: a client that does not read must not keep others from theirs.
const TURN_MAX: Duration = Duration::from_millis(10);

/// The turns of all subscribers.
pub(super) struct Turns(Arc<Semaphore>);

/// Permission to send, until it is dropped or [`TURN_MAX`] is over.
#[derive(Debug)]
pub(super) struct Turn {
    _holder: AbortOnDropHandle<()>,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TURNS)))
    }
}

impl Turns {
    /// Waits for a turn. A task of its own waits and then holds the turn, so that it ends in time
    /// even if its subscriber is not polled, because the client does not read.
    pub(super) async fn take(&self) -> Turn {
        let turns = self.0.clone();
        let (granted, wait) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "aborted with the handle")]
        let holder = tokio::spawn(async move {
            // The semaphore is never closed; if it were, sending would still be right.
            let _permit = turns.acquire_owned().await;
            let _ = granted.send(());
            sleep(TURN_MAX).await;
        });
        let holder = AbortOnDropHandle::new(holder);
        let _ = wait.await;
        Turn { _holder: holder }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        task::{Context, Waker},
    };

    use super::*;

    #[tokio::test]
    async fn a_subscriber_that_is_not_polled_any_more_keeps_nobody_from_a_turn() {
        let turns = Turns::default();
        let mut stuck: Vec<_> = (0..10 * TURNS).map(|_| Box::pin(turns.take())).collect();
        for waiting in &mut stuck {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(waiting.as_mut().poll(&mut cx).is_pending());
        }
        // The others still exist. Some had a turn without being polled.
        let _turn = turns.take().await;
        drop(stuck);
    }
}
