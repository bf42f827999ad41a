//! Whatever is appended and asked, the answers are those of a list in memory.

use futures_util::future::join_all;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{event::StoredEvent, filter::Filter, proto::EventFilter};

fn any_event() -> impl Strategy<Value = NewEvent> {
    let types = [
        EventType::CallStarted,
        EventType::CallEnded,
        EventType::Other,
    ];
    (
        0..40u8,
        0..100u64,
        select(types.to_vec()),
        key(),
        key(),
        key(),
        vec(any::<u8>(), 0..50),
    )
        .prop_map(
            |(id, seconds, event_type, agent_id, call_id, status, body)| NewEvent {
                id: EventId([id; 16]),
                event: proto::Event {
                    receive_time: Some(event::timestamp(at(seconds))),
                    r#type: event_type.into(),
                    agent_id,
                    call_id,
                    status,
                    ..proto::Event::default()
                },
                event_time_given: false,
                raw: Raw {
                    json: body.into(),
                    headers: Vec::new(),
                },
            },
        )
}

fn key() -> impl Strategy<Value = String> {
    select(&["", "a", "b", "ü\"'\\", "n\0ul"][..]).prop_map(String::from)
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let types = [EventType::CallStarted, EventType::Other];
    (
        vec(select(types.to_vec()), 0..2),
        vec(key(), 0..3),
        vec(key(), 0..3),
        vec(key(), 0..2),
    )
        .prop_map(|(types, agent_ids, call_ids, statuses)| {
            Filter::new(EventFilter {
                event_types: types.into_iter().map(i32::from).collect(),
                agent_ids,
                call_ids,
                statuses,
                ..EventFilter::default()
            })
        })
}

fn any_query() -> impl Strategy<Value = Query> {
    (
        any_filter(),
        0..45u64,
        0..45u64,
        any::<bool>(),
        1..10usize,
        0..400usize,
        any::<bool>(),
    )
        .prop_map(
            |(filter, after, through, newest_first, events_max, bytes_max, with_raw)| Query {
                lane: crate::log::Lane::Far,
                filter: Arc::new(filter),
                after: Sequence(after),
                through: Sequence(through),
                newest_first,
                events_max,
                bytes_max,
                with_raw,
            },
        )
}

/// What a log without a file would hold.
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

fn expected(model: &[StoredEvent], query: &Query) -> Vec<StoredEvent> {
    let mut events: Vec<StoredEvent> = model
        .iter()
        .filter(|event| event.sequence > query.after && event.sequence <= query.through)
        .filter(|event| query.filter.matches(&event.keys))
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

/// Reads on from where each batch ended. Each one keeps to its bounds.
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_log_answers_as_a_list_would(
        events in vec(any_event(), 0..60),
        queries in vec(any_query(), 1..30),
        times in vec(0..101u64, 1..10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let home = Home::new();
            let log = home.open();
            for answer in join_all(events.iter().map(|event| log.appender.append(event.clone()))).await {
                answer.unwrap();
            }
            let model = place_all(&events);
            for query in queries {
                let found = read_on(&log, query.clone()).await;
                prop_assert_eq!(found, expected(&model, &query), "{:?}", query);
            }
            for time in times {
                let before = model.iter().rev().find(|event| event.receive_time < at(time));
                let place = log.reader.before_time(at(time)).await.unwrap();
                prop_assert_eq!(place.sequence, before.map_or(Sequence::ZERO, |event| event.sequence));
            }
            let bounds = log.reader.bounds().await.unwrap();
            let bytes: usize = model
                .iter()
                .map(|event| event.encoded.len() + event.raw.as_ref().unwrap().json.len() + "{}".len())
                .sum();
            prop_assert_eq!(bounds.event_count, model.len() as u64);
            prop_assert_eq!(bounds.event_bytes, bytes as u64);
            Ok(())
        })?;
    }
}
