//! One subscription: does what its [`Standing`] says, and passes on the results.

use std::{
    future::{pending, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::{
    catchup::{CatchupRead, Reads},
    end::EndReason,
    head::Head,
    message,
    queue::Signal,
    seat::Seat,
    standing::{Came, Outlook, Standing, Step},
    turn::Turn,
};
use crate::{
    event::Position,
    log::{self, ReadError},
};

/// A stream of messages for one subscriber. Dropping it ends the subscription.
pub(crate) struct Subscription {
    seat: Seat,
    standing: Standing,
    reads: Arc<Reads>,
    head: Arc<Head>,
    /// The read of the log or the router's answer that the subscription waits for.
    awaited: Option<BoxFuture<'static, Answer>>,
    /// How often events had been erased when it last looked.
    erasures: u64,
    /// The turn to send what was read.
    turn: Option<Turn>,
    /// Fires no later than a progress is due. It is reset when it fires, not at each message.
    timer: Pin<Box<Sleep>>,
}

enum Answer {
    Read(CatchupRead),
    Attached(Option<Position>),
}

impl Subscription {
    pub(super) fn new(seat: Seat, standing: Standing, reads: Arc<Reads>, head: Arc<Head>) -> Self {
        let timer = Box::pin(sleep_until(standing.due()));
        Self {
            seat,
            standing,
            erasures: reads.erasures(),
            reads,
            head,
            awaited: None,
            turn: None,
            timer,
        }
    }

    /// Ends this subscription for a reason that the door knows.
    pub(crate) fn end(&mut self, reason: EndReason) {
        self.seat.end = Some(reason);
    }

    /// The next messages, whole and framed for gRPC. Must not be called again after an error.
    ///
    /// # Errors
    /// The reason why the stream ended.
    pub(crate) async fn next(&mut self) -> Result<Bytes, EndReason> {
        let mut came = Came::Nothing;
        loop {
            self.forget_erased();
            let available = self.head.available.load(Ordering::Relaxed);
            came = match self.standing.step(came, available) {
                Step::Send(frame) => return Ok(self.sent(frame.bytes, frame.events)),
                Step::Gap(earliest) => {
                    return Ok(self.sent(message::gap(self.reads.epoch, &earliest), 0));
                }
                Step::Progress(state) => {
                    self.seat
                        .record
                        .state
                        .store(state.into(), Ordering::Relaxed);
                    let covered = self.standing.covered();
                    let progress =
                        message::progress(self.reads.epoch, &covered, state, Timestamp::now());
                    let bytes = self.sent(progress, 0);
                    self.timer.as_mut().reset(self.standing.due());
                    return Ok(bytes);
                }
                Step::Look => self.look(),
                Step::Read {
                    after,
                    through,
                    later,
                } => {
                    self.awaited = Some(self.read(after, through, later));
                    Came::Nothing
                }
                Step::Attach => {
                    self.awaited = Some(self.attach());
                    Came::Nothing
                }
                Step::Detach => {
                    self.seat.record.queue.detach();
                    Came::Nothing
                }
                Step::WaitForQueue => self.wait_for_queue().await,
                Step::WaitForLog => self.wait_for_log().await,
                Step::End(reason) => {
                    self.seat.end = Some(reason);
                    return Err(reason);
                }
            };
        }
    }

    /// Lets nothing go out that was read before events were erased.
    fn forget_erased(&mut self) {
        let erasures = self.reads.erasures();
        if erasures != self.erasures {
            self.erasures = erasures;
            if self.standing.forget_read() {
                self.awaited = None;
            }
        }
    }

    fn sent(&mut self, bytes: Bytes, events: u32) -> Bytes {
        self.standing.sent(Instant::now());
        self.seat
            .count(&self.standing.covered(), events, bytes.len());
        bytes
    }

    fn look(&self) -> Came {
        // The head must be read before the queue: see `Queue::covers`.
        let head = self.head.position();
        let queue = &self.seat.record.queue;
        Came::Outlook(Outlook {
            head,
            is_attached: queue.is_attached(),
            is_drained: queue.covers(head).is_some(),
        })
    }

    /// Begins a read at once, while the segment before it may still be sent. While memory is
    /// crowded, the read begins only when that segment was sent.
    fn read(&self, after: Position, through: Position, later: bool) -> BoxFuture<'static, Answer> {
        let (catchup, reads) = (self.seat.record.class.catchup.clone(), self.reads.clone());
        let read = move || catchup.read(reads, after.sequence, through);
        if !later && !self.reads.is_crowded() {
            return read().map(Answer::Read).boxed();
        }
        async move {
            if later {
                sleep(log::RETRY_INTERVAL).await;
            }
            Answer::Read(read().await)
        }
        .boxed()
    }

    fn attach(&self) -> BoxFuture<'static, Answer> {
        let head = self.seat.attach(self.standing.covered().sequence);
        async move {
            let head = head.await;
            if head.is_none() {
                sleep(log::RETRY_INTERVAL).await;
            }
            Answer::Attached(head)
        }
        .boxed()
    }

    async fn wait_for_queue(&mut self) -> Came {
        self.turn = None;
        let queue = &self.seat.record.queue;
        tokio::select! {
            biased;
            signal = poll_fn(|cx| queue.poll_next(cx)) => Came::Signal(signal),
            () = &mut self.timer => self.look_at_clock(),
        }
    }

    async fn wait_for_log(&mut self) -> Came {
        self.turn = None;
        // A read can move the place without a message.
        self.seat.record.cover(&self.standing.covered());
        let queue = &self.seat.record.queue;
        let answer = tokio::select! {
            biased;
            reason = poll_fn(|cx| queue.poll_end(cx)) => return Came::Signal(Signal::End(reason)),
            answer = answer(&mut self.awaited) => answer,
            () = &mut self.timer => return self.look_at_clock(),
        };
        self.awaited = None;
        match answer {
            Answer::Attached(head) => Came::Attached(head),
            Answer::Read(Ok((segment, turn))) => {
                self.turn = turn;
                Came::Read(Ok(segment))
            }
            Answer::Read(Err(error)) => {
                let subscriber = &self.seat.record.id;
                // Of damage the log itself tells.
                if let ReadError::Unavailable(_) = &error {
                    tracing::warn!(subscriber, %error, "cannot catch up");
                }
                Came::Read(Err(error))
            }
        }
    }

    fn look_at_clock(&mut self) -> Came {
        self.timer.as_mut().reset(self.standing.due());
        Came::Timer(Instant::now())
    }
}

async fn answer(awaited: &mut Option<BoxFuture<'static, Answer>>) -> Answer {
    match awaited {
        Some(awaited) => awaited.await,
        None => pending().await,
    }
}
