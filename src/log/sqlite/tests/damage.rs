//! Pages of a closed file that something has overwritten.

use std::{collections::HashMap, fs::OpenOptions, os::unix::fs::FileExt, time::Instant};

use tokio::task::JoinSet;

use super::{super::verify::verify, *};
use crate::log::{Followed, Progress, ReadError};

const OLD: u64 = 3_000;
const NEW: u64 = 100;

/// Appends events, some at the same time, and returns where each was put.
async fn append(log: &Log, numbers: std::ops::Range<u64>) -> HashMap<u64, Sequence> {
    let appends = numbers.map(|number| {
        let appender = log.appender.clone();
        async move {
            let appended = appender.append(event(number)).await.unwrap();
            assert!(!appended.duplicate);
            (number, appended.sequence)
        }
    });
    let places = appends.collect::<JoinSet<_>>().join_all().await;
    places.into_iter().collect()
}

/// A closed log whose ids are in a run.
async fn closed() -> (Home, HashMap<u64, Sequence>) {
    let home = Home::new();
    let log = home.open();
    let places = append(&log, 0..OLD).await;
    log.appender.finish().await;
    let conn = Connection::open(home.file()).unwrap();
    let runs: u64 = conn
        .query_row("SELECT count(*) FROM id_runs", [], |row| row.get(0))
        .unwrap();
    assert!(runs > 0);
    (home, places)
}

/// The pages of a table or an index: its root, its first and its last leaf.
fn pages(home: &Home, name: &str) -> Vec<u64> {
    let conn = Connection::open(home.file()).unwrap();
    let sql = "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype <> 'overflow' ORDER BY path";
    let mut pages = conn.prepare(sql).unwrap();
    let pages = pages.query_map([name], |row| row.get(0)).unwrap();
    let pages: Vec<u64> = pages.map(Result::unwrap).collect();
    let mut some = vec![pages[0], pages[pages.len() / 2], pages[pages.len() - 1]];
    some.dedup();
    some
}

fn copy(of: &Home) -> Home {
    let home = Home::new();
    fs::create_dir(home.config().data_dir).unwrap();
    for entry in fs::read_dir(of.config().data_dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), home.config().data_dir.join(entry.file_name())).unwrap();
    }
    home
}

fn zero(home: &Home, page: u64) {
    let file = OpenOptions::new().write(true).open(home.file()).unwrap();
    file.write_all_at(&[0; 8192], (page - 1) * 8192).unwrap();
}

fn faults(home: &Home) -> Vec<String> {
    let data = home.config().data_dir;
    let found = verify(&data, &|_, _| None, &Progress::default()).unwrap();
    let (faults, _) = found.faults.sorted();
    let lines = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.place, fault.what));
    lines.collect()
}

#[tokio::test]
async fn a_damaged_page_of_an_index_takes_no_event_away_and_the_index_becomes_whole() {
    let (whole, places) = closed().await;
    for index in ["events_by_call", "agent_places", "id_parts", "id_runs"] {
        for page in pages(&whole, index) {
            let what = format!("page {page} of {index}");
            let home = copy(&whole);
            zero(&home, page);
            assert_ne!(faults(&home), [""; 0], "{what}");
            let log = home.open();
            let mut follower = log.followers.from(Sequence(OLD));
            let mut places = places.clone();
            places.extend(append(&log, OLD..OLD + NEW).await);
            let mut followed = 0;
            while followed < NEW {
                match follower.next().await {
                    Some(Followed::Group(group)) => followed += group.len() as u64,
                    other => panic!("{what}: {other:?}"),
                }
            }
            // What was stored before is still known.
            for number in [0, 1, OLD / 2, OLD - 1, OLD + 1] {
                let again = log.appender.append(event(number)).await.unwrap();
                assert!(again.duplicate, "{what}: {number}");
                assert_eq!(again.sequence, places[&number], "{what}");
            }
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                let left = faults(&home);
                if left.is_empty() {
                    break;
                }
                assert!(Instant::now() < deadline, "{what}: {left:?}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            log.appender.finish().await;
        }
    }
}

#[tokio::test]
async fn a_damaged_page_of_events_loses_its_own_events_only() {
    let (whole, places) = closed().await;
    let conn = Connection::open(whole.file()).unwrap();
    let leaf = "SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf'
        ORDER BY path LIMIT 1 OFFSET 20";
    let page: u64 = conn.query_row(leaf, [], |row| row.get(0)).unwrap();
    drop(conn);
    zero(&whole, page);
    let log = whole.open();
    append(&log, OLD..OLD + NEW).await;
    let mut query = Query {
        events_max: 1_000,
        ..all()
    };
    let (mut found, mut lost) = (0, Vec::new());
    loop {
        query.after = match log.reader.read(query.clone()).await {
            Ok(batch) => {
                found += batch.events.len() as u64;
                if batch.complete {
                    break;
                }
                batch.covered.sequence
            }
            Err(ReadError::Damaged {
                damage: Some(damage),
                ..
            }) => {
                lost.push(damage);
                damage.end
            }
            Err(error) => panic!("{error}"),
        };
    }
    let [damage] = lost[..] else {
        panic!("{lost:?}");
    };
    let count = damage.end.0 - damage.sequence.0 + 1;
    assert_eq!(found + count, OLD + NEW);
    let said = format!(
        "events {} to {}: cannot be read",
        damage.sequence, damage.end
    );
    assert!(
        faults(&whole).contains(&said),
        "{said}: {:?}",
        faults(&whole)
    );
    // Their ids are in a run, so none of them is taken again.
    let (number, place) = places
        .iter()
        .find(|(_, place)| **place == damage.sequence)
        .unwrap();
    let again = log.appender.append(event(*number)).await.unwrap();
    assert_eq!((again.duplicate, again.sequence), (true, *place));
}

#[tokio::test]
async fn a_flipped_bit_in_an_id_lets_no_repeat_in() {
    let (whole, _) = closed().await;
    for place in [0, 7, 8, 15] {
        let home = copy(&whole);
        let conn = Connection::open(home.file()).unwrap();
        let flipped = EventId({
            let mut id = event(4).id.0;
            id[place] ^= 1;
            id
        });
        let changed = conn.execute(
            "UPDATE events SET id = ?1 WHERE id = ?2",
            [flipped.0, event(4).id.0],
        );
        assert_eq!(changed.unwrap(), 1);
        drop(conn);
        let log = home.open();
        let appended = log.appender.append(event(4)).await.unwrap();
        assert!(appended.duplicate, "byte {place}");
    }
}
