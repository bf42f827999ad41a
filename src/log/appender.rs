//! The way into the log: events are offered, and each offer is answered. The other end of the queue
//! commits them.

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{error::AppendError, metrics::Metrics};
use crate::event::{EventId, NewEvent, Sequence};

/// The most offers that wait. When the queue is full, callers wait for a place.
const OFFERS_MAX: usize = 1024;

/// The answer to an append: the event is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub id: EventId,
    /// The event's place. For a duplicate, the place of the first event with its id.
    pub sequence: Sequence,
    /// Whether the log already had the event.
    pub duplicate: bool,
}

/// Appends events. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Appender {
    queue: mpsc::Sender<Command>,
    /// Closed when [`Alive`] is dropped.
    gone: watch::Receiver<()>,
}

#[derive(Debug)]
enum Command {
    Append(Box<Offer>),
    Finish,
}

/// Makes the handle, and both parts of the end that commits. [`Appender::finish`] resolves when
/// [`Alive`] is dropped.
pub(super) fn queue() -> (Appender, Offers, Alive) {
    let (queue, commands) = mpsc::channel(OFFERS_MAX);
    let (alive, gone) = watch::channel(());
    (Appender { queue, gone }, Offers(commands), Alive(alive))
}

impl Appender {
    /// Makes an event durable; see the contract in [`crate::log`]. Once the event is in the queue
    /// it is committed, even if nobody waits for the answer any more.
    ///
    /// # Errors
    /// If the log cannot take the event now, or takes no more events.
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

    /// Commits the events in the queue and refuses later ones. Resolves when the files are closed
    /// and the folder is free.
    pub async fn finish(&self) {
        // An error means that it was called before.
        let _ = self.queue.send(Command::Finish).await;
        let mut gone = self.gone.clone();
        while gone.changed().await.is_ok() {}
    }
}

/// The committing end holds it until it has closed its files and freed the folder.
pub(super) struct Alive(#[expect(dead_code, reason = "its drop is the signal")] watch::Sender<()>);

/// The events that were offered, in order.
pub(super) struct Offers(mpsc::Receiver<Command>);

/// An event, and the caller that waits for the answer.
#[derive(Debug)]
pub(super) struct Offer {
    pub event: NewEvent,
    pub caller: Caller,
}

impl Offers {
    /// Waits for the next offer. None once the appender has finished and all offers were taken, or
    /// once all appenders are dropped. Cancel safe.
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

/// A caller that waits for an answer. It may have left.
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
