//! Runs and lists against the events.

use std::{
    collections::{HashMap, HashSet},
    hash::Hasher,
};

use rusqlite::{Connection, OptionalExtension};
use twox_hash::XxHash3_64;

use super::{
    batch,
    entry::{Entry, Key},
    filter::Filter,
    job::{self, End},
    run::{self, Entries, Parts, Run},
};
use crate::{
    event::{EventId, Sequence, StoredEvent},
    log::sqlite::{
        fault::Fault,
        faults::{Faults, Place, Remedy},
        rows::signed,
    },
};

/// What the runs say of a stretch of the log.
pub(crate) struct Places {
    keys: HashMap<Sequence, Key>,
    /// The stretches of the runs that could be read.
    read: Vec<(Sequence, Sequence)>,
}

impl Places {
    /// Of the events behind `after`, up to `through`. [`runs`] tells of runs that cannot be read.
    pub(crate) fn of(
        conn: &Connection,
        after: Sequence,
        through: Sequence,
    ) -> rusqlite::Result<Self> {
        let mut places = Self {
            keys: HashMap::new(),
            read: Vec::new(),
        };
        let runs = unless_damaged(Run::all(conn))?.unwrap_or_default();
        for run in runs {
            if run.last <= after || run.first > through {
                continue;
            }
            let mut entries = Entries::of(conn, run);
            let mut read = || {
                while let Some(entry) = entries.next()? {
                    if (after.next()..=through).contains(&entry.sequence) {
                        places.keys.insert(entry.sequence, entry.key);
                    }
                }
                Ok(())
            };
            if unless_damaged(read())?.is_some() {
                places.read.push((run.first, run.last));
            }
        }
        Ok(places)
    }

    pub(crate) fn event(&mut self, event: &StoredEvent, faults: &mut Faults) {
        let sequence = event.sequence;
        let is_read = |(first, last): &(Sequence, Sequence)| (first..=last).contains(&&sequence);
        match self.keys.remove(&sequence) {
            Some(key) if key == Key::of(event.id) => {}
            Some(_) => faults.index_of(sequence, "the index of ids has another id for it"),
            None if self.read.iter().any(is_read) => {
                faults.index_of(sequence, "the index of ids does not have it");
            }
            None => {}
        }
    }
}

/// The events of a stretch, to be found in the lists of their agents.
#[derive(Default)]
pub(crate) struct Lists(HashMap<Sequence, u64>);

impl Lists {
    pub(crate) fn event(&mut self, event: &StoredEvent, agent: &str) {
        self.0.insert(event.sequence, hash(agent));
    }

    /// Looks for all of them, which lie behind `after`, up to `through`.
    pub(crate) fn check(
        mut self,
        conn: &Connection,
        after: Sequence,
        through: Sequence,
        faults: &mut Faults,
    ) -> rusqlite::Result<()> {
        let looked = unless_damaged(self.look(conn, after, through, faults))?;
        if looked.is_none() {
            faults.index("agent_places", "cannot be read");
            return Ok(());
        }
        let mut left: Vec<Sequence> = self.0.into_keys().collect();
        left.sort_unstable();
        for sequence in left {
            faults.index_of(sequence, "no list of its agent has it");
        }
        Ok(())
    }

    fn look(
        &mut self,
        conn: &Connection,
        after: Sequence,
        through: Sequence,
        faults: &mut Faults,
    ) -> Result<(), Fault> {
        let mut found = HashSet::new();
        let unknown = hash(batch::UNKNOWN);
        let mut lists = conn.prepare_cached(
            "SELECT agent_id, first, sequences, checksum FROM agent_places
             WHERE first <= min(?1, (SELECT indexed_sequence FROM log))",
        )?;
        let mut lists = lists.query([signed(through.0)])?;
        while let Some(row) = lists.next()? {
            let text = row.get_ref(2)?.as_str().map_err(|_| Fault::Damaged)?;
            // Most lists lie before the stretch, and need not be read.
            let last = text.trim_end_matches(']').rsplit([',', '[']).next();
            let last = last.and_then(|last| last.parse().ok());
            if last.is_some_and(|last: u64| last <= after.0) {
                continue;
            }
            let first: u64 = row.get(1)?;
            let agent = row.get_ref(0)?.as_str().map_err(|_| Fault::Damaged)?;
            let Some(list) = batch::listed(agent, Sequence(first), text, row.get(3)?) else {
                let what = format_args!("the list that begins with event {first} is damaged");
                faults.index("agent_places", what);
                continue;
            };
            let agent = hash(agent);
            for sequence in list {
                match self.0.get(&sequence) {
                    // The agent could not be read when the list was written.
                    Some(known) if *known == agent || agent == unknown => {
                        self.0.remove(&sequence);
                        found.insert(sequence);
                    }
                    Some(_) => faults.index_of(sequence, "a list of another agent has it"),
                    None if found.contains(&sequence) => {
                        faults.index_of(sequence, "two lists have it");
                    }
                    // It may have been removed since.
                    None => {}
                }
            }
        }
        Ok(())
    }
}

/// A name can be as long as a body, so it is not kept.
fn hash(agent: &str) -> u64 {
    let mut hasher = XxHash3_64::new();
    hasher.write(agent.as_bytes());
    hasher.finish()
}

/// Checks the runs themselves, and that no two events have one id.
pub(crate) fn runs(conn: &Connection, faults: &mut Faults) -> Result<(), Fault> {
    let snapshot = conn.unchecked_transaction()?;
    let [removed, indexed, last] = snapshot.query_row(
        "SELECT max(base_sequence, trimmed_sequence), indexed_sequence, last_sequence FROM log",
        [],
        |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?].map(Sequence)),
    )?;
    let rows: usize = snapshot.query_row("SELECT count(*) FROM id_runs", [], |row| row.get(0))?;
    let runs = Run::all(&snapshot)?;
    if runs.len() != rows {
        faults.index(
            "id_runs",
            format_args!("{} rows are damaged", rows - runs.len()),
        );
    }
    let mut covered = removed;
    for run in &runs {
        if run.first > covered.next() {
            lacking(covered.next(), Sequence(run.first.0 - 1), faults);
        }
        covered = covered.max(run.last);
    }
    if covered < indexed {
        lacking(covered.next(), indexed, faults);
    } else if covered > indexed.max(removed) {
        faults.log("log.indexed_sequence is not where the runs of ids end");
    }
    parts(&snapshot, faults)?;
    for run in &runs {
        if unless_damaged(is_whole(&snapshot, *run))? != Some(true) {
            let what = format_args!("run {} is damaged", run.number);
            faults.index("id_parts", what);
        }
    }
    repeats(&snapshot, &runs, indexed.max(removed), last, faults)?;
    Ok(())
}

fn lacking(first: Sequence, last: Sequence, faults: &mut Faults) {
    let what = "no run of ids has it";
    faults.push(Place::Events(first, last), what, Remedy::Remake);
}

/// The checksum of each part, also of those that nobody looks into any more.
fn parts(conn: &Connection, faults: &mut Faults) -> Result<(), Fault> {
    let mut all = conn.prepare("SELECT place, content FROM id_parts ORDER BY place")?;
    let mut all = all.query([])?;
    while let Some(row) = all.next()? {
        if unless_damaged(run::content(row).map(|_| ()))?.is_none() {
            let place: i64 = row.get(0)?;
            faults.index("id_parts", format_args!("the part at {place} is damaged"));
        }
    }
    Ok(())
}

/// Whether the entries of a run are in their order, and its filter is theirs.
fn is_whole(conn: &Connection, run: Run) -> Result<bool, Fault> {
    let mut filter = Filter::new(run.entries);
    let mut entries = Entries::of(conn, run);
    let mut before = None;
    while let Some(entry) = entries.next()? {
        if before >= Some(entry) {
            return Ok(false);
        }
        before = Some(entry);
        filter.insert(entry.key);
    }
    let mut stored = Vec::new();
    let mut pieces = Parts::filter(conn, run.number);
    while let Some(piece) = pieces.next()? {
        stored.extend(piece);
    }
    Ok(stored == filter.bytes())
}

/// Looks for events with one id: their keys are neighbours.
fn repeats(
    conn: &Connection,
    runs: &[Run],
    indexed: Sequence,
    last: Sequence,
    faults: &mut Faults,
) -> rusqlite::Result<()> {
    let mut tail = Vec::new();
    batch::rows(conn, indexed.next(), last, |sequence, id, _| {
        let key = id.map(Key::of);
        tail.extend(key.map(|key| Entry { key, sequence }));
    })?;
    tail.sort_unstable();
    let mut tail = tail.into_iter().peekable();
    let mut alike: Vec<Entry> = Vec::new();
    let mut take = |entry: Entry| -> rusqlite::Result<()> {
        if alike.last().is_some_and(|last| last.key != entry.key) {
            compare(conn, &alike, faults)?;
            alike.clear();
        }
        alike.push(entry);
        Ok(())
    };
    let merged = job::merge(conn, runs, |entry| {
        while let Some(newer) = tail.next_if(|newer| *newer < entry) {
            take(newer)?;
        }
        Ok(take(entry)?)
    });
    match merged {
        // It was told before.
        Ok(()) | Err(End::Damaged(_) | End::Unwanted) => {}
        Err(End::Failed(error)) => return Err(error),
    }
    tail.try_for_each(&mut take)?;
    compare(conn, &alike, faults)
}

/// Compares the ids of events whose keys are the same.
fn compare(conn: &Connection, alike: &[Entry], faults: &mut Faults) -> rusqlite::Result<()> {
    if alike.len() < 2 {
        return Ok(());
    }
    let mut first_with: HashMap<EventId, Sequence> = HashMap::new();
    for entry in alike {
        let id = conn
            .prepare_cached(
                "SELECT id FROM events
                 WHERE sequence = ?1 AND sequence > (SELECT trimmed_sequence FROM log)",
            )?
            .query_row([signed(entry.sequence.0)], |row| row.get(0))
            .optional();
        let Some(id) = unless_damaged(id.map_err(Fault::from))?.flatten() else {
            continue;
        };
        let first = *first_with.entry(EventId(id)).or_insert(entry.sequence);
        if first != entry.sequence {
            let place = Place::Events(entry.sequence, entry.sequence);
            let what = format_args!("has the id of event {first}");
            faults.push(place, what, Remedy::Nothing);
        }
    }
    Ok(())
}

/// None if it is damaged.
fn unless_damaged<T>(result: Result<T, Fault>) -> rusqlite::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Fault::Damaged) => Ok(None),
        Err(Fault::Sqlite(error)) => Err(error),
    }
}
