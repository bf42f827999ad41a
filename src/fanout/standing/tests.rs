//! What a subscription does next, as tables. `model` tries random orders.

mod model;

use bytes::Bytes;

use super::*;
use crate::{
    event::Sequence,
    fanout::{
        frame::{Memory, Run},
        queue::Signal,
    },
};

const INTERVAL: Duration = Duration::from_secs(10);

fn position(sequence: u64) -> Position {
    Position {
        sequence: Sequence(sequence),
        ..Position::ORIGIN
    }
}

fn earliest(before: u64) -> Earliest {
    Earliest {
        before: position(before),
        time: None,
    }
}

/// One message for each of these events. It is the event's number, and more than half a frame.
fn run(events: &[u64]) -> Run {
    let message = |&event: &u64| {
        let mut bytes = event.to_be_bytes().to_vec();
        bytes.resize(MESSAGE_BYTES, 0);
        (position(event), Bytes::from(bytes))
    };
    let messages: Vec<_> = events.iter().map(message).collect();
    Run::new(&messages, &Memory::default())
}

const MESSAGE_BYTES: usize = 20 * 1024;

/// The events in a frame.
fn events(frame: &Frame) -> Vec<u64> {
    let messages = frame.bytes.chunks(MESSAGE_BYTES);
    let number = |message: &[u8]| u64::from_be_bytes(message[..8].try_into().unwrap());
    messages.map(number).collect()
}

fn segment(after: u64, covered: u64, events: &[u64]) -> Came {
    let segment = Segment::new(Sequence(after), position(covered), run(events), 0);
    Came::Read(Ok(Arc::new(segment)))
}

fn frame(event: u64) -> Came {
    let frame = run(&[event]).frames(Sequence::ZERO, Sequence(event)).next();
    Came::Signal(Signal::Frame(frame.unwrap()))
}

fn look(head: u64, is_attached: bool) -> Came {
    Came::Outlook(Outlook {
        head: position(head),
        is_attached,
        is_drained: is_attached,
    })
}

fn failed(error: ReadError) -> Came {
    Came::Read(Err(error))
}

fn unavailable() -> Came {
    failed(ReadError::Unavailable("away".into()))
}

fn expired(before: u64) -> Came {
    failed(ReadError::Expired(earliest(before)))
}

/// The step, and where the subscription then stands, as a text.
fn told(step: &Step, standing: &Standing) -> String {
    let at = standing.covered().sequence;
    match step {
        Step::Send(frame) => format!("send {:?}, at {at}", events(frame)),
        Step::Gap(_) => format!("gap, at {at}"),
        Step::Progress(state) => format!("{state:?}, at {at}"),
        Step::Look => "look".into(),
        Step::Read {
            after,
            through,
            later,
        } => {
            let when = if *later { " later" } else { "" };
            format!("read {}..={}{when}", after.sequence, through.sequence)
        }
        Step::Attach => "attach".into(),
        Step::Detach => "detach".into(),
        Step::WaitForQueue => "wait for queue".into(),
        Step::WaitForLog => "wait for log".into(),
        Step::End(reason) => format!("{reason:?}"),
    }
}

/// Checks the steps of a table: what happens, and the expected text.
fn check(standing: &mut Standing, table: Vec<(Came, &str)>) {
    for (came, expected) in table {
        let shown = format!("{came:?}");
        let step = standing.step(came, true);
        assert_eq!(told(&step, standing), expected, "{shown:.80}");
    }
}

fn standing(place: Place, joined: Option<u64>, expired: ExpiredAction) -> Standing {
    let joined = joined.map(position);
    Standing::new(place, joined, expired, INTERVAL, Instant::now())
}

fn at(sequence: u64) -> Place {
    Place::at(position(sequence))
}

/// A subscription that is live at 5.
fn live() -> Standing {
    let mut standing = standing(at(5), Some(5), ExpiredAction::Fail);
    check(
        &mut standing,
        vec![
            (Came::Nothing, "look"),
            (look(5, true), "look"),
            (look(5, true), "Live, at 5"),
            (Came::Nothing, "wait for queue"),
        ],
    );
    standing
}

/// A subscription that reads from 5 up to 9.
fn reading(place: Place, expired: ExpiredAction) -> Standing {
    let mut standing = standing(place, None, expired);
    check(
        &mut standing,
        vec![
            (Came::Nothing, "look"),
            (look(9, false), "read 5..=9"),
            (Came::Nothing, "CatchingUp, at 5"),
            (Came::Nothing, "wait for log"),
        ],
    );
    standing
}

#[test]
fn from_the_log_to_the_queue() {
    check(
        &mut reading(at(5), ExpiredAction::Fail),
        vec![
            // The next stretch is read while this one is sent.
            (segment(5, 7, &[6, 7]), "read 7..=9"),
            (Came::Nothing, "send [6], at 6"),
            (Came::Nothing, "send [7], at 7"),
            (Came::Nothing, "wait for log"),
            // Nothing to send, but the place moves.
            (segment(7, 9, &[]), "look"),
            (look(9, false), "attach"),
            (Came::Nothing, "wait for log"),
            // The router has gone on meanwhile.
            (Came::Attached(Some(position(11))), "look"),
            (look(12, true), "read 9..=11"),
            (Came::Nothing, "wait for log"),
            // The segment of another subscriber goes further.
            (segment(8, 12, &[10, 12]), "send [10], at 11"),
            (Came::Nothing, "look"),
            (look(12, true), "look"),
            (look(12, false), "Live, at 11"),
            (Came::Nothing, "wait for queue"),
            (frame(12), "send [12], at 12"),
        ],
    );
}

#[test]
fn the_segment_that_was_read_last_is_kept_until_the_subscription_is_live() {
    let read = Arc::new(Segment::new(Sequence(5), position(9), run(&[9]), 0));
    let mut standing = reading(at(5), ExpiredAction::Fail);
    check(
        &mut standing,
        vec![
            (Came::Read(Ok(read.clone())), "send [9], at 9"),
            (Came::Nothing, "look"),
            (look(9, false), "attach"),
            (Came::Attached(Some(position(9))), "look"),
        ],
    );
    assert_eq!(Arc::strong_count(&read), 2);
    check(&mut standing, vec![(look(9, true), "look")]);
    assert_eq!(Arc::strong_count(&read), 1);
}

#[test]
fn an_overflow_is_told_and_the_log_serves() {
    check(
        &mut live(),
        vec![
            (frame(6), "send [6], at 6"),
            (Came::Signal(Signal::Detached), "look"),
            (look(8, false), "read 6..=8"),
            (Came::Nothing, "CatchingUp, at 6"),
            (Came::Nothing, "wait for log"),
        ],
    );
}

#[test]
fn a_queue_that_overflows_while_the_rest_is_read_is_given_up() {
    check(
        &mut reading(at(5), ExpiredAction::Fail),
        vec![
            (segment(5, 9, &[9]), "send [9], at 9"),
            (Came::Nothing, "look"),
            (look(9, false), "attach"),
            (Came::Attached(Some(position(9))), "look"),
            (look(11, false), "detach"),
            (Came::Nothing, "look"),
            (look(11, false), "read 9..=11"),
        ],
    );
}

#[test]
fn a_log_that_is_away_is_told_once_and_tried_again() {
    check(
        &mut reading(at(5), ExpiredAction::Fail),
        vec![
            (unavailable(), "look"),
            (look(9, false), "read 5..=9 later"),
            (Came::Nothing, "Stalled, at 5"),
            (Came::Nothing, "wait for log"),
            (unavailable(), "look"),
            (look(9, false), "read 5..=9 later"),
            (Came::Nothing, "wait for log"),
            (segment(5, 7, &[]), "read 7..=9"),
            (Came::Nothing, "CatchingUp, at 7"),
            (
                failed(ReadError::Damaged {
                    damage: None,
                    what: "torn".into(),
                }),
                "Damaged(None)",
            ),
        ],
    );
    // The router cannot read the log either.
    check(
        &mut standing(at(5), None, ExpiredAction::Fail),
        vec![
            (Came::Nothing, "look"),
            (look(4, false), "attach"),
            (Came::Nothing, "CatchingUp, at 5"),
            (Came::Nothing, "wait for log"),
            (Came::Attached(None), "look"),
            (look(4, false), "attach"),
            (Came::Nothing, "Stalled, at 5"),
        ],
    );
}

#[test]
fn a_log_that_takes_no_events_stalls_those_who_are_live() {
    let mut standing = live();
    let step = standing.step(Came::Signal(Signal::Nudged), false);
    assert_eq!(told(&step, &standing), "look");
    let step = standing.step(look(5, true), false);
    assert_eq!(told(&step, &standing), "Stalled, at 5");
    check(
        &mut standing,
        vec![
            (Came::Signal(Signal::Nudged), "look"),
            (look(5, true), "Live, at 5"),
        ],
    );
}

#[test]
fn who_is_live_says_where_it_stands_when_it_is_asked() {
    check(
        &mut live(),
        vec![
            (Came::Signal(Signal::Asked), "look"),
            (look(6, true), "Live, at 6"),
            (Came::Signal(Signal::Asked), "look"),
            // What is still in the queue is not covered.
            (look(9, false), "Live, at 6"),
        ],
    );
}

#[test]
fn whoever_is_overtaken_by_retention_ends_hears_of_a_gap_or_moves() {
    let reason = EndReason::Expired(earliest(7));
    check(
        &mut reading(at(5), ExpiredAction::Fail),
        vec![(expired(7), &format!("{reason:?}"))],
    );
    check(
        &mut reading(at(5), ExpiredAction::Earliest),
        vec![
            (expired(7), "gap, at 7"),
            (Came::Nothing, "look"),
            (look(9, false), "read 7..=9"),
        ],
    );
    let movable = Place {
        moves: true,
        ..at(5)
    };
    check(
        &mut reading(movable, ExpiredAction::Fail),
        vec![
            (expired(7), "look"),
            (look(9, false), "read 7..=9"),
            (Came::Nothing, "wait for log"),
            (segment(7, 8, &[8]), "read 8..=9"),
            (Came::Nothing, "send [8], at 8"),
            // It has got an event by now.
            (expired(7), &format!("{reason:?}")),
        ],
    );
}

#[test]
fn a_gap_before_the_first_event_is_told_behind_the_first_progress() {
    let place = Place {
        gap: Some(earliest(7)),
        ..at(5)
    };
    check(
        &mut standing(place, None, ExpiredAction::Earliest),
        vec![
            (Came::Nothing, "CatchingUp, at 5"),
            (Came::Nothing, "gap, at 7"),
            (Came::Nothing, "look"),
        ],
    );
}

#[test]
fn a_gap_that_ends_behind_the_joined_head_gives_the_queue_up() {
    check(
        &mut reading(at(5), ExpiredAction::Earliest),
        vec![
            (segment(5, 9, &[]), "look"),
            (look(9, false), "attach"),
            (Came::Attached(Some(position(10))), "look"),
            (look(10, true), "read 9..=10"),
            (expired(12), "gap, at 12"),
            (Came::Nothing, "look"),
            (look(12, true), "detach"),
        ],
    );
}

#[test]
fn a_progress_comes_when_nothing_was_sent_for_the_interval() {
    let mut standing = live();
    let now = Instant::now();
    standing.sent(now);
    let due = now + INTERVAL;
    check(
        &mut standing,
        vec![
            (Came::Timer(due - Duration::from_nanos(1)), "wait for queue"),
            (Came::Timer(due), "look"),
            (look(6, true), "Live, at 6"),
        ],
    );
    standing.sent(due);
    assert_eq!(standing.due(), due + INTERVAL);
    // A subscription that reads does not look at the head.
    let mut standing = reading(at(5), ExpiredAction::Fail);
    let due = standing.due();
    check(&mut standing, vec![(Came::Timer(due), "CatchingUp, at 5")]);
}
