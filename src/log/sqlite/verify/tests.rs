mod pages;

use std::{collections::BTreeMap, fs::OpenOptions, os::unix::fs::FileExt, thread, time::Duration};

use tempfile::TempDir;

use self::pages::{Free, PAGE, Pages};
use super::*;
use crate::{
    event::{EventId, NewEvent, Raw, Sequence, StoredEvent},
    filter::tests::selector,
    log::{
        Query, ReadError,
        sqlite::{connection, file::tests::open, ids::Recent, query},
        tests::all,
    },
    proto::EventFilter,
};

const EVENTS: u64 = 200;
const REMOVED: u64 = 12;

/// Numbers that look random, always the same ones (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn event(number: u64) -> NewEvent {
    let mut numbers = Numbers(number);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&numbers.next().to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    // Some need pages of their own.
    let most = [300, 2_000, 30_000][(number % 3) as usize];
    let text: String = (0..numbers.below(most))
        .map(|_| char::from(b'a' + numbers.below(26) as u8))
        .collect();
    let mut event = crate::log::tests::event(number);
    event.id = EventId(id);
    event.event.id = event.id.to_string();
    event.event.agent_id = format!("agent-{}", number % 4);
    event.event.call_id = format!("call-{:06}", number / 3);
    event.raw = Raw {
        json: format!("{{\"n\":{number},\"text\":\"{text}\"}}").into(),
        ..event.raw
    };
    event
}

/// A closed file with runs, lists, overflow pages and free pages.
fn closed() -> (TempDir, BTreeMap<u64, StoredEvent>) {
    let folder = TempDir::new().unwrap();
    let mut file = open(&folder);
    for number in 1..=EVENTS {
        file.commit([event(number).into()]).unwrap();
        // The thread that sorts gets its time.
        thread::sleep(Duration::from_millis(2));
    }
    file.change(|conn| {
        Ok(conn.execute_batch(&format!(
            "DELETE FROM events WHERE sequence <= {REMOVED};
             UPDATE log SET trimmed_sequence = {REMOVED}"
        ))?)
    })
    .unwrap();
    let count = |sql| file.read(|conn| conn.query_row(sql, [], |row| row.get::<_, u64>(0)));
    assert!(count("SELECT count(*) FROM id_runs").unwrap() > 2);
    assert!(count("SELECT count(*) FROM agent_places").unwrap() > 8);
    assert!(count("PRAGMA freelist_count").unwrap() > 2);
    file.close().unwrap();
    let events = delivered(&folder, &all()).unwrap();
    assert_eq!(events.len() as u64, EVENTS - REMOVED);
    (folder, events)
}

fn verified(folder: &TempDir) -> Result<Vec<String>, WorkError> {
    let found = verify(folder.path(), &|_, _| None, &Progress::default())?;
    let (faults, _) = found.faults.sorted();
    let lines = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.place, fault.what));
    Ok(lines.collect())
}

/// All that a reader gets, which passes what is damaged.
fn delivered(folder: &TempDir, query: &Query) -> Result<BTreeMap<u64, StoredEvent>, ReadError> {
    let conn = connection::reader(&folder.path().join("events.db"))?;
    let mut query = query.clone();
    let mut events = BTreeMap::new();
    loop {
        query.after = match query::read(&conn, &Recent::default(), &query) {
            Ok(batch) => {
                events.extend(
                    batch
                        .events
                        .into_iter()
                        .map(|event| (event.sequence.0, event)),
                );
                if batch.complete {
                    return Ok(events);
                }
                batch.covered.sequence
            }
            Err(ReadError::Damaged {
                damage: Some(damage),
                ..
            }) => damage.end,
            Err(ReadError::Expired(earliest)) if query.after == Sequence::ZERO => {
                earliest.before.sequence
            }
            Err(error) => return Err(error),
        };
    }
}

/// What is read of a damaged file is what was there, or an error.
fn delivers_nothing_else(folder: &TempDir, expected: &BTreeMap<u64, StoredEvent>, what: &str) {
    let call = |number| EventFilter {
        call_ids: vec![format!("call-{number:06}")],
        ..EventFilter::default()
    };
    let filters = [EventFilter::default(), call(20), call(60)];
    for filter in filters {
        let query = Query {
            selector: selector(&filter, &EventFilter::default()),
            ..all()
        };
        let Ok(found) = delivered(folder, &query) else {
            continue;
        };
        for (sequence, event) in found {
            let is_it = expected.get(&sequence) == Some(&event);
            assert!(is_it, "{what}: event {sequence} was delivered wrongly");
        }
    }
}

/// `FLIPPED_BITS=2000 cargo test --lib log::sqlite::verify` flips as many.
#[test]
#[expect(
    clippy::print_stdout,
    reason = "with --nocapture it says what it has found"
)]
fn each_flipped_bit_is_found_or_lies_where_nothing_is_and_none_is_delivered() {
    let bits = std::env::var("FLIPPED_BITS").map_or(200, |bits| bits.parse().unwrap());
    let (folder, events) = closed();
    assert_eq!(verified(&folder).unwrap(), [""; 0]);
    let path = folder.path().join("events.db");
    let pages = Pages::read(&path);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let length = file.metadata().unwrap().len();
    let mut numbers = Numbers(1);
    let mut counts: BTreeMap<Option<Free>, u64> = BTreeMap::new();
    for _ in 0..bits {
        let (at, bit) = (numbers.below(length), numbers.below(8));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
        let at_page = at as usize % PAGE;
        let what = format!(
            "bit {bit} of byte {at_page} of page {}",
            at as usize / PAGE + 1
        );
        let is_found = verified(&folder).map_or(true, |faults| !faults.is_empty());
        let free = pages.free(at as usize);
        assert!(is_found || free.is_some(), "{what} is not found");
        delivers_nothing_else(&folder, &events, &what);
        *counts.entry(free.filter(|_| !is_found)).or_default() += 1;
        file.write_all_at(&byte, at).unwrap();
    }
    println!("of {bits} bits: {counts:?}");
    assert!(counts[&None] > bits / 2, "{counts:?}");
    assert_eq!(verified(&folder).unwrap(), [""; 0]);
}
