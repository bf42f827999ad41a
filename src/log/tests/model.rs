//! Whatever is appended and read, the log answers as a list in memory would.

use futures_util::future::join_all;
use proptest::{collection::vec, prelude::*};
use prost::Message;

use super::*;
use crate::{
    event::StoredEvent,
    filter::tests::{any_event, any_filter, any_scope, is_returned, selector},
    proto::EventFilter,
};

fn any_new_event() -> impl Strategy<Value = NewEvent> {
    (0..40u8, 0..100u64, any_event(), vec(any::<u8>(), 0..50)).prop_map(
        |(id, seconds, event, body)| NewEvent {
            id: EventId([id; 16]),
            event: proto::Event {
                receive_time: Some(event::timestamp(at(seconds))),
                ..event
            },
            event_time_given: false,
            raw: Raw {
                json: body.into(),
                headers: Vec::new(),
            },
        },
    )
}

/// What a caller asks for and may read, and a query for it.
#[derive(Clone, Debug)]
struct Asked {
    filter: EventFilter,
    scope: EventFilter,
    query: Query,
}

fn any_query() -> impl Strategy<Value = Asked> {
    (
        any_filter(),
        any_scope(),
        0..45u64,
        0..45u64,
        any::<bool>(),
        1..10usize,
        0..400usize,
        any::<bool>(),
    )
        .prop_map(
            |(filter, scope, after, through, newest_first, events_max, bytes_max, with_raw)| {
                let query = Query {
                    lane: Lane::Far,
                    selector: selector(&filter, &scope),
                    after: Sequence(after),
                    through: Sequence(through),
                    newest_first,
                    events_max,
                    bytes_max,
                    with_raw,
                };
                Asked {
                    filter,
                    scope,
                    query,
                }
            },
        )
}

/// What an ideal log in memory would hold.
fn place_all(events: &[NewEvent]) -> Vec<StoredEvent> {
    let mut placed: Vec<StoredEvent> = Vec::new();
    for event in events {
        if placed.iter().any(|before| before.id == event.id) {
            continue;
        }
        let seen = event.event.receive_time.unwrap();
        let seen = Timestamp::from_second(seen.seconds).unwrap();
        let time = placed
            .last()
            .map_or(seen, |last| seen.max(last.receive_time));
        let sequence = placed.len() as u64 + 1;
        placed.push(event.clone().place(Sequence(sequence), time));
    }
    placed
}

fn expected(model: &[StoredEvent], asked: &Asked) -> Vec<StoredEvent> {
    let Asked {
        filter,
        scope,
        query,
    } = asked;
    let decoded = |stored: &StoredEvent| proto::Event::decode(stored.encoded.clone()).unwrap();
    let mut events: Vec<StoredEvent> = model
        .iter()
        .filter(|event| event.sequence > query.after && event.sequence <= query.through)
        .filter(|event| is_returned(filter, scope, &decoded(event)))
        .cloned()
        .collect();
    if query.newest_first {
        events.reverse();
    }
    if !query.with_raw {
        events.iter_mut().for_each(|event| event.raw = None);
    }
    events
}

/// Reads on from where each batch ended, and checks that each batch keeps within its bounds.
async fn read_on(log: &Log, mut query: Query) -> Vec<StoredEvent> {
    let size = |event: &StoredEvent| {
        event.encoded.len() + event.raw.as_ref().map_or(0, |raw| raw.json.len())
    };
    let mut events = Vec::new();
    loop {
        let batch = log.reader.read(query.clone()).await.unwrap();
        assert!(batch.events.len() <= query.events_max);
        let but_last = batch.events.split_last().map_or(&[][..], |(_, rest)| rest);
        assert!(but_last.iter().map(size).sum::<usize>() <= query.bytes_max);
        events.extend(batch.events);
        if batch.complete {
            return events;
        }
        match query.newest_first {
            true => query.through = Sequence(batch.covered.sequence.0 - 1),
            false => {
                assert!(batch.covered.sequence > query.after, "it gets on");
                query.after = batch.covered.sequence;
            }
        }
    }
}

pub(crate) fn the_log_answers_as_a_list_would<B: Backend>() {
    let case = (
        vec(any_new_event(), 0..60),
        vec(any_query(), 1..30),
        vec(0..101u64, 1..10),
    );
    property(24, &case, async |(events, queries, times)| {
        let home = B::new();
        let log = home.open();
        for answer in join_all(
            events
                .iter()
                .map(|event| log.appender.append(event.clone())),
        )
        .await
        {
            answer.unwrap();
        }
        let model = place_all(&events);
        for asked in queries {
            let found = read_on(&log, asked.query.clone()).await;
            assert_eq!(found, expected(&model, &asked), "{asked:?}");
        }
        for time in times {
            let before = model
                .iter()
                .rev()
                .find(|event| event.receive_time < at(time));
            let place = log.reader.before_time(at(time)).await.unwrap();
            assert_eq!(
                place.sequence,
                before.map_or(Sequence::ZERO, |event| event.sequence)
            );
        }
        let bounds = log.reader.bounds().await.unwrap();
        let bytes: usize = model
            .iter()
            .map(|event| event.encoded.len() + event.raw.as_ref().unwrap().json.len() + "{}".len())
            .sum();
        assert_eq!(bounds.event_count, model.len() as u64);
        assert_eq!(bounds.event_bytes, bytes as u64);
    });
}
