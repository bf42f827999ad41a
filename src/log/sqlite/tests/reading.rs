//! Files from which others have removed events, or into which they have written something else.

use super::*;
use crate::{
    filter::tests::selector,
    log::{Damage, Followed, Located, ReadError},
    proto::EventFilter,
};

#[tokio::test]
async fn however_events_went_from_the_front_a_place_before_the_earliest_is_expired() {
    for how in [
        "DELETE FROM events WHERE sequence <= 4",
        "UPDATE log SET trimmed_sequence = 4",
        "DELETE FROM events WHERE sequence <= 4; UPDATE log SET trimmed_sequence = 4",
    ] {
        let home = Home::new();
        let log = home.open();
        fill(&log, 1..=6).await;
        home.sql(how);
        let Err(ReadError::Expired(earliest)) = log.reader.read(all()).await else {
            panic!("{how}");
        };
        assert_eq!(earliest.before.sequence, Sequence(4), "{how}");
        let place = log.reader.locate(Sequence(3)).await.unwrap();
        assert_eq!(place, Located::Expired(earliest), "{how}");
        assert_eq!(log.reader.get(event(2).id).await.unwrap(), None, "{how}");
    }
}

#[tokio::test]
async fn a_log_that_begins_at_a_later_place_has_lost_nothing() {
    let home = Home::new();
    home.open().appender.finish().await;
    home.sql(
        "UPDATE log SET base_sequence = 1000, last_sequence = 1000, last_id = zeroblob(16),
                             last_receive_time = '2026-01-01T00:00:00.000000000Z'",
    );
    let log = home.open();
    assert!(log.reader.read(all()).await.unwrap().events.is_empty());
    fill(&log, 1..=3).await;
    assert_eq!(
        numbers(&log.reader.read(all()).await.unwrap()),
        [1001, 1002, 1003]
    );
    let mut follower = log.followers.from(Sequence::ZERO);
    let Some(Followed::Group(group)) = follower.next().await else {
        panic!("told that something was removed");
    };
    assert_eq!(group[0].sequence, Sequence(1001));

    // What lies between the origin and its beginning was in another log.
    let between = log.reader.locate(Sequence(500)).await.unwrap();
    assert!(matches!(between, Located::Expired(_)), "{between:?}");
    home.trim(1001);
    let removed = log.reader.read(all()).await;
    assert!(matches!(removed, Err(ReadError::Expired(_))), "{removed:?}");
}

#[tokio::test]
async fn a_row_that_was_not_written_here_is_damage() {
    for what in [
        "receive_time = 'yesterday'",
        "type = 'CALL_OF_CTHULHU'",
        "raw_headers = 'none'",
        "agent_id = CAST(x'ff' AS TEXT)",
    ] {
        let home = Home::new();
        let log = home.open();
        fill(&log, [1]).await;
        home.sql(&format!("UPDATE events SET {what}"));
        let result = log.reader.read(all()).await;
        assert!(
            matches!(result, Err(ReadError::Damaged { .. })),
            "{what}: {result:?}"
        );
    }
}

#[tokio::test]
async fn a_file_that_was_overwritten_is_damage() {
    let home = Home::new();
    let log = home.open();
    fill(&log, 1..=300).await;
    log.appender.finish().await;
    let log = home.open();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(home.file())
        .unwrap();
    let length = file.metadata().unwrap().len();
    let garbage = vec![0xa5; usize::try_from(length - 8192).unwrap()];
    std::os::unix::fs::FileExt::write_all_at(&file, &garbage, 8192).unwrap();
    let result = log.reader.read(all()).await;
    assert!(
        matches!(result, Err(ReadError::Damaged { .. })),
        "{result:?}"
    );
}

/// What is done to a file behind SQLite's back, or through it.
const DAMAGE: [&str; 6] = [
    "UPDATE events SET raw_json = '{\"n\":44}' WHERE sequence = 4",
    "UPDATE events SET encoded = x'00' WHERE sequence = 4",
    "UPDATE events SET id = zeroblob(16) WHERE sequence = 4",
    "UPDATE events SET agent_id = 'agent-2' WHERE sequence = 4",
    "UPDATE events SET checksum = 1 WHERE sequence = 4",
    // A row that is gone, while the log says that none is.
    "DELETE FROM events WHERE sequence = 4;
     UPDATE log SET event_count = event_count + 1",
];

/// Reads from a place on until an error or the end, and returns the events.
async fn read_on(log: &Log, mut query: Query) -> (Vec<u64>, Option<Damage>) {
    let mut found = Vec::new();
    loop {
        match log.reader.read(query.clone()).await {
            Ok(batch) => {
                found.extend(numbers(&batch));
                if batch.complete {
                    return (found, None);
                }
                match query.newest_first {
                    true => query.through = Sequence(batch.covered.sequence.0 - 1),
                    false => query.after = batch.covered.sequence,
                }
            }
            Err(ReadError::Damaged { damage, .. }) => return (found, damage),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn damage_is_named_and_all_before_and_behind_it_is_served() {
    for how in DAMAGE {
        let home = Home::new();
        let log = home.open();
        fill(&log, 1..=9).await;
        home.sql(how);
        for with_raw in [true, false] {
            let query = Query { with_raw, ..all() };
            let damage = Some(Damage::at(Sequence(4)));
            let before = read_on(&log, query.clone()).await;
            assert_eq!(before, (vec![1, 2, 3], damage), "{how}");
            let back = Query {
                newest_first: true,
                ..query.clone()
            };
            let after = read_on(&log, back).await;
            assert_eq!(after, (vec![9, 8, 7, 6, 5], damage), "{how}");
            let behind = Query {
                after: Sequence(4),
                ..query
            };
            let after = read_on(&log, behind).await;
            assert_eq!(after, (vec![5, 6, 7, 8, 9], None), "{how}");
        }
        // A cursor there still marks its place.
        let place = log.reader.locate(Sequence(4)).await.unwrap();
        assert_eq!(place, Located::Hole, "{how}");
        assert_eq!(log.reader.bounds().await.unwrap().event_count, 9, "{how}");
        // A filter cannot pass over a row that may only look as if it did not match.
        let filter = EventFilter {
            statuses: vec!["none".into()],
            ..EventFilter::default()
        };
        let selector = selector(&filter, &EventFilter::default());
        let damage = Some(Damage::at(Sequence(4)));
        let found = read_on(&log, Query { selector, ..all() }).await;
        assert_eq!(found, (vec![], damage), "{how}");
    }
}

#[tokio::test]
async fn a_follower_passes_damage_once_and_goes_on() {
    let home = Home::new();
    let log = home.open();
    fill(&log, 1..=6).await;
    home.sql("UPDATE events SET status = 'x' WHERE sequence IN (3, 4)");
    let mut follower = log.followers.from(Sequence::ZERO);
    let mut seen = Vec::new();
    while let Ok(Some(followed)) = follower.next_through(Sequence(6)).await {
        match followed {
            Followed::Group(group) => seen.extend(group.iter().map(|event| event.sequence.0)),
            Followed::Damaged(Damage { sequence, end }) => {
                assert_eq!((sequence, end), (Sequence(3), Sequence(4)));
                seen.push(0);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [1, 2, 0, 5, 6]);
}

#[tokio::test]
async fn rows_that_have_changed_their_places_are_damage() {
    let home = Home::new();
    let log = home.open();
    fill(&log, 1..=5).await;
    home.sql(
        "UPDATE events SET sequence = 99 WHERE sequence = 2;
         UPDATE events SET sequence = 2 WHERE sequence = 4;
         UPDATE events SET sequence = 4 WHERE sequence = 99",
    );
    let found = read_on(&log, all()).await;
    assert_eq!(found, (vec![1], Some(Damage::at(Sequence(2)))));
    let rest = Query {
        after: Sequence(2),
        ..all()
    };
    let found = read_on(&log, rest).await;
    assert_eq!(found, (vec![3], Some(Damage::at(Sequence(4)))));
    let get = log.reader.get(event(2).id).await;
    assert!(
        matches!(
            get,
            Err(ReadError::Damaged { damage: Some(damage), .. }) if damage.sequence == Sequence(2)
        ),
        "{get:?}"
    );
}
