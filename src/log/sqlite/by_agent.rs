//! The events of some agents.
//!
//! Lists in `agent_places` say where the events up to `indexed_sequence` are, and the memory of the
//! writer says it of those behind them. What neither knows is read row by row. An event may be gone
//! whose place they say.

use std::{cmp::Reverse, collections::BinaryHeap, vec};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    condition::Scan,
    ids::{self, Known},
    rows::signed,
    walk::{Stretch, Walk, damaged},
};
use crate::{event::Sequence, log::ReadError};

/// Looks at the events of these agents in a stretch. Returns whether it has looked at all of them.
pub(super) fn walk(
    walk: &mut Walk<'_>,
    agents: &[String],
    known: Known,
    stretch: &Stretch,
) -> Result<bool, ReadError> {
    let back = walk.query.newest_first;
    let indexed = walk
        .conn
        .prepare_cached("SELECT indexed_sequence FROM log")?
        .query_row([], |row| row.get(0).map(Sequence))?;
    let through = known.reach(indexed.max(walk.ends.floor)).max(indexed);
    let middle = through.min(stretch.through).max(stretch.after);
    let rest = Stretch {
        after: middle,
        ..*stretch
    };
    if back && !walk.scan(&Scan::All, &rest)? {
        return Ok(false);
    }
    let lists = Stretch {
        through: middle.min(indexed),
        ..*stretch
    };
    let lists = Lists::new(walk.conn, agents, lists, back);
    let known = known.places.into_iter();
    let known = known.filter(|place| *place > indexed.max(stretch.after) && *place <= middle);
    let is_through = match back {
        true => walk.places(known.rev().map(Ok).chain(lists))?,
        false => walk.places(lists.chain(known.map(Ok)))?,
    };
    Ok(is_through && (back || walk.scan(&Scan::All, &rest)?))
}

/// The places that the lists of some agents have in a stretch, in the direction of the read.
struct Lists<'c> {
    conn: &'c Connection,
    /// The agents whose lists were not begun yet.
    agents: vec::IntoIter<&'c str>,
    lists: Vec<List<'c>>,
    /// The next place of each list, as a number that grows in the direction of the read.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    stretch: Stretch,
    back: bool,
    last: Option<Sequence>,
}

impl<'c> Lists<'c> {
    fn new(conn: &'c Connection, agents: &'c [String], stretch: Stretch, back: bool) -> Self {
        let agents = agents.iter().map(String::as_str).chain([ids::UNKNOWN]);
        Self {
            conn,
            agents: match stretch.is_empty() {
                true => Vec::new(),
                false => agents.collect(),
            }
            .into_iter(),
            lists: Vec::new(),
            heads: BinaryHeap::new(),
            stretch,
            back,
            last: None,
        }
    }

    /// Takes the next place of a list.
    fn advance(&mut self, number: usize) -> Result<(), ReadError> {
        let Stretch { after, through } = self.stretch;
        while let Some(place) = self.lists[number].next(self.back)? {
            let (is_before, is_behind) = match self.back {
                true => (place > through, place <= after),
                false => (place <= after, place > through),
            };
            if is_behind {
                break;
            }
            if !is_before {
                let order = match self.back {
                    true => u64::MAX - place.0,
                    false => place.0,
                };
                self.heads.push(Reverse((order, number)));
                break;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Option<Sequence>, ReadError> {
        while let Some(agent) = self.agents.next() {
            let list = List::new(self.conn, agent, &self.stretch, self.back)?;
            self.lists.push(list);
            self.advance(self.lists.len() - 1)?;
        }
        let Some(Reverse((order, number))) = self.heads.pop() else {
            return Ok(None);
        };
        let place = match self.back {
            true => Sequence(u64::MAX - order),
            false => Sequence(order),
        };
        let is_next = self.last.is_none_or(|last| match self.back {
            true => place < last,
            false => place > last,
        });
        if !is_next {
            return Err(damaged("lists of agents have a place twice"));
        }
        self.last = Some(place);
        self.advance(number)?;
        Ok(Some(place))
    }
}

impl Iterator for Lists<'_> {
    type Item = Result<Sequence, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// The lists of one agent, one after the other.
struct List<'c> {
    conn: &'c Connection,
    agent: &'c str,
    /// Where the list begins that is being read.
    first: Sequence,
    places: vec::IntoIter<Sequence>,
}

impl<'c> List<'c> {
    /// Begins with the list that reaches into the stretch.
    fn new(
        conn: &'c Connection,
        agent: &'c str,
        stretch: &Stretch,
        back: bool,
    ) -> Result<Self, ReadError> {
        let from = match back {
            true => stretch.through,
            false => stretch.after.next(),
        };
        let mut list = Self {
            conn,
            agent,
            first: from,
            places: Vec::new().into_iter(),
        };
        list.load(from, true)?;
        Ok(list)
    }

    fn next(&mut self, back: bool) -> Result<Option<Sequence>, ReadError> {
        loop {
            let place = match back {
                true => self.places.next_back(),
                false => self.places.next(),
            };
            if place.is_some() {
                return Ok(place);
            }
            let from = match back {
                true => Sequence(self.first.0.saturating_sub(1)),
                false => self.first.next(),
            };
            if !self.load(from, back)? {
                return Ok(None);
            }
        }
    }

    /// Reads the next list from a place on. Returns whether there is one.
    fn load(&mut self, from: Sequence, back: bool) -> Result<bool, ReadError> {
        let sql = match back {
            true => {
                "SELECT first, sequences, checksum FROM agent_places
                 WHERE agent_id = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1"
            }
            false => {
                "SELECT first, sequences, checksum FROM agent_places
                 WHERE agent_id = ?1 AND first >= ?2 ORDER BY first LIMIT 1"
            }
        };
        let read = |row: &rusqlite::Row<'_>| {
            let first = Sequence(row.get(0)?);
            let text = row.get_ref(1)?.as_str()?;
            Ok((first, ids::listed(self.agent, first, text, row.get(2)?)))
        };
        let found = self
            .conn
            .prepare_cached(sql)?
            .query_row(params![self.agent, signed(from.0)], read)
            .optional()?;
        let Some((first, places)) = found else {
            return Ok(false);
        };
        self.first = first;
        self.places = places
            .ok_or_else(|| damaged("a list of an agent is damaged"))?
            .into_iter();
        Ok(true)
    }
}
