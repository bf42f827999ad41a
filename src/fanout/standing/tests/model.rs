//! A subscription in a world of random events: each match comes once and in order, and every
//! progress and gap is true. The queue is the real one; log, router and clock are simple models.

use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::fanout::{queue::Queue, woken::Wakings};

/// Room for a few messages.
const QUEUE_BYTES: usize = 4 * MESSAGE_BYTES;

#[derive(Clone, Debug)]
enum Act {
    /// Events become durable. `true` is an event that matches.
    Commit(Vec<bool>),
    /// The router routes what is durable.
    Route,
    /// Retention removes this many events.
    Remove(u64),
    /// Retention will soon remove the events at the place that the client was told last.
    Ask,
    /// The log becomes available or unavailable.
    Log(bool),
    /// The read that runs ends after this many events.
    Read(u64),
    /// The router obeys the attach command.
    Attach,
    /// The client takes this many messages.
    Take(usize),
    /// Time passes.
    Tick(Duration),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => prop::collection::vec(any::<bool>(), 1..6).prop_map(Act::Commit),
        4 => Just(Act::Route),
        2 => (0u64..8).prop_map(Act::Remove),
        1 => Just(Act::Ask),
        1 => any::<bool>().prop_map(Act::Log),
        4 => (1u64..6).prop_map(Act::Read),
        4 => Just(Act::Attach),
        6 => (1usize..6).prop_map(Act::Take),
        1 => (0u64..15).prop_map(|seconds| Act::Tick(Duration::from_secs(seconds))),
    ]
}

#[derive(Clone, Debug)]
struct Begin {
    events: Vec<bool>,
    removed: u64,
    head: u64,
    covered: u64,
    moves: bool,
    action: ExpiredAction,
}

prop_compose! {
    fn begin()(
        events in prop::collection::vec(any::<bool>(), 0..12),
        places in any::<[u64; 3]>(),
        moves: bool,
        goes_on: bool,
    ) -> Begin {
        let [removed, head, covered] = places.map(|place| place % (events.len() as u64 + 1));
        let action = match goes_on {
            true => ExpiredAction::Earliest,
            false => ExpiredAction::Fail,
        };
        // A subscription that may not continue after a gap is refused if it begins before one.
        let covered = match goes_on && !moves {
            true => covered,
            false => covered.max(removed),
        };
        Begin { events, removed, head, covered, moves, action }
    }
}

struct World {
    standing: Standing,
    queue: Queue,
    /// Whether each event matches.
    log: Vec<bool>,
    /// Events up to here are removed.
    removed: u64,
    /// The log can be read and takes events.
    is_there: bool,
    head: u64,
    now: Instant,
    /// The place after which a running read began, and the place up to which it goes.
    read: Option<(u64, u64)>,
    /// The place that the router must have reached to attach.
    attach: Option<u64>,
    /// The result of the read or attach that ended.
    answer: Option<Came>,

    action: ExpiredAction,
    moves: bool,
    /// The client gets all matches after this place, except those in gaps.
    begin: u64,
    gaps: Vec<(u64, u64)>,
    /// The gap that the subscription has to tell next.
    untold: Option<u64>,
    /// The reason with which the subscription has to end now.
    must_end: Option<EndReason>,
    end: Option<EndReason>,

    got: Vec<u64>,
    covered: u64,
    told: Option<SubscriptionState>,
}

impl World {
    fn new(begin: Begin) -> Self {
        let now = Instant::now();
        let untold = (begin.covered < begin.removed).then_some(begin.removed);
        let queue = Queue::new(QUEUE_BYTES, Wakings::default());
        // The router routes what is durable before it answers.
        let joins = untold.is_none() && begin.covered >= begin.head;
        let head = if joins {
            begin.events.len() as u64
        } else {
            begin.head
        };
        if joins {
            queue.attach();
        }
        let place = Place {
            covered: position(begin.covered),
            moves: begin.moves,
            gap: untold.map(earliest),
        };
        let joined = joins.then(|| position(head));
        Self {
            standing: Standing::new(place, joined, begin.action, INTERVAL, now),
            queue,
            log: begin.events,
            removed: begin.removed,
            is_there: true,
            head,
            now,
            read: None,
            attach: None,
            answer: None,
            action: begin.action,
            moves: begin.moves,
            begin: begin.covered,
            gaps: Vec::new(),
            untold,
            must_end: None,
            end: None,
            got: Vec::new(),
            covered: begin.covered,
            told: None,
        }
    }

    /// The matches after one place and up to another.
    fn matches(&self, after: u64, through: u64) -> Vec<u64> {
        let is_match = |&event: &u64| self.log[event as usize - 1];
        (after + 1..=through).filter(is_match).collect()
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Commit(events) if self.is_there => self.log.extend(events),
            Act::Commit(_) => {}
            Act::Route => self.route(),
            Act::Remove(count) => {
                self.removed = (self.removed + count).min(self.log.len() as u64);
            }
            Act::Ask => self.queue.ask(),
            Act::Log(is_there) => {
                self.is_there = is_there;
                self.queue.nudge();
            }
            Act::Read(count) => self.read(count),
            Act::Attach => self.attach(),
            Act::Take(count) => self.take(count),
            Act::Tick(time) => self.now += time,
        }
    }

    fn route(&mut self) {
        if !self.is_there {
            return;
        }
        if self.head < self.removed {
            self.queue.detach();
            self.head = self.removed;
        }
        let through = self.log.len() as u64;
        let run = run(&self.matches(self.head, through));
        let frames: Vec<Frame> = run.frames(Sequence::ZERO, Sequence(through)).collect();
        if !frames.is_empty() {
            self.queue.push(&frames, false);
        }
        self.head = through;
    }

    fn read(&mut self, count: u64) {
        let Some((after, through)) = self.read.take() else {
            return;
        };
        self.answer = Some(if !self.is_there {
            unavailable()
        } else if after < self.removed {
            expired(self.removed)
        } else {
            let covered = through.min(after + count);
            segment(after, covered, &self.matches(after, covered))
        });
    }

    fn attach(&mut self) {
        let Some(at_least) = self.attach.take() else {
            return;
        };
        self.route();
        let joined = (self.head >= at_least).then(|| position(self.head));
        if joined.is_some() {
            self.queue.attach();
        }
        self.answer = Some(Came::Attached(joined));
    }

    /// Drives the subscription until it has sent this many messages, or waits.
    fn take(&mut self, messages: usize) {
        let mut came = Came::Nothing;
        let mut left = messages;
        let mut is_due = false;
        while left > 0 && self.end.is_none() {
            let step = self.standing.step(came, self.is_there);
            came = Came::Nothing;
            match step {
                Step::Send(frame) => {
                    assert!(self.told.is_some(), "the first message is a progress");
                    assert_eq!(self.untold, None, "first the gap");
                    self.got.extend(events(&frame));
                    left -= 1;
                    self.sent();
                }
                Step::Gap(gap) => {
                    let end = gap.before.sequence.0;
                    assert_eq!(self.untold.take(), Some(end));
                    self.gaps.push((self.covered, end));
                    left -= 1;
                    self.sent();
                }
                Step::Progress(state) => {
                    assert!(is_due || self.told != Some(state), "{state:?} again");
                    is_due = false;
                    self.told = Some(state);
                    left -= 1;
                    self.sent();
                }
                Step::Look => {
                    let head = position(self.head);
                    came = Came::Outlook(Outlook {
                        head,
                        is_attached: self.queue.is_attached(),
                        is_drained: self.queue.covers(head).is_some(),
                    });
                }
                Step::Read { after, through, .. } => {
                    assert!(self.is_idle(), "one thing at a time");
                    self.read = Some((after.sequence.0, through.sequence.0));
                }
                Step::Attach => {
                    assert!(self.is_idle(), "one thing at a time");
                    self.attach = Some(self.standing.covered().sequence.0);
                }
                Step::Detach => self.queue.detach(),
                Step::WaitForLog => {
                    assert!(!self.is_idle(), "it waits for something");
                    match self.answer.take() {
                        Some(answer) => {
                            self.expect(&answer);
                            came = answer;
                        }
                        None => came = Came::Timer(self.now),
                    }
                }
                Step::WaitForQueue => {
                    assert!(self.is_idle());
                    let live = [SubscriptionState::Stalled, SubscriptionState::Live];
                    assert_eq!(self.told, Some(live[usize::from(self.is_there)]));
                    let mut cx = Context::from_waker(Waker::noop());
                    came = match self.queue.poll_next(&mut cx) {
                        Poll::Ready(signal) => {
                            is_due = matches!(signal, Signal::Asked);
                            Came::Signal(signal)
                        }
                        Poll::Pending => Came::Timer(self.now),
                    };
                }
                Step::End(reason) => {
                    assert_eq!(self.must_end, Some(reason));
                    self.end = Some(reason);
                }
            }
            if matches!(came, Came::Timer(_)) {
                assert!(!is_due, "a progress that is due comes at once");
                is_due = self.standing.due() <= self.now;
                if !is_due {
                    return;
                }
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.read.is_none() && self.attach.is_none() && self.answer.is_none()
    }

    /// Notes what the subscription has to do after this answer.
    fn expect(&mut self, answer: &Came) {
        let Came::Read(Err(ReadError::Expired(earliest))) = answer else {
            return;
        };
        let before = earliest.before.sequence.0;
        if self.moves && self.got.is_empty() {
            self.begin = before;
        } else if self.action == ExpiredAction::Earliest {
            self.untold = Some(before);
        } else {
            self.must_end = Some(EndReason::Expired(*earliest));
        }
    }

    /// Checks after each message that all matches up to its place have come, and nothing else.
    fn sent(&mut self) {
        assert_eq!(self.must_end, None);
        self.standing.sent(self.now);
        let covered = self.standing.covered().sequence.0;
        assert!(covered >= self.covered, "cursors never go back");
        self.covered = covered;
        let mut wanted = self.matches(self.begin.min(covered), covered);
        for &(after, through) in &self.gaps {
            wanted.retain(|&event| event <= after || event > through);
        }
        assert_eq!(self.got, wanted);
    }

    /// Makes everything available again, and checks that the client gets the rest.
    fn settle(&mut self) {
        self.act(Act::Log(true));
        let acts = [
            Act::Route,
            Act::Read(20),
            Act::Attach,
            Act::Tick(INTERVAL),
            Act::Take(usize::MAX),
        ];
        for act in std::iter::repeat_n(acts, 50).flatten() {
            self.act(act);
        }
        if self.end.is_none() {
            assert_eq!(self.told, Some(SubscriptionState::Live));
            assert_eq!(self.covered, self.log.len() as u64);
        }
    }
}

proptest! {
    #[test]
    fn each_match_comes_once_in_order_whatever_happens(
        begin in begin(),
        acts in prop::collection::vec(act(), 0..60),
    ) {
        let mut world = World::new(begin);
        acts.into_iter().for_each(|act| world.act(act));
        world.settle();
    }
}
