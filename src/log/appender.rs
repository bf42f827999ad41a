//! The way into the log: events are offered, and each offer is answered. Whatever commits them is
//! at the other end of the queue.

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{error::AppendError, metrics::Metrics};
use crate::event::{EventId, NewEvent, Sequence};

/// Offers that wait. When the queue is full, callers wait for a place.
const OFFERS_MAX: usize = 1024;

/// The answer to an append: the event is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub id: EventId,
    /// Its place. For a duplicate, the place of the first.
    pub sequence: Sequence,
    /// Whether the log had it already.
    pub duplicate: bool,
}

/// Appends events. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Appender {
    queue: mpsc::Sender<Command>,
    /// Closed when the other end is gone.
    gone: watch::Receiver<()>,
}

#[derive(Debug)]
enum Command {
    Append(Box<Offer>),
    Finish,
}

/// Makes the handle and the end that commits. [`Appender::finish`] resolves when the last of the
/// three is dropped.
pub(super) fn queue() -> (Appender, Offers, Alive) {
    let (queue, commands) = mpsc::channel(OFFERS_MAX);
    let (alive, gone) = watch::channel(());
    (Appender { queue, gone }, Offers(commands), Alive(alive))
}

impl Appender {
    /// Makes an event durable; see the contract in [`crate::log`]. Once it has been taken into the
    /// queue it is committed, even if nobody waits for the answer any more.
    ///
    /// # Errors
    /// If the log cannot take it now, or not any more.
    pub async fn append(&self, event: NewEvent) -> Result<Appended, AppendError> {
        let (answer, answered) = oneshot::channel();
        let caller = Caller {
            answer,
            since: Instant::now(),
        };
        self.queue
            .send(Command::Append(Box::new(Offer { event, caller })))
            .await
            .map_err(|_| AppendError::Closed)?;
        answered.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Commits what has been taken and refuses what follows. Resolves when the files are closed and
    /// the folder is free.
    pub async fn finish(&self) {
        // Fails only if it was called before.
        let _ = self.queue.send(Command::Finish).await;
        let mut gone = self.gone.clone();
        while gone.changed().await.is_ok() {}
    }
}

/// Held by what commits until it has closed its files and freed the folder.
pub(super) struct Alive(#[expect(dead_code, reason = "its drop is the signal")] watch::Sender<()>);

/// The events that were offered, in order.
pub(super) struct Offers(mpsc::Receiver<Command>);

/// An event, and who waits for the answer.
#[derive(Debug)]
pub(super) struct Offer {
    pub event: NewEvent,
    pub caller: Caller,
}

impl Offers {
    /// Waits for the next offer. None once the appender has finished and all offers were taken, or
    /// once nobody has the appender any more. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Box<Offer>> {
        loop {
            match self.0.recv().await? {
                Command::Append(offer) => return Some(offer),
                Command::Finish => self.0.close(),
            }
        }
    }

    /// The next offer, if it is here already.
    pub(super) fn waiting(&mut self) -> Option<Box<Offer>> {
        loop {
            match self.0.try_recv().ok()? {
                Command::Append(offer) => return Some(offer),
                Command::Finish => self.0.close(),
            }
        }
    }
}

/// Who waits for an answer, or has left.
#[derive(Debug)]
pub(super) struct Caller {
    answer: oneshot::Sender<Result<Appended, AppendError>>,
    since: Instant,
}

impl Caller {
    pub(super) fn answer(self, answer: Result<Appended, AppendError>, metrics: &Metrics) {
        if answer.is_ok() {
            metrics.append_seconds(self.since.elapsed());
        }
        // A caller that has left misses nothing.
        let _ = self.answer.send(answer);
    }
}
