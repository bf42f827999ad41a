//! A group before its commit: which of its events are new, and where they are put.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection};

use super::{
    ids::Ids,
    rows::{self, Prepared},
    trouble::Trouble,
};
use crate::{
    event::{EventId, Position, Sequence, StoredEvent},
    log::appender::Appended,
};

/// A group that is durable.
pub(super) struct Committed {
    /// An answer for each event of the group, in its order.
    pub(super) answers: Vec<Appended>,
    /// Those that are new.
    pub(super) events: Vec<StoredEvent>,
}

/// The rows of a group before its commit.
pub(super) struct Draft<'t> {
    conn: &'t Connection,
    /// The ids that the log has without this draft.
    ids: &'t mut Ids,
    new: HashMap<EventId, Sequence>,
    insert: CachedStatement<'t>,
    /// Where the log ends if these rows are committed.
    pub(super) last: Position,
    /// What counts for the new rows.
    pub(super) bytes: u64,
    pub(super) committed: Committed,
}

impl<'t> Draft<'t> {
    pub(super) fn new(
        conn: &'t Connection,
        ids: &'t mut Ids,
        last: Position,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            ids,
            new: HashMap::new(),
            insert: conn.prepare_cached(&rows::INSERT)?,
            last,
            bytes: 0,
            committed: Committed {
                answers: Vec::new(),
                events: Vec::new(),
            },
        })
    }

    /// Adds an event after the last one, unless the log already has it. The one that it has may be
    /// a row of this draft.
    pub(super) fn insert(
        &mut self,
        event: Prepared,
        sequence: Sequence,
        receive_time: Option<Timestamp>,
    ) -> Result<(), Trouble> {
        let id = event.event.id;
        let first = match self.new.get(&id) {
            Some(place) => Some(*place),
            None => self.ids.find(self.conn, id)?,
        };
        self.committed.answers.push(Appended {
            id,
            sequence: first.unwrap_or(sequence),
            duplicate: first.is_some(),
        });
        if first.is_some() {
            return Ok(());
        }
        if sequence <= self.last.sequence {
            return Err(Trouble::OutOfOrder {
                sequence,
                last: self.last.sequence,
            });
        }
        let receive_time = receive_time.max(self.last.receive_time).unwrap_or_default();
        let (event, size) = rows::insert(&mut self.insert, event, sequence, receive_time)?;
        self.bytes += size;
        self.last = event.position();
        self.new.insert(id, sequence);
        self.committed.events.push(event);
        Ok(())
    }
}
