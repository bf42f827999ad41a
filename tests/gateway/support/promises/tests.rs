//! Each judge sees what it is there for, in histories broken by hand.

use std::time::Duration;

use verbex_gateway::{
    inside::{
        event::{Epoch, Position, Sequence},
        log::cursor,
    },
    proto::Progress,
};

use super::*;
use crate::support::{
    bodies,
    history::{Connection, Post, Received},
};

fn cursor(sequence: u64) -> String {
    let position = Position {
        sequence: Sequence(sequence),
        ..Position::ORIGIN
    };
    cursor::encode(Epoch([7; 16]), &position)
}

fn received(at_millis: u64, covered: u64, what: What) -> Received {
    Received {
        at: Duration::from_millis(at_millis),
        cursor: cursor(covered),
        what,
    }
}

fn progress(at_millis: u64, covered: u64) -> Received {
    received(at_millis, covered, What::Progress(Progress::default()))
}

fn event(at_millis: u64, number: u64) -> Received {
    let event = Event {
        sequence: number,
        id: format!("id-{number}"),
        receive_time: Some(prost_types::Timestamp {
            seconds: i64::try_from(number).unwrap(),
            nanos: 0,
        }),
        ..post(number).event
    };
    received(at_millis, number, What::Event(Box::new(event)))
}

/// The `number`th event, which got that sequence.
fn post(number: u64) -> Post {
    let body = bodies::mixed(usize::try_from(number).unwrap());
    Post {
        event: bodies::expected(&body),
        body,
        answer: Some(Stored {
            id: format!("id-{number}"),
            sequence: number,
            duplicate: false,
        }),
    }
}

/// Six posts, one of them twice; a subscriber of all from the beginning with one reconnect, and one
/// of starts from the third on.
fn sound() -> History {
    let repeat = Post {
        answer: Some(Stored {
            duplicate: true,
            ..post(3).answer.unwrap()
        }),
        ..post(3)
    };
    let all = Subscriber {
        filter: EventFilter::default(),
        progress_interval: Duration::from_secs(1),
        connections: vec![
            Connection {
                after: None,
                received: vec![
                    progress(0, 0),
                    event(10, 1),
                    event(20, 2),
                    progress(1000, 2),
                ],
            },
            Connection {
                after: Some(cursor(2)),
                received: vec![
                    progress(9000, 2),
                    event(9010, 3),
                    event(9020, 4),
                    event(9030, 5),
                    event(9040, 6),
                ],
            },
        ],
    };
    let starts = Subscriber {
        filter: EventFilter {
            event_names: vec!["CallHandler.CallStarted".into()],
            ..EventFilter::default()
        },
        progress_interval: Duration::from_secs(1),
        connections: vec![Connection {
            after: None,
            received: vec![
                progress(0, 2),
                progress(1000, 4),
                event(1500, 5),
                progress(2500, 6),
            ],
        }],
    };
    History {
        posts: (1..=6).map(post).chain([repeat]).collect(),
        subscribers: vec![all, starts],
    }
}

fn broken(history: &History) -> Vec<&'static str> {
    let broken = PROMISES.iter().filter(|(_, judge)| judge(history).is_err());
    broken.map(|(promise, _)| *promise).collect()
}

/// Breaks the sound history, and expects that this promise is among the broken ones.
fn check(promise: &str, breaking: impl FnOnce(&mut History)) {
    let mut history = sound();
    breaking(&mut history);
    let broken = broken(&history);
    assert!(broken.contains(&promise), "{promise}: {broken:?}");
}

/// The messages of the first subscriber's second connection.
fn second(history: &mut History) -> &mut Vec<Received> {
    &mut history.subscribers[0].connections[1].received
}

fn event_of(received: &mut Received) -> &mut Event {
    match &mut received.what {
        What::Event(event) => event,
        other => panic!("not an event: {other:?}"),
    }
}

#[test]
fn a_sound_history_breaks_no_promise() {
    assert_eq!(broken(&sound()), [""; 0]);
    assert_eq!(broken(&History::default()), [""; 0]);
}

#[test]
fn disorder_is_seen() {
    let promise = "events come in strictly increasing sequence";
    check(promise, |history| second(history).swap(1, 2));
    // Over a reconnect, too.
    check(promise, |history| second(history).insert(1, event(9005, 2)));
}

#[test]
fn repeats_are_seen() {
    let promise = "no event comes twice";
    check(promise, |history| second(history).insert(2, event(9015, 3)));
    // Under a new sequence.
    check(promise, |history| {
        event_of(&mut second(history)[2]).id = "id-1".into();
    });
}

#[test]
fn losses_are_seen() {
    let promise = "what was answered with 200 and matches is delivered";
    check(promise, |history| drop(second(history).remove(1)));
    check(promise, |history| drop(second(history).pop()));
    check(promise, |history| {
        history.subscribers[1].connections[0].received.remove(2);
    });
}

#[test]
fn an_unanswered_post_may_be_delivered_or_not() {
    let mut history = sound();
    history.posts[3].answer = None;
    assert_eq!(broken(&history), [""; 0]);
    second(&mut history).remove(2);
    assert_eq!(broken(&history), [""; 0]);
}

#[test]
fn inventions_are_seen() {
    let promise = "what is delivered was posted";
    check(promise, |history| {
        event_of(&mut second(history)[1]).call_id = "another".into();
    });
}

#[test]
fn disagreement_is_seen() {
    let promise = "a sequence is the same event for everybody";
    check(promise, |history| {
        event_of(&mut second(history)[1]).id = "id-9".into();
    });
}

#[test]
fn wrong_answers_to_repeats_are_seen() {
    let promise = "a repeat is answered as the first was";
    check(promise, |history| {
        history.posts[6].answer.as_mut().unwrap().duplicate = false;
    });
    check(promise, |history| {
        history.posts[6].answer.as_mut().unwrap().sequence = 7;
    });
}

#[test]
fn what_was_not_asked_for_is_seen() {
    check("what is delivered matches the filter", |history| {
        history.subscribers[1].connections[0].received[2] = event(1500, 6);
    });
}

#[test]
fn a_stream_without_a_first_progress_is_seen() {
    check("a stream begins with a progress", |history| {
        second(history).remove(0);
    });
}

#[test]
fn a_resume_elsewhere_is_seen() {
    check("a resumed stream stands where its cursor says", |history| {
        second(history)[0] = progress(9000, 3);
    });
}

#[test]
fn a_cursor_that_goes_back_or_is_not_of_its_event_is_seen() {
    let promise = "a cursor covers its own message and never goes back";
    check(promise, |history| second(history).push(progress(9050, 5)));
    check(promise, |history| second(history)[2].cursor = cursor(5));
}

#[test]
fn progress_past_an_undelivered_match_is_seen() {
    let promise = "a progress never passes an undelivered match";
    check(promise, |history| {
        second(history).insert(1, progress(9005, 3))
    });
    check(promise, |history| {
        history.subscribers[1].connections[0].received[1] = progress(1000, 5);
    });
}

#[test]
fn silence_is_seen() {
    check("silence never lasts two progress intervals", |history| {
        second(history).push(progress(11_040, 6));
    });
}

#[test]
fn a_receive_time_that_goes_back_or_is_missing_is_seen() {
    let promise = "receive_time never decreases";
    check(promise, |history| {
        event_of(&mut second(history)[2]).receive_time = Some(prost_types::Timestamp::default());
    });
    check(promise, |history| {
        event_of(&mut second(history)[2]).receive_time = None;
    });
    check(promise, |history| {
        let position_time = Some(prost_types::Timestamp {
            seconds: 4,
            nanos: 0,
        });
        let progress = Progress {
            position_time,
            ..Progress::default()
        };
        second(history)[0].what = What::Progress(progress);
    });
}
