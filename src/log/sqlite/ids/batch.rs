//! Events whose ids are in no run yet, by id and by agent.

use std::{collections::HashMap, fmt::Write};

use rusqlite::{Connection, params, types::ValueRef};

use super::entry::{Entry, Key};
use crate::{
    event::{EventId, Sequence},
    log::sqlite::{checksum, fault::Fault, rows::signed},
};

/// After this many bytes of agents' names a batch is full: a name can be as long as a body.
const NAMES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Stands for the agent of events that cannot be read. Whoever reads the events of an agent meets
/// them.
pub(crate) const UNKNOWN: &str = "\0";
/// How far a read looks for rows that are whole behind one that is damaged.
const AROUND: u64 = 64;

#[derive(Default)]
pub(super) struct Batch {
    places: HashMap<EventId, Sequence>,
    agents: HashMap<Box<str>, Vec<Sequence>>,
    names_bytes: usize,
    /// The newest event.
    pub(super) last: Sequence,
}

impl Batch {
    /// The id is unknown if the row cannot be read.
    pub(super) fn insert(&mut self, id: Option<EventId>, sequence: Sequence, agent: &str) {
        if let Some(id) = id {
            self.places.insert(id, sequence);
        }
        self.last = sequence;
        match self.agents.get_mut(agent) {
            Some(places) => places.push(sequence),
            None => {
                self.names_bytes += agent.len();
                self.agents.insert(agent.into(), vec![sequence]);
            }
        }
    }

    /// Where the event with this id was put. Its row may be gone.
    pub(super) fn place(&self, id: EventId) -> Option<Sequence> {
        self.places.get(&id).copied()
    }

    /// Where the events of an agent are in a stretch.
    pub(super) fn of_agent(&self, agent: &str, after: Sequence, through: Sequence) -> &[Sequence] {
        let places = self.agents.get(agent).map_or(&[][..], |places| places);
        let begin = places.partition_point(|place| *place <= after);
        let end = places.partition_point(|place| *place <= through);
        places.get(begin..end).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_full(&self, events: usize) -> bool {
        self.places.len() >= events || self.names_bytes >= NAMES_BYTES_MAX
    }

    /// The entries, sorted.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let entry = |(&id, &sequence)| Entry {
            key: Key::of(id),
            sequence,
        };
        let mut entries: Vec<Entry> = self.places.iter().map(entry).collect();
        entries.sort_unstable();
        entries
    }

    /// The rows of `agent_places`, in their order, with up to so many events each.
    pub(super) fn lists(&self, most: usize) -> Vec<List> {
        let mut agents: Vec<_> = self.agents.iter().collect();
        agents.sort_unstable();
        let lists = agents.into_iter().flat_map(|(agent, places)| {
            let rows = places.chunks(most);
            rows.map(|places| List::new(agent, places))
        });
        lists.collect()
    }

    /// Reads a stretch of the log.
    pub(super) fn read(
        conn: &Connection,
        first: Sequence,
        last: Sequence,
    ) -> rusqlite::Result<Self> {
        let mut batch = Self::default();
        rows(conn, first, last, |sequence, id, agent| {
            batch.insert(id, sequence, agent);
        })?;
        batch.last = last;
        Ok(batch)
    }
}

/// Events of one agent.
pub(super) struct List {
    pub(super) agent: Box<str>,
    pub(super) first: Sequence,
    /// A JSON array.
    sequences: String,
}

/// The places in a row of `agent_places`. None if it is not as it was written.
pub(crate) fn listed(
    agent: &str,
    first: Sequence,
    sequences: &str,
    sum: i64,
) -> Option<Vec<Sequence>> {
    if sum != list_checksum(agent, first, sequences) {
        return None;
    }
    let places: Vec<u64> = serde_json::from_str(sequences).ok()?;
    Some(places.into_iter().map(Sequence).collect())
}

fn list_checksum(agent: &str, first: Sequence, sequences: &str) -> i64 {
    checksum::of([
        ValueRef::Text(agent.as_bytes()),
        ValueRef::Integer(signed(first.0)),
        ValueRef::Text(sequences.as_bytes()),
    ])
}

impl List {
    fn new(agent: &str, places: &[Sequence]) -> Self {
        let mut sequences = String::from("[");
        for (place, before) in places
            .iter()
            .zip(std::iter::once("").chain(std::iter::repeat(",")))
        {
            // A text takes what is written.
            let _ = write!(sequences, "{before}{place}");
        }
        sequences.push(']');
        Self {
            agent: agent.into(),
            first: places.first().copied().unwrap_or_default(),
            sequences,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.agent.len() + self.sequences.len() + 16
    }

    pub(super) fn insert(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.prepare_cached(
            "INSERT OR REPLACE INTO agent_places (agent_id, first, sequences, checksum)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            self.agent,
            self.first.0,
            self.sequences,
            list_checksum(&self.agent, self.first, &self.sequences),
        ])?;
        Ok(())
    }
}

/// Reads id and agent of each event of a stretch. Of one that cannot be read, neither is known.
pub(super) fn rows(
    conn: &Connection,
    first: Sequence,
    last: Sequence,
    mut each: impl FnMut(Sequence, Option<EventId>, &str),
) -> rusqlite::Result<()> {
    let mut next = first;
    while next <= last {
        match scan(conn, &mut next, last, &mut each) {
            Ok(()) => return Ok(()),
            Err(Fault::Sqlite(error)) => return Err(error),
            Err(Fault::Damaged) => {}
        }
        tracing::warn!(sequence = next.0, "events near this place are damaged");
        for _ in 0..AROUND {
            if next <= last {
                one(conn, next, &mut each)?;
            }
            next = next.next();
        }
    }
    Ok(())
}

/// The same, up to the first damage. `next` is then the place behind the last event before it.
fn scan(
    conn: &Connection,
    next: &mut Sequence,
    last: Sequence,
    each: &mut impl FnMut(Sequence, Option<EventId>, &str),
) -> Result<(), Fault> {
    let mut statement = conn.prepare_cached(
        "SELECT sequence, id, agent_id FROM events WHERE sequence BETWEEN ?1 AND ?2
         ORDER BY sequence",
    )?;
    let mut rows = statement.query([next.0, last.0].map(signed))?;
    while let Some(row) = rows.next()? {
        let sequence = Sequence(row.get(0)?);
        let agent = row.get_ref(2)?.as_str().map_err(|_| Fault::Damaged)?;
        each(sequence, Some(EventId(row.get(1)?)), agent);
        *next = sequence.next();
    }
    Ok(())
}

/// The same for one place.
fn one(
    conn: &Connection,
    sequence: Sequence,
    each: &mut impl FnMut(Sequence, Option<EventId>, &str),
) -> rusqlite::Result<()> {
    let mut place = sequence;
    match scan(conn, &mut place, sequence, each) {
        Ok(()) => Ok(()),
        Err(Fault::Damaged) => {
            each(sequence, None, UNKNOWN);
            Ok(())
        }
        Err(Fault::Sqlite(error)) => Err(error),
    }
}
