//! One subscription: where it stands, and what it sends next.
//!
//! Invariant: every match at or before `covered` was returned by [`Subscription::next`], and none
//! after it, except that the frames in `pending` move `covered` as they leave. All else that can
//! come lies after it: in the queue, or in the log.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::{
    Shared,
    catchup::{Segment, Turn},
    class::Wishes,
    end::{self, EndReason},
    frame::Frame,
    message::{self, Shape},
    queue::{Queue, Signal},
    registry::Entry,
    request::{ExpiredAction, Request, SubscribeError},
    router::Command,
};
use crate::{
    event::Position,
    log::{self, Earliest, ReadError},
    proto::SubscriptionState,
};

/// A stream of messages for one subscriber. Dropping it ends the subscription.
pub(crate) struct Subscription {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    expired: ExpiredAction,
    /// Begun at the earliest event or at a time, and no event sent yet: then retention makes no
    /// gap, the start just moves.
    from_start: bool,

    covered: Position,
    standing: Standing,
    /// The log cannot be read at the moment.
    away: bool,
    told: Option<SubscriptionState>,
    /// Frames from the log that wait to be sent: those of one segment at the most.
    pending: VecDeque<Frame>,
    /// What was read last, kept while it is sent, so that others of the class can take the same.
    segment: Option<Arc<Segment>>,
    /// Held while `pending` is sent.
    turn: Option<Turn>,

    progress_interval: Duration,
    sent_at: Instant,
    /// Fires no later than a progress is due. Moved when it fires, not with each message.
    timer: Pin<Box<Sleep>>,
    end: Option<EndReason>,
}

/// A stretch of the log, with leave to send what it has, if it has something.
type Read = Result<(Arc<Segment>, Option<Turn>), ReadError>;

/// Where the next message comes from. `joined` is the head where the router took over: the rest up
/// to there is still to be read.
enum Standing {
    /// To be decided, once `pending` is sent.
    Behind { joined: Option<Position> },
    /// From the log, up to `through`. Begins while `pending` is still being sent.
    Reading {
        joined: Option<Position>,
        through: Position,
        segment: BoxFuture<'static, Read>,
    },
    /// From the queue, as soon as the router feeds it.
    Attaching {
        head: BoxFuture<'static, Option<Position>>,
    },
    /// From the queue.
    Live,
}

impl Subscription {
    /// Enters the registry. The first message is due.
    pub(super) fn new(
        shared: Arc<Shared>,
        request: Request,
        covered: Position,
        from_start: bool,
    ) -> Result<Self, SubscribeError> {
        let class = shared.classes.of(Wishes {
            selector: request.selector,
            shape: Shape {
                view: request.view,
                redaction: request.redaction,
                encoding: request.encoding,
            },
        });
        let (position, position_time) = Entry::begin(covered);
        let entry = shared.registry.enter(|serial, id| Entry {
            serial,
            id,
            name: request.name,
            peer: request.peer,
            filter: class.shared(request.filter),
            class,
            queue: Arc::new(Queue::new(shared.config.queue_bytes_max)),
            connect_time: Timestamp::now(),
            state: AtomicI32::new(SubscriptionState::CatchingUp.into()),
            position,
            position_time,
            delivered: AtomicU64::new(0),
        })?;
        tracing::info!(
            subscriber = entry.id,
            name = entry.name,
            peer = entry.peer,
            "subscribed"
        );
        let now = Instant::now();
        Ok(Self {
            expired: request.expired,
            from_start,
            covered,
            standing: Standing::Behind { joined: None },
            away: false,
            told: None,
            pending: VecDeque::new(),
            segment: None,
            turn: None,
            progress_interval: request.progress_interval,
            sent_at: now,
            timer: Box::pin(sleep_until(now + request.progress_interval)),
            end: None,
            entry,
            shared,
        })
    }

    /// Starts live at the head, wherever that is by now.
    pub(super) async fn join_latest(mut self) -> Self {
        if let Some(head) = self.attach().await {
            self.cover(head);
            self.standing = Standing::Live;
        }
        self
    }

    /// Starts live if nothing lies between the start and the head: who is up to date is not told to
    /// be catching up.
    pub(super) async fn join_if_up_to_date(mut self) -> Self {
        if self.covered.sequence >= self.shared.head.position().sequence
            && let Some(head) = self.attach().await
        {
            self.proceed(Some(head));
        }
        self
    }

    /// Tells of events that are gone, and goes on behind them.
    pub(super) fn skip_to(&mut self, earliest: &Earliest) {
        let bytes = message::gap(self.shared.epoch, earliest);
        self.pending.push_back(Frame {
            bytes,
            events: 0,
            end: earliest.before,
        });
    }

    /// Says why the door ends this subscription.
    pub(crate) fn end(&mut self, reason: EndReason) {
        self.end = Some(reason);
    }

    /// The next messages, whole and framed for gRPC. Not to be called again after an end.
    ///
    /// # Errors
    /// The reason why the stream is over.
    pub(crate) async fn next(&mut self) -> Result<Bytes, EndReason> {
        let next = self.advance().await;
        self.end = next.as_ref().err().copied();
        next
    }

    async fn advance(&mut self) -> Result<Bytes, EndReason> {
        loop {
            if self.told.is_some()
                && let Some(frame) = self.pending.pop_front()
            {
                return Ok(self.send(frame));
            }
            let state = self.state();
            if self.told != Some(state) {
                return Ok(self.progress());
            }
            if let Some(message) = self.step().await? {
                return Ok(message);
            }
        }
    }

    /// Whether the subscriber is up to date, as it is told.
    fn state(&self) -> SubscriptionState {
        match self.standing {
            _ if self.away => SubscriptionState::Stalled,
            Standing::Live if self.shared.head.available.load(Ordering::Relaxed) => {
                SubscriptionState::Live
            }
            Standing::Live => SubscriptionState::Stalled,
            _ => SubscriptionState::CatchingUp,
        }
    }

    /// Waits for what comes first: something to send or to do, a progress that is due, or the end.
    async fn step(&mut self) -> Result<Option<Bytes>, EndReason> {
        self.turn = None;
        let queue = &self.entry.queue;
        match &mut self.standing {
            Standing::Behind { joined } => {
                let joined = *joined;
                self.proceed(joined);
            }
            Standing::Live => {
                let signal = tokio::select! {
                    biased;
                    signal = poll_fn(|cx| queue.poll_next(cx)) => signal,
                    () = &mut self.timer => return Ok(self.progress_if_due()),
                };
                match signal {
                    Signal::Frame(frame) => return Ok(Some(self.send(frame))),
                    Signal::Detached => self.standing = Standing::Behind { joined: None },
                    Signal::Nudged => {}
                    Signal::End(reason) => return Err(reason),
                }
            }
            Standing::Attaching { head } => {
                let head = tokio::select! {
                    biased;
                    reason = poll_fn(|cx| queue.poll_end(cx)) => return Err(reason),
                    head = head => head,
                    () = &mut self.timer => return Ok(self.progress_if_due()),
                };
                self.away = head.is_none();
                self.standing = Standing::Behind { joined: head };
            }
            Standing::Reading {
                joined,
                through,
                segment,
            } => {
                let (joined, through) = (*joined, *through);
                let read = tokio::select! {
                    biased;
                    reason = poll_fn(|cx| queue.poll_end(cx)) => return Err(reason),
                    read = segment => read,
                    () = &mut self.timer => return Ok(self.progress_if_due()),
                };
                self.standing = Standing::Behind { joined };
                if let Some(covered) = self.take(read, through)?
                    && covered.sequence < through.sequence
                {
                    self.read(covered, joined, through);
                }
            }
        }
        Ok(None)
    }

    /// Decides where the next message comes from. Everything up to `covered` is sent.
    fn proceed(&mut self, joined: Option<Position>) {
        let through = joined.unwrap_or_else(|| self.shared.head.position());
        if self.covered.sequence < through.sequence {
            self.read(self.covered, joined, through);
        } else if joined.is_none() {
            let head = self.attach();
            self.standing = Standing::Attaching {
                head: Box::pin(async move {
                    let head = head.await;
                    if head.is_none() {
                        sleep(log::RETRY_INTERVAL).await;
                    }
                    head
                }),
            };
        } else if self.covered.sequence == through.sequence && self.entry.queue.is_attached() {
            self.segment = None;
            self.standing = Standing::Live;
        } else {
            // The queue overflowed while the rest was read, or what is in it begins before the end
            // of a gap.
            self.entry.queue.detach();
            self.standing = Standing::Behind { joined: None };
        }
    }

    /// Begins to read what comes after a place.
    fn read(&mut self, after: Position, joined: Option<Position>, through: Position) {
        let (catchup, shared) = (self.entry.class.catchup.clone(), self.shared.clone());
        let reader = shared.clone();
        let read = move || catchup.segment(reader, after.sequence, through);
        let segment: BoxFuture<'static, _> = match self.away {
            // At once, while this subscription may still send what was read before.
            false => read(),
            true => Box::pin(async move {
                sleep(log::RETRY_INTERVAL).await;
                read().await
            }),
        };
        self.standing = Standing::Reading {
            joined,
            through,
            segment: Box::pin(async move {
                let segment = segment.await?;
                let turn = match segment.is_empty(after.sequence, through) {
                    true => None,
                    false => Some(Turn::take(shared.catchup_turns.clone()).await),
                };
                Ok((segment, turn))
            }),
        };
    }

    /// The head from which on the queue is fed; none if the router has not come as far as this
    /// subscription, because it cannot read the log.
    fn attach(&self) -> impl Future<Output = Option<Position>> + Send + use<> {
        let (attached, head) = oneshot::channel();
        let attach = Command::Attach {
            id: self.entry.serial,
            class: self.entry.class.clone(),
            queue: self.entry.queue.clone(),
            at_least: self.covered.sequence,
            attached,
        };
        // If the router is gone, so is the sender of `head`.
        let _ = self.shared.commands.send(attach);
        async move { head.await.ok() }
    }

    /// Takes what was read, or decides about what was not. Returns the place up to which that went.
    fn take(&mut self, read: Read, through: Position) -> Result<Option<Position>, EndReason> {
        self.away = matches!(read, Err(ReadError::Unavailable(_)));
        match read {
            Ok((segment, turn)) => {
                let (frames, covered) = segment.cut(self.covered.sequence, through);
                self.pending.extend(frames);
                match self.pending.back_mut() {
                    Some(last) => last.end = covered,
                    None => self.cover(covered),
                }
                self.segment = Some(segment);
                self.turn = turn;
                return Ok(Some(covered));
            }
            Err(ReadError::Expired(earliest)) if self.from_start => self.cover(earliest.before),
            Err(ReadError::Expired(earliest)) if self.expired == ExpiredAction::Earliest => {
                self.skip_to(&earliest)
            }
            Err(ReadError::Expired(earliest)) => return Err(EndReason::Expired(earliest)),
            Err(ReadError::Unavailable(error)) => {
                tracing::warn!(subscriber = self.entry.id, %error, "cannot catch up");
            }
            Err(ReadError::Damaged(error)) => {
                tracing::error!(subscriber = self.entry.id, %error, "the log is damaged");
                return Err(EndReason::Damaged);
            }
        }
        Ok(None)
    }

    fn send(&mut self, frame: Frame) -> Bytes {
        self.cover(frame.end);
        self.sent_at = Instant::now();
        if frame.events > 0 {
            self.from_start = false;
            self.entry
                .delivered
                .fetch_add(frame.events.into(), Ordering::Relaxed);
            self.shared.metrics.events.inc_by(frame.events.into());
        }
        self.shared.metrics.bytes.inc_by(frame.bytes.len() as u64);
        frame.bytes
    }

    fn progress_if_due(&mut self) -> Option<Bytes> {
        let due = self.sent_at + self.progress_interval;
        if Instant::now() < due {
            self.timer.as_mut().reset(due);
            return None;
        }
        Some(self.progress())
    }

    fn progress(&mut self) -> Bytes {
        if matches!(self.standing, Standing::Live) {
            // In this order: see `Queue::covers`.
            let head = self.shared.head.position();
            if let Some(covered) = self.entry.queue.covers(head) {
                self.cover(covered);
            }
        }
        let state = self.state();
        self.told = Some(state);
        self.entry.state.store(state.into(), Ordering::Relaxed);
        let bytes = message::progress(self.shared.epoch, &self.covered, state, Timestamp::now());
        let bytes = self.send(Frame {
            bytes,
            events: 0,
            end: self.covered,
        });
        self.timer
            .as_mut()
            .reset(self.sent_at + self.progress_interval);
        bytes
    }

    fn cover(&mut self, position: Position) {
        self.covered = position;
        self.entry.cover(&position);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.registry.leave(self.entry.serial);
        // If the router is gone, it has forgotten everybody.
        let _ = self.shared.commands.send(Command::Leave {
            id: self.entry.serial,
            class: self.entry.class.id,
        });
        let reason = end::label(self.end);
        self.shared.metrics.ended(reason);
        let delivered = self.entry.delivered.load(Ordering::Relaxed);
        tracing::info!(
            subscriber = self.entry.id,
            name = self.entry.name,
            delivered,
            reason,
            "subscription ended"
        );
    }
}
