//! Where a subscription stands, and what it does next: a state machine without I/O and without a
//! clock.
//!
//! [`Standing::step`] takes what happened and returns what to do. [`super::subscription`] does it
//! and passes on the result.
//!
//! Invariant: a [`Step`] has handed out every match up to `covered`, and none after it. All others
//! are in `pending`, in the queue, or in the log.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    end::EndReason, frame::Frame, queue::Signal, request::ExpiredAction, segment::Segment,
    start::Place,
};
use crate::{
    event::Position,
    log::{Earliest, ReadError},
    proto::SubscriptionState,
};

#[derive(Debug)]
pub(super) struct Standing {
    covered: Position,
    source: Source,
    /// The last read failed, or the router could not read the log.
    unreadable: bool,
    /// The state that the subscriber was last told.
    told: Option<SubscriptionState>,
    /// A gap that the subscriber was not told of yet.
    gap: Option<Earliest>,
    /// Frames of a segment that are not sent yet.
    pending: VecDeque<Frame>,
    /// The segment that was read last. It is kept until the subscription is live, so that others of
    /// its class can use it.
    segment: Option<Arc<Segment>>,
    /// See [`Place::moves`].
    start_moves: bool,
    expired: ExpiredAction,
    progress_interval: Duration,
    sent_at: Instant,
}

/// Where the next message comes from. `joined` is the head after which the router feeds the queue:
/// events up to there come from the log.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Decided once `pending` is sent.
    Behind { joined: Option<Position> },
    /// A read of the log up to `through`. It may run while `pending` is sent.
    Reading {
        joined: Option<Position>,
        through: Position,
    },
    /// The queue, once the router feeds it.
    Attaching,
    /// The queue.
    Live,
}

#[derive(Debug)]
pub(super) enum Step {
    Send(Frame),
    Gap(Earliest),
    /// Send a progress with this state, at the covered place.
    Progress(SubscriptionState),
    /// Look at the head and the queue, and come back with [`Came::Outlook`].
    Look,
    /// Begin to read the log, and come back with [`Came::Read`].
    Read {
        after: Position,
        through: Position,
        /// Pause first, because the last read failed.
        later: bool,
    },
    /// Ask the router to feed the queue, and come back with [`Came::Attached`].
    Attach,
    /// Tell the router to stop feeding the queue.
    Detach,
    /// Wait for the queue, or until a progress is due.
    WaitForQueue,
    /// Wait for the read or the attach that runs, for the end, or until a progress is due.
    WaitForLog,
    End(EndReason),
}

/// What happened since the last step.
#[derive(Debug)]
pub(super) enum Came {
    /// The step was done.
    Nothing,
    Signal(Signal),
    Outlook(Outlook),
    Read(Result<Arc<Segment>, ReadError>),
    /// The head after which the router feeds the queue. None if the router has not reached the
    /// subscription's place, because it cannot read the log.
    Attached(Option<Position>),
    /// The current time. A progress may be due.
    Timer(Instant),
}

/// The head, and the state of the queue, which is read after the head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlook {
    pub head: Position,
    pub is_attached: bool,
    /// The queue is attached, and everything up to the head was popped.
    pub is_drained: bool,
}

impl Standing {
    /// Begins at a place. `joined` is the head if the router already feeds the queue.
    pub(super) fn new(
        place: Place,
        joined: Option<Position>,
        expired: ExpiredAction,
        progress_interval: Duration,
        now: Instant,
    ) -> Self {
        Self {
            covered: place.covered,
            source: Source::Behind { joined },
            unreadable: false,
            told: None,
            gap: place.gap,
            pending: VecDeque::new(),
            segment: None,
            start_moves: place.moves,
            expired,
            progress_interval,
            sent_at: now,
        }
    }

    /// Forgets what was read of the log and not sent yet: events were erased since. Returns whether
    /// a read that runs must be forgotten, too.
    pub(super) fn forget_read(&mut self) -> bool {
        self.pending.clear();
        self.segment = None;
        let is_reading = match self.source {
            Source::Reading { joined, .. } => Some(joined),
            Source::Behind { .. } | Source::Attaching | Source::Live => None,
        };
        if let Some(joined) = is_reading {
            self.source = Source::Behind { joined };
        }
        is_reading.is_some()
    }

    /// Every match up to here was handed out, and none after it.
    pub(super) fn covered(&self) -> Position {
        self.covered
    }

    /// A message was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.sent_at = now;
    }

    /// When a progress is due if nothing else is sent.
    pub(super) fn due(&self) -> Instant {
        self.sent_at + self.progress_interval
    }

    /// Takes what happened, and returns what to do next. `available` is whether the log takes
    /// events.
    pub(super) fn step(&mut self, came: Came, available: bool) -> Step {
        match came {
            Came::Signal(Signal::Frame(frame)) => return self.send(frame),
            Came::Signal(Signal::End(reason)) => return Step::End(reason),
            Came::Signal(Signal::Detached) => self.source = Source::Behind { joined: None },
            Came::Signal(Signal::Asked) => return self.report(available),
            Came::Nothing | Came::Signal(Signal::Nudged) => {}
            Came::Outlook(outlook) => return self.look(outlook, available),
            Came::Read(Ok(segment)) => {
                if let Some(more) = self.take(segment) {
                    return more;
                }
            }
            Came::Read(Err(error)) => {
                if let Some(reason) = self.fail(error) {
                    return Step::End(reason);
                }
            }
            Came::Attached(joined) => {
                self.unreadable = joined.is_none();
                self.source = Source::Behind { joined };
            }
            Came::Timer(now) if now < self.due() => {}
            Came::Timer(_) => return self.report(available),
        }
        self.proceed(available)
    }

    fn proceed(&mut self, available: bool) -> Step {
        // The first message says where the stream begins.
        if self.told.is_some() {
            if let Some(earliest) = self.gap.take() {
                self.covered = earliest.before;
                return Step::Gap(earliest);
            }
            if let Some(frame) = self.pending.pop_front() {
                return self.send(frame);
            }
        }
        if matches!(self.source, Source::Behind { .. }) && self.gap.is_none() {
            return Step::Look;
        }
        if self.told != Some(self.state(available)) {
            return self.report(available);
        }
        match self.source {
            Source::Live => Step::WaitForQueue,
            _ => Step::WaitForLog,
        }
    }

    fn state(&self, available: bool) -> SubscriptionState {
        match self.source {
            _ if self.unreadable => SubscriptionState::Stalled,
            Source::Live if available => SubscriptionState::Live,
            Source::Live => SubscriptionState::Stalled,
            _ => SubscriptionState::CatchingUp,
        }
    }

    fn send(&mut self, frame: Frame) -> Step {
        self.covered = frame.end;
        self.start_moves = false;
        Step::Send(frame)
    }

    /// Makes a progress. If the subscription is live and its queue is drained, it covers everything
    /// up to the head.
    fn report(&mut self, available: bool) -> Step {
        match self.source {
            Source::Live => Step::Look,
            _ => self.tell(available),
        }
    }

    fn tell(&mut self, available: bool) -> Step {
        let state = self.state(available);
        self.told = Some(state);
        Step::Progress(state)
    }

    fn look(&mut self, outlook: Outlook, available: bool) -> Step {
        let joined = match self.source {
            Source::Behind { joined } => joined,
            Source::Live => {
                if outlook.is_drained {
                    self.covered = outlook.head;
                }
                return self.tell(available);
            }
            // It did not ask for an outlook.
            Source::Reading { .. } | Source::Attaching => return self.proceed(available),
        };
        let through = joined.unwrap_or(outlook.head);
        if self.covered.sequence < through.sequence {
            self.read(self.covered, joined, through)
        } else if joined.is_none() {
            self.source = Source::Attaching;
            Step::Attach
        } else if self.covered.sequence == through.sequence && outlook.is_attached {
            self.source = Source::Live;
            self.segment = None;
            self.proceed(available)
        } else {
            // The queue overflowed while the rest was read, or a gap ends behind its beginning.
            self.source = Source::Behind { joined: None };
            Step::Detach
        }
    }

    fn read(&mut self, after: Position, joined: Option<Position>, through: Position) -> Step {
        self.source = Source::Reading { joined, through };
        Step::Read {
            after,
            through,
            later: self.unreadable,
        }
    }

    /// Takes a segment. If it does not reach `through`, the next one is read while this one is
    /// sent.
    fn take(&mut self, segment: Arc<Segment>) -> Option<Step> {
        let Source::Reading { joined, through } = self.source else {
            return None;
        };
        self.unreadable = false;
        self.source = Source::Behind { joined };
        let (frames, covered) = segment.cut(self.covered.sequence, through);
        self.pending.extend(frames);
        match self.pending.back_mut() {
            Some(last) => last.end = covered,
            None => self.covered = covered,
        }
        self.segment = Some(segment);
        (covered.sequence < through.sequence).then(|| self.read(covered, joined, through))
    }

    fn fail(&mut self, error: ReadError) -> Option<EndReason> {
        let Source::Reading { joined, .. } = self.source else {
            return None;
        };
        self.unreadable = false;
        self.source = Source::Behind { joined };
        match error {
            ReadError::Unavailable(_) => self.unreadable = true,
            ReadError::Damaged { damage, .. } => return Some(EndReason::Damaged(damage)),
            ReadError::Expired(earliest) if self.start_moves => self.covered = earliest.before,
            ReadError::Expired(earliest) => match self.expired {
                ExpiredAction::Earliest => self.gap = Some(earliest),
                ExpiredAction::Fail => return Some(EndReason::Expired(earliest)),
            },
        }
        None
    }
}
