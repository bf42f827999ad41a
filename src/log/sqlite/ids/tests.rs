//! The ids against a model: a map of the ids whose rows are there.

mod kills;
mod sweeping;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tempfile::TempDir;

use super::{Ids, Known, Recent, TABLES, place_of};
use crate::{
    event::{EventId, Sequence},
    log::sqlite::connection,
};

/// What the index needs of the other tables.
const OTHERS: &str = "
    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY, id BLOB NOT NULL, agent_id TEXT NOT NULL,
        type, event_name, trace_id, organization_id, call_id, status, event_time, receive_time,
        raw_json, raw_headers, encoded, checksum DEFAULT 0
    );
    CREATE TABLE log (
        trimmed_sequence, base_sequence, indexed_sequence, last_sequence, unchecked_sequence
    );
    INSERT INTO log VALUES (0, 0, 0, 0, 1000000);
";

/// Ids of which many begin alike.
fn id(number: u64) -> EventId {
    let mut bytes = [0; 16];
    let key = match number % 3 {
        0 => number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        1 => u64::MAX - number % 2,
        _ => number % 5,
    };
    bytes[..8].copy_from_slice(&key.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    EventId(bytes)
}

fn agent(sequence: u64) -> String {
    format!("agent {}", sequence % 3)
}

/// A file with events and their index, and what should be in it.
struct Log {
    folder: TempDir,
    conn: Connection,
    recent: Arc<Recent>,
    ids: Ids,
    /// The events that are there, by number.
    model: BTreeMap<u64, u64>,
    last: u64,
}

impl Log {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("events.db");
        std::fs::File::create(&path).unwrap();
        let conn = connection::writer(&path).unwrap();
        conn.execute_batch(OTHERS).unwrap();
        conn.execute_batch(TABLES).unwrap();
        let recent = Arc::default();
        let ids = open(&conn, &path, &recent);
        Self {
            folder,
            conn,
            recent,
            ids,
            model: BTreeMap::new(),
            last: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }

    fn reopen(&mut self) {
        self.ids = open(&self.conn, &self.path(), &self.recent);
    }

    /// Commits a group. An event that the log has is not taken again.
    fn commit(&mut self, numbers: &[u64]) {
        let transaction =
            Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate).unwrap();
        let mut new = HashMap::new();
        for number in numbers {
            let found = self.ids.find(&self.conn, id(*number)).unwrap();
            let found = found.map(|place| place.0);
            assert_eq!(found, self.model.get(number).copied(), "{number}");
            if found.is_some() || new.contains_key(number) {
                continue;
            }
            self.last += 1;
            new.insert(*number, self.last);
            let insert = "INSERT INTO events (sequence, id, agent_id) VALUES (?1, ?2, ?3)";
            let row = params![self.last, id(*number).0, agent(self.last)];
            self.conn.execute(insert, row).unwrap();
        }
        self.conn
            .execute("UPDATE log SET last_sequence = ?1", [self.last])
            .unwrap();
        self.ids.work(&self.conn, numbers.len()).unwrap();
        transaction.commit().unwrap();
        let mut new: Vec<_> = new.into_iter().collect();
        new.sort_by_key(|(_, sequence)| *sequence);
        for (number, sequence) in new {
            let agent = agent(sequence);
            self.ids
                .insert([(id(number), Sequence(sequence), agent.as_str())]);
            self.model.insert(number, sequence);
        }
    }

    fn remove(&mut self, number: u64) {
        if let Some(sequence) = self.model.remove(&number) {
            let delete = "DELETE FROM events WHERE sequence = ?1";
            self.conn.execute(delete, [sequence]).unwrap();
        }
    }

    /// As retention does. The rows go later.
    fn trim(&mut self, through: u64) {
        self.conn
            .execute("UPDATE log SET trimmed_sequence = ?1", [through])
            .unwrap();
        self.model.retain(|_, sequence| *sequence > through);
    }

    /// Until nothing is left to do.
    fn work_off(&mut self) {
        let is_idle = |ids: &Ids| {
            ids.works.is_empty() && ids.unsorted.frozen().is_none() && ids.dead.is_empty()
        };
        loop {
            self.commit(&[]);
            self.ids.work(&self.conn, 1_000).unwrap();
            if is_idle(&self.ids) {
                self.ids.work(&self.conn, 1_000).unwrap();
                if is_idle(&self.ids) {
                    return;
                }
            }
            thread::yield_now();
        }
    }

    fn check(&mut self, numbers: u64) {
        check(
            &self.conn,
            &mut self.ids,
            &self.recent,
            &self.model,
            0..numbers,
        );
    }
}

fn open(conn: &Connection, path: &Path, recent: &Arc<Recent>) -> Ids {
    let path = path.to_owned();
    let ids = Ids::open(conn, move || connection::reader(&path), recent.clone());
    let mut ids = ids.unwrap();
    ids.mend(conn).unwrap();
    ids
}

/// Both look-ups find exactly what the model has, and so do the lists.
fn check(
    conn: &Connection,
    ids: &mut Ids,
    recent: &Recent,
    model: &BTreeMap<u64, u64>,
    numbers: Range<u64>,
) {
    for number in numbers {
        let expected = model.get(&number).map(|sequence| Sequence(*sequence));
        assert_eq!(ids.find(conn, id(number)).unwrap(), expected, "{number}");
        // With what the writer tells, and without.
        for known in [recent.of_id(id(number)), Known::default()] {
            let found = place_of(conn, &known, id(number)).unwrap();
            assert_eq!(found, expected, "{number}");
        }
    }
    check_lists(conn);
}

/// The lists name exactly the events that are there. A row at or before what was trimmed counts as
/// removed.
fn check_lists(conn: &Connection) {
    let sequences = |from: &str| -> Vec<u64> {
        let sql = format!(
            "SELECT sequence FROM ({from})
             WHERE sequence > (SELECT trimmed_sequence FROM log) ORDER BY 1"
        );
        let mut found = conn.prepare_cached(&sql).unwrap();
        let found = found.query_map([], |row| row.get(0)).unwrap();
        found.map(Result::unwrap).collect()
    };
    let listed = sequences(
        "SELECT event.sequence FROM agent_places AS place
             JOIN json_each(place.sequences) AS entry
             JOIN events AS event
                 ON event.sequence = entry.value AND event.agent_id = place.agent_id
         WHERE place.first <= (SELECT indexed_sequence FROM log)
         UNION ALL
         SELECT sequence FROM events WHERE sequence > (SELECT indexed_sequence FROM log)",
    );
    assert_eq!(listed, sequences("SELECT sequence FROM events"));
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<u64>),
    Remove(u64),
    Trim(u64),
    Reopen,
    WorkOff,
}

const NUMBERS: u64 = 400;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => vec(0..NUMBERS, 1..40).prop_map(Step::Commit),
        2 => (0..NUMBERS).prop_map(Step::Remove),
        1 => (0_u64..30).prop_map(Step::Trim),
        2 => Just(Step::Reopen),
        1 => Just(Step::WorkOff),
    ];
    vec(step, 1..120)
}

#[test]
fn ids_answer_as_a_map_would() {
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(10)
    };
    let result = TestRunner::new(config).run(&steps(), |steps| {
        let mut log = Log::new();
        let mut trimmed = 0;
        for step in steps {
            match step {
                Step::Commit(numbers) => log.commit(&numbers),
                Step::Remove(number) => log.remove(number),
                Step::Trim(more) => {
                    trimmed = log.last.min(trimmed + more);
                    log.trim(trimmed);
                }
                Step::Reopen => log.reopen(),
                Step::WorkOff => log.work_off(),
            }
        }
        log.check(NUMBERS);
        log.work_off();
        log.check(NUMBERS);
        log.reopen();
        assert!(log.ids.dead.is_empty());
        log.check(NUMBERS);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A log whose events are in runs of all tiers.
fn with_runs() -> Log {
    let mut log = Log::new();
    for group in 0..40 {
        log.commit(&Vec::from_iter(group * 10..group * 10 + 10));
        log.work_off();
    }
    assert!(log.ids.runs.len() > 1, "{}", log.ids.runs.len());
    log.check(500);
    log
}

#[test]
fn runs_are_merged_up_to_the_last_tier_and_what_they_replace_is_removed() {
    let mut log = with_runs();
    let tiers: Vec<u32> = log.ids.runs.iter().map(|live| live.run.tier).collect();
    assert_eq!(tiers[..3], [3, 3, 2]);
    assert!(
        tiers.is_sorted_by(|older, newer| older >= newer),
        "{tiers:?}"
    );
    let live: Vec<u64> = {
        let runs = log.ids.runs.iter().map(|live| live.run.number);
        let mut runs: Vec<u64> = runs.collect();
        runs.sort_unstable();
        runs
    };
    assert_eq!(super::run::with_parts(&log.conn).unwrap(), live);
    let events = Vec::from_iter(0..400);
    log.commit(&events);
    assert_eq!(log.last, 400, "none is taken again");
}

#[test]
fn what_retention_has_trimmed_loses_its_runs() {
    let mut log = with_runs();
    log.trim(350);
    log.commit(&Vec::from_iter(400..440));
    log.work_off();
    assert!(log.ids.runs[0].run.last.0 > 350);
    log.check(500);
    log.reopen();
    log.check(500);
}

#[test]
fn a_lost_index_is_made_again_from_the_events() {
    let mut log = with_runs();
    for lost in [
        "DELETE FROM id_runs",
        "DELETE FROM id_parts",
        "DELETE FROM id_runs WHERE run = (SELECT min(run) FROM id_runs)",
        "UPDATE id_runs SET entries = entries + 1",
        "UPDATE id_parts SET content = zeroblob(length(content))",
        "DELETE FROM id_runs; DELETE FROM agent_places; UPDATE log SET indexed_sequence = 0",
    ] {
        log.conn.execute_batch(lost).unwrap();
        log.reopen();
        log.check(500);
        log.reopen();
        assert!(log.ids.lost.is_empty());
        log.check(500);
        log.work_off();
    }
}

#[test]
fn damage_that_shows_in_a_look_up_hides_no_event_and_is_mended() {
    let mut log = with_runs();
    let damage = "UPDATE id_parts SET content = zeroblob(length(content))";
    log.conn.execute(damage, []).unwrap();
    log.check(500);
    assert!(!log.ids.damaged.is_empty());
    // What was not looked up is found when it is merged.
    log.commit(&Vec::from_iter(400..480));
    while !log.ids.damaged.is_empty() {
        log.work_off();
    }
    log.check(500);
    log.reopen();
    log.check(500);
}

#[test]
fn an_event_whose_row_is_damaged_is_not_taken_again() {
    let mut log = with_runs();
    let damage = "UPDATE events SET id = zeroblob(16) WHERE sequence = 4";
    log.conn.execute(damage, []).unwrap();
    assert_eq!(log.ids.find(&log.conn, id(3)).unwrap(), Some(Sequence(4)));
}

#[test]
fn two_events_with_one_id_are_met_when_their_runs_are_merged() {
    let mut log = Log::new();
    log.commit(&Vec::from_iter(0..16));
    log.work_off();
    // Another program gives new events the ids of events 4 and 7, of which one is removed.
    log.conn
        .execute_batch(
            "INSERT INTO events (sequence, id, agent_id)
                 SELECT 17, id, agent_id FROM events WHERE sequence = 4;
             INSERT INTO events (sequence, id, agent_id)
                 SELECT 18, id, agent_id FROM events WHERE sequence = 7;
             DELETE FROM events WHERE sequence = 4;
             UPDATE log SET last_sequence = 18;",
        )
        .unwrap();
    log.reopen();
    log.last = 18;
    log.commit(&Vec::from_iter(16..64));
    log.work_off();
    assert_eq!(log.ids.take_repeated(), 1);
    assert_eq!(log.ids.take_repeated(), 0);
}
