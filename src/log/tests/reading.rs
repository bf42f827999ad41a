//! Stretches, places, and logs that have lost events.

use super::*;
use crate::{
    event::Position,
    filter::tests::selector,
    log::{Located, ReadError},
    proto::EventFilter,
};

fn only_agent(agent_id: &str) -> Selector {
    let filter = EventFilter {
        agent_ids: vec![agent_id.into()],
        ..EventFilter::default()
    };
    selector(&filter, &EventFilter::default())
}

/// The place right behind an untouched [`event`] at the sequence of its number.
fn behind(number: u64) -> Position {
    Position::of(Sequence(number), event(number).id, at(number))
}

fn gone(number: u64) -> Position {
    Position {
        sequence: Sequence(number),
        ..Position::ORIGIN
    }
}

async fn filled(home: &impl Backend, events: u64) -> Log {
    let log = home.open();
    fill(&log, 1..=events).await;
    log
}

pub(crate) async fn a_stretch_is_read_within_its_bounds<B: Backend>() {
    let home = B::new();
    let log = filled(&home, 10).await;
    let check = async |query: Query, expected: &[u64], covered: Position, complete: bool| {
        let batch = log.reader.read(query.clone()).await.unwrap();
        assert_eq!(numbers(&batch), expected, "{query:?}");
        assert_eq!(
            (batch.covered, batch.complete),
            (covered, complete),
            "{query:?}"
        );
    };
    let part = Query {
        after: Sequence(3),
        through: Sequence(7),
        ..all()
    };
    let back = Query {
        newest_first: true,
        ..part.clone()
    };
    check(part.clone(), &[4, 5, 6, 7], behind(7), true).await;
    check(back.clone(), &[7, 6, 5, 4], Position::ORIGIN, true).await;
    check(
        Query {
            events_max: 2,
            ..part.clone()
        },
        &[4, 5],
        behind(5),
        false,
    )
    .await;
    check(
        Query {
            events_max: 2,
            ..back.clone()
        },
        &[7, 6],
        behind(6),
        false,
    )
    .await;
    check(
        Query {
            events_max: 4,
            ..part.clone()
        },
        &[4, 5, 6, 7],
        behind(7),
        true,
    )
    .await;
    check(
        Query {
            events_max: 0,
            ..part.clone()
        },
        &[4],
        behind(4),
        false,
    )
    .await;
    check(
        Query {
            bytes_max: 0,
            ..part.clone()
        },
        &[4],
        behind(4),
        false,
    )
    .await;
    check(
        Query {
            after: Sequence(7),
            ..part.clone()
        },
        &[],
        behind(7),
        true,
    )
    .await;
    check(
        Query {
            after: Sequence(7),
            ..back.clone()
        },
        &[],
        Position::ORIGIN,
        true,
    )
    .await;
    check(
        Query {
            after: Sequence(10),
            ..all()
        },
        &[],
        behind(10),
        true,
    )
    .await;
    // Agent 1 has 1, 4, 7, 10.
    let selector = only_agent("agent-1");
    check(
        Query {
            selector: selector.clone(),
            ..all()
        },
        &[1, 4, 7, 10],
        behind(10),
        true,
    )
    .await;
    check(
        Query {
            selector: selector.clone(),
            ..part.clone()
        },
        &[4, 7],
        behind(7),
        true,
    )
    .await;
    check(
        Query {
            selector: selector.clone(),
            events_max: 1,
            ..back
        },
        &[7],
        behind(7),
        false,
    )
    .await;
    let selector = only_agent("nobody");
    check(Query { selector, ..part }, &[], behind(7), true).await;
}

pub(crate) async fn bytes_count_the_body_only_where_it_is_asked_for<B: Backend>() {
    let home = B::new();
    let log = home.open();
    let big = |number| {
        let mut event = event(number);
        event.raw.json = vec![b' '; 1000].into();
        event
    };
    for number in 1..=5 {
        log.appender.append(big(number)).await.unwrap();
    }
    let query = Query {
        bytes_max: 1500,
        ..all()
    };
    let batch = log.reader.read(query.clone()).await.unwrap();
    assert_eq!(numbers(&batch), [1, 2]);
    let batch = log
        .reader
        .read(Query {
            with_raw: false,
            ..query
        })
        .await
        .unwrap();
    assert_eq!(numbers(&batch), [1, 2, 3, 4, 5]);
    assert!(batch.events.iter().all(|event| event.raw.is_none()));
}

pub(crate) async fn a_body_comes_back_byte_for_byte<B: Backend>() {
    let home = B::new();
    let log = home.open();
    let bodies: [&[u8]; 5] = [
        b"{}",
        b" {\"a\" : \"\\u0000 \xe2\x9c\x93\" }\r\n",
        b"{\"nul\":\"\0\"}\0",
        b"{\"latin\":\"\xe9\xff\"}",
        b"",
    ];
    for (number, body) in (1..).zip(bodies) {
        let mut event = event(number);
        event.raw.json = body.into();
        log.appender.append(event.clone()).await.unwrap();
        let read = log.reader.get(event.id).await.unwrap().unwrap();
        assert_eq!(read.raw, Some(event.raw));
    }
    assert_eq!(log.reader.get(EventId([9; 16])).await.unwrap(), None);
}

pub(crate) async fn a_hole_is_passed_over<B: Backend>() {
    let home = B::new();
    let log = filled(&home, 9).await;
    home.erase(&[4, 5, 6, 9]);
    let batch = log.reader.read(all()).await.unwrap();
    assert_eq!(numbers(&batch), [1, 2, 3, 7, 8]);
    assert_eq!((batch.covered, batch.complete), (behind(8), true));
    let batch = log
        .reader
        .read(Query {
            through: Sequence(5),
            ..all()
        })
        .await
        .unwrap();
    assert_eq!((batch.covered, batch.complete), (behind(3), true));
    let batch = log
        .reader
        .read(Query {
            after: Sequence(5),
            ..all()
        })
        .await
        .unwrap();
    assert_eq!(numbers(&batch), [7, 8]);
    assert_eq!(log.reader.locate(Sequence(5)).await.unwrap(), Located::Hole);
    // The newest place is remembered without its event.
    assert_eq!(
        log.reader.locate(Sequence(9)).await.unwrap(),
        Located::Here(behind(9))
    );
    assert_eq!(log.reader.before_time(at(6)).await.unwrap(), behind(3));
    let bounds = log.reader.bounds().await.unwrap();
    assert_eq!((bounds.event_count, bounds.latest), (5, behind(9)));
    let appended = log.appender.append(event(10)).await.unwrap();
    assert_eq!(
        appended.sequence,
        Sequence(10),
        "a place is never given again"
    );
}

pub(crate) async fn every_place_is_told<B: Backend>() {
    let home = B::new();
    let log = filled(&home, 2).await;
    let check = async |sequence, expected| {
        assert_eq!(
            log.reader.locate(Sequence(sequence)).await.unwrap(),
            expected
        );
    };
    check(0, Located::Here(Position::ORIGIN)).await;
    check(1, Located::Here(behind(1))).await;
    check(2, Located::Here(behind(2))).await;
    check(3, Located::Beyond).await;
    check(u64::MAX, Located::Beyond).await;
}

pub(crate) async fn a_time_is_found_between_events<B: Backend>() {
    let home = B::new();
    let log = home.open();
    let check = async |time, expected| {
        assert_eq!(
            log.reader.before_time(time).await.unwrap(),
            expected,
            "{time}"
        );
    };
    check(at(1), Position::ORIGIN).await;
    fill(&log, [10, 20, 15, 30]).await;
    let place =
        |sequence, number, time| Position::of(Sequence(sequence), event(number).id, at(time));
    check(Timestamp::MIN, Position::ORIGIN).await;
    check(at(10), Position::ORIGIN).await;
    check(at(11), place(1, 10, 10)).await;
    check(at(20), place(1, 10, 10)).await;
    check(at(21), place(3, 15, 20)).await;
    check(at(31), place(4, 30, 30)).await;
    check(Timestamp::MAX, place(4, 30, 30)).await;
}

pub(crate) async fn a_log_that_lost_all_events_begins_where_it_ends<B: Backend>() {
    let home = B::new();
    let log = filled(&home, 3).await;
    home.trim(3);
    let bounds = log.reader.bounds().await.unwrap();
    assert_eq!(
        (bounds.earliest.before, bounds.latest),
        (behind(3), behind(3))
    );
    assert_eq!(
        (bounds.earliest.time, bounds.earliest_sequence),
        (None, None)
    );
    assert_eq!((bounds.event_count, bounds.event_bytes), (0, 0));
    assert!(matches!(
        log.reader.read(all()).await,
        Err(ReadError::Expired(_))
    ));
    assert_eq!(log.reader.before_time(at(1)).await.unwrap(), behind(3));
    let appended = log.appender.append(event(1)).await.unwrap();
    assert_eq!(
        (appended.sequence, appended.duplicate),
        (Sequence(4), false)
    );
}

pub(crate) async fn a_place_before_the_earliest_event_is_expired<B: Backend>() {
    let home = B::new();
    let log = filled(&home, 6).await;
    home.trim(4);
    let before = gone(4);
    let expired = |result| match result {
        Err(ReadError::Expired(earliest)) => earliest,
        other => panic!("{other:?}"),
    };
    let earliest = expired(
        log.reader
            .read(Query {
                after: Sequence(3),
                ..all()
            })
            .await,
    );
    assert_eq!((earliest.before, earliest.time), (before, Some(at(5))));
    assert_eq!(expired(log.reader.read(all()).await), earliest);
    let place = log.reader.locate(Sequence(3)).await.unwrap();
    assert_eq!(place, Located::Expired(earliest));

    let from_there = Query {
        after: earliest.before.sequence,
        ..all()
    };
    assert_eq!(numbers(&log.reader.read(from_there).await.unwrap()), [5, 6]);
    let back = Query {
        newest_first: true,
        ..all()
    };
    let batch = log.reader.read(back).await.unwrap();
    assert_eq!((numbers(&batch), batch.complete), (vec![6, 5], true));
    assert_eq!(log.reader.before_time(at(1)).await.unwrap(), before);
    assert_eq!(log.reader.get(event(2).id).await.unwrap(), None);
    let bounds = log.reader.bounds().await.unwrap();
    assert_eq!(bounds.earliest, earliest);
    assert_eq!(bounds.earliest_sequence, Some(Sequence(5)));
}
