//! The way into the log: events are offered, and each offer is answered. The other end of the queue
//! commits them.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

use super::{
    error::AppendError,
    metrics::Metrics,
    pulse::{Pulse, WAIT_MAX},
    sqlite::Prepared,
};
use crate::event::{EventId, NewEvent, Sequence};

/// The most offers that wait, and the most bytes of their bodies and encodings. When there is no
/// room, callers wait for it, and are refused after [`WAIT_MAX`].
const OFFERS_MAX: usize = 1024;
const OFFERS_KIB_MAX: usize = 64 * 1024;
/// What an offer counts at least. So the room bounds their number, too.
const OFFER_KIB_MIN: usize = OFFERS_KIB_MAX / OFFERS_MAX;

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
    /// In KiB.
    room: Arc<Semaphore>,
    pulse: Pulse,
    metrics: Metrics,
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
pub(super) fn queue(pulse: Pulse, metrics: Metrics) -> (Appender, Offers, Alive) {
    // With a place for `Finish`. `room` bounds the offers.
    let (queue, commands) = mpsc::channel(OFFERS_MAX + 1);
    let (alive, gone) = watch::channel(());
    let appender = Appender {
        queue,
        room: Arc::new(Semaphore::new(OFFERS_KIB_MAX)),
        pulse,
        metrics,
        gone,
    };
    (appender, Offers(commands), Alive(alive))
}

impl Appender {
    /// Makes an event durable: puts it into the queue, and waits for its answer. See the contract
    /// in [`crate::log`].
    ///
    /// # Errors
    /// Those of [`Self::offer`] and [`Self::answer`].
    pub async fn append(&self, event: NewEvent) -> Result<Appended, AppendError> {
        let offered = self.offer(event).await?;
        self.answer(offered).await
    }

    /// Puts an event into the queue. From then on it is committed, even if nobody waits for the
    /// answer. It waits only if the queue is full.
    ///
    /// # Errors
    /// If the log takes no more events, or the queue stays full.
    pub(crate) async fn offer(&self, event: NewEvent) -> Result<Offered, AppendError> {
        let since = Instant::now();
        // While nothing moves, whoever waits only takes a place from others.
        let until = match self.pulse.is_late() {
            true => since,
            false => since + WAIT_MAX,
        };
        let event = Prepared::from(event);
        let kib = (event.event.bytes() / 1024).clamp(OFFER_KIB_MIN, OFFERS_KIB_MAX);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let room = timeout_at(until, self.room.clone().acquire_many_owned(kib)).await;
        let room = room.map_err(|_| {
            self.metrics.late();
            AppendError::Full
        })?;
        let (answer, answered) = oneshot::channel();
        let caller = Caller {
            answer,
            since,
            // The semaphore is never closed.
            _room: room.map_err(|_| AppendError::Closed)?,
        };
        self.queue
            .send(Command::Append(Box::new(Offer { event, caller })))
            .await
            .map_err(|_| AppendError::Closed)?;
        Ok(Offered { answered, until })
    }

    /// Waits until an event in the queue is durable.
    ///
    /// # Errors
    /// If the log cannot take the event now. [`AppendError::Late`] if it is not durable after
    /// [`WAIT_MAX`], or at once while the log is late: then it stays in the queue.
    pub(crate) async fn answer(&self, offered: Offered) -> Result<Appended, AppendError> {
        match timeout_at(offered.until, offered.answered).await {
            Ok(answer) => answer.map_or(Err(AppendError::Closed), |answer| answer.own),
            Err(_) => {
                self.metrics.late();
                Err(AppendError::Late)
            }
        }
    }

    /// Commits the events in the queue and refuses later ones. Resolves when the files are closed
    /// and the folder is free.
    pub async fn finish(&self) {
        // An error means that it was called before.
        let _ = self.queue.send(Command::Finish).await;
        self.gone().await;
    }

    /// Resolves when the other end is gone: it has finished, or has failed.
    pub(crate) async fn gone(&self) {
        let mut gone = self.gone.clone();
        while gone.changed().await.is_ok() {}
    }
}

/// An event in the queue.
#[derive(Debug)]
#[must_use]
pub(crate) struct Offered {
    answered: oneshot::Receiver<Answer>,
    until: Instant,
}

/// The committing end holds it until it has closed its files and freed the folder.
pub(super) struct Alive(#[expect(dead_code, reason = "its drop is the signal")] watch::Sender<()>);

/// The events that were offered, in order.
pub(super) struct Offers(mpsc::Receiver<Command>);

/// An event, and the caller that waits for the answer.
#[derive(Debug)]
pub(super) struct Offer {
    pub event: Prepared,
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
    answer: oneshot::Sender<Answer>,
    pub(super) since: Instant,
    /// Held until the event has its answer.
    _room: OwnedSemaphorePermit,
}

/// What a caller is sent.
#[derive(Debug)]
struct Answer {
    own: Result<Appended, AppendError>,
    #[expect(dead_code, reason = "its drop sends the answers of others")]
    others: Unsent,
}

/// Answers that are sent when this is dropped.
#[derive(Debug, Default)]
struct Unsent(Vec<(Caller, Result<Appended, AppendError>)>);

impl Drop for Unsent {
    fn drop(&mut self) {
        for (caller, own) in self.0.drain(..) {
            let others = Self::default();
            // A caller that has left misses nothing.
            let _ = caller.answer.send(Answer { own, others });
        }
    }
}

/// Answers the callers of a group. One of them gets all answers and drops those of the others, or
/// they are dropped here if it has left. So the committing thread wakes one task, and that wakes
/// the others from within the runtime, which costs much less.
pub(super) fn answer(
    group: impl IntoIterator<Item = (Caller, Result<Appended, AppendError>)>,
    metrics: &Metrics,
) {
    let mut others = Unsent(group.into_iter().collect());
    let now = Instant::now();
    for (caller, _) in others.0.iter().filter(|(_, answer)| answer.is_ok()) {
        metrics.append_seconds(now - caller.since);
    }
    if let Some((first, own)) = others.0.pop() {
        let _ = first.answer.send(Answer { own, others });
    }
}
