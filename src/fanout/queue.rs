//! The queue between the router and one subscription.
//!
//! Invariants:
//! - `bytes == frames.iter().map(len).sum() <= bytes_max`, unless a larger push came to an empty
//!   queue.
//! - Detached: `frames` is empty, and nothing is pushed until the router attaches the queue again.
//! - What was pushed is popped in order, or an overflow drops all of it. Then the subscription
//!   reads from the log everything that it has not popped, so nothing is lost.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{
    end::EndReason,
    frame::Frame,
    woken::{Wakings, Woken},
};
use crate::event::Position;

/// Frames for one subscription, bounded in bytes. A full queue is emptied and detached, and its
/// subscription reads the log instead.
#[derive(Debug)]
pub(super) struct Queue {
    bytes_max: usize,
    wakings: Wakings,
    // A std mutex: held for a few instructions, never over an await. The waker is called after it
    // is released.
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    frames: VecDeque<Frame>,
    bytes: usize,
    attached: bool,
    /// The log became available or unavailable, and the subscription has to look.
    nudged: bool,
    /// The subscription has to say where it stands.
    asked: bool,
    end: Option<EndReason>,
    waker: Option<Waker>,
    /// Set from the push that wakes the subscription until the subscription looks.
    woken: Option<Woken>,
}

/// What a subscription finds in its queue.
#[derive(Debug)]
pub(super) enum Signal {
    Frame(Frame),
    /// The queue was too small: the next events are in the log.
    Detached,
    /// The log became available or unavailable.
    Nudged,
    /// Say where the subscription stands: events at the place that it said last will be removed.
    Asked,
    End(EndReason),
}

impl Queue {
    pub(super) fn new(bytes_max: usize, wakings: Wakings) -> Self {
        Self {
            bytes_max,
            wakings,
            contents: Mutex::default(),
        }
    }

    /// Opens the queue for frames. Only the router calls this.
    pub(super) fn attach(&self) {
        let mut contents = self.lock();
        contents.attached = contents.end.is_none();
    }

    /// Whether the router feeds it.
    pub(super) fn is_attached(&self) -> bool {
        self.lock().attached
    }

    /// Takes all of these frames, or none. If they do not fit, or the queue is detached, it returns
    /// false, and the router forgets the queue. While memory is `crowded`, a queue that is not
    /// empty counts as full.
    pub(super) fn push(&self, frames: &[Frame], crowded: bool) -> bool {
        let mut contents = self.lock();
        if !contents.attached {
            return false;
        }
        let bytes: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
        // An empty queue takes frames above the bound, which could otherwise never be sent.
        let over = crowded || contents.bytes + bytes > self.bytes_max;
        let taken = !over || contents.frames.is_empty();
        if taken {
            contents.bytes += bytes;
            contents.frames.extend(frames.iter().cloned());
            if contents.waker.is_some() {
                contents.woken = Some(self.wakings.add());
            }
        } else {
            contents.detach();
        }
        wake(contents);
        taken
    }

    /// Empties the queue and takes no more frames. Its subscription continues from the log.
    pub(super) fn detach(&self) {
        let mut contents = self.lock();
        contents.detach();
        wake(contents);
    }

    /// Does the same if frames are in it. Returns whether it did.
    pub(super) fn detach_if_waiting(&self) -> bool {
        let mut contents = self.lock();
        let is_waiting = !contents.frames.is_empty();
        if is_waiting {
            contents.detach();
            wake(contents);
        }
        is_waiting
    }

    /// Ends the stream: after the queued frames if the gateway drains, else at once. Only the first
    /// call counts.
    pub(super) fn end(&self, reason: EndReason) {
        let mut contents = self.lock();
        if reason != EndReason::Draining {
            contents.detach();
        }
        contents.end.get_or_insert(reason);
        wake(contents);
    }

    /// Wakes the subscription so that it looks at the log's state.
    pub(super) fn nudge(&self) {
        let mut contents = self.lock();
        contents.nudged = true;
        wake(contents);
    }

    /// Asks a live subscription to say where it stands.
    pub(super) fn ask(&self) {
        let mut contents = self.lock();
        contents.asked = true;
        wake(contents);
    }

    /// The place that a live subscription has covered once it has popped everything. That is
    /// `head`, if the caller read it before this call: the router pushes all frames up to a head
    /// before it moves the head.
    pub(super) fn covers(&self, head: Position) -> Option<Position> {
        let contents = self.lock();
        (contents.attached && contents.frames.is_empty()).then_some(head)
    }

    /// The next thing for a live subscription to do.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Signal> {
        let mut contents = self.lock();
        contents.woken = None;
        if let Some(frame) = contents.frames.pop_front() {
            contents.bytes -= frame.bytes.len();
            return Poll::Ready(Signal::Frame(frame));
        }
        if let Some(reason) = contents.end {
            return Poll::Ready(Signal::End(reason));
        }
        if !contents.attached {
            return Poll::Ready(Signal::Detached);
        }
        if std::mem::take(&mut contents.nudged) {
            return Poll::Ready(Signal::Nudged);
        }
        if std::mem::take(&mut contents.asked) {
            return Poll::Ready(Signal::Asked);
        }
        contents.wait(cx)
    }

    /// The end of the stream, for a subscription that reads from the log.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<EndReason> {
        let mut contents = self.lock();
        contents.woken = None;
        match contents.end {
            Some(reason) => Poll::Ready(reason),
            None => contents.wait(cx),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // No code panics while it holds the lock.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn detach(&mut self) {
        self.attached = false;
        self.bytes = 0;
        // A new deque frees the memory, too. Most detached queues stay detached for a while.
        self.frames = VecDeque::new();
    }

    fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        match &self.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => self.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

fn wake(mut contents: MutexGuard<'_, Contents>) {
    let waker = contents.waker.take();
    drop(contents);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::Sequence;

    fn frame(sequence: u64, bytes: usize) -> Frame {
        let end = Position {
            sequence: Sequence(sequence),
            ..Position::ORIGIN
        };
        Frame {
            bytes: Bytes::from(vec![0; bytes]),
            events: 1,
            end,
        }
    }

    fn next(queue: &Queue) -> String {
        match queue.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => "pending".into(),
            Poll::Ready(Signal::Frame(frame)) => frame.end.sequence.to_string(),
            Poll::Ready(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn frames_come_out_in_order_and_a_full_queue_is_detached_and_emptied() {
        let queue = Queue::new(100, Wakings::default());
        queue.attach();
        assert!(queue.push(&[frame(1, 60)], false));
        assert_eq!(next(&queue), "1");
        assert!(queue.push(&[frame(2, 60)], false));
        assert!(queue.push(&[frame(3, 40)], false));
        assert!(!queue.push(&[frame(4, 1)], false), "the bound is reached");
        assert_eq!(next(&queue), "Detached");
        assert!(
            !queue.push(&[frame(5, 1)], false),
            "nothing comes until it is attached again"
        );
        queue.attach();
        assert!(queue.push(&[frame(6, 1)], false));
        assert_eq!(next(&queue), "6");
        assert_eq!(next(&queue), "pending");
    }

    #[test]
    fn while_memory_is_crowded_only_an_empty_queue_takes_a_frame() {
        let queue = Queue::new(100, Wakings::default());
        queue.attach();
        assert!(queue.push(&[frame(1, 1)], true));
        assert!(!queue.push(&[frame(2, 1)], true));
        assert_eq!(next(&queue), "Detached");
    }

    #[test]
    fn a_frame_above_the_bound_passes_when_nothing_else_waits() {
        let queue = Queue::new(10, Wakings::default());
        queue.attach();
        assert!(queue.push(&[frame(1, 50)], false));
        assert_eq!(next(&queue), "1");
    }

    #[test]
    fn draining_sends_what_is_queued_and_a_disconnect_does_not() {
        for (reason, expected) in [
            (EndReason::Draining, "1"),
            (EndReason::Disconnected, "End(Disconnected)"),
        ] {
            let queue = Queue::new(100, Wakings::default());
            queue.attach();
            queue.push(&[frame(1, 1)], false);
            queue.end(reason);
            assert_eq!(next(&queue), expected);
            assert_eq!(next(&queue), format!("End({reason:?})"));
        }
    }

    #[test]
    fn the_head_is_covered_only_once_everything_was_popped() {
        let queue = Queue::new(100, Wakings::default());
        let head = Position {
            sequence: Sequence(7),
            ..Position::ORIGIN
        };
        assert_eq!(queue.covers(head), None, "a detached queue covers nothing");
        queue.attach();
        queue.push(&[frame(7, 1)], false);
        assert_eq!(queue.covers(head), None);
        assert_eq!(next(&queue), "7");
        assert_eq!(queue.covers(head), Some(head));
    }
}
