//! A group before its commit: which of its events are new, and where they are put.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    ids::Ids,
    rows::{Placed, Prepared},
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

/// The rows of a group before its commit. They are put together before its transaction: in one that
/// has met damage SQLite writes nothing.
pub(super) struct Draft<'f> {
    conn: &'f Connection,
    /// The ids that the log has without this draft.
    ids: &'f mut Ids,
    new: HashMap<EventId, Sequence>,
    /// Where the log ends without this draft.
    before: Position,
    /// The receive time that the next row has at least.
    floor: Option<Timestamp>,
    answers: Vec<Appended>,
    rows: Vec<Placed>,
}

/// What a draft has come to.
pub(super) struct Drafted {
    pub(super) answers: Vec<Appended>,
    pub(super) rows: Vec<Placed>,
}

impl<'f> Draft<'f> {
    pub(super) fn new(
        conn: &'f Connection,
        ids: &'f mut Ids,
        before: Position,
        floor: Option<Timestamp>,
    ) -> Self {
        Self {
            conn,
            ids,
            new: HashMap::new(),
            before,
            floor,
            answers: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Where the log ends if these rows are committed.
    pub(super) fn last(&self) -> Position {
        let last = self.rows.last();
        last.map_or(self.before, |row| row.event.position())
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
        self.answers.push(Appended {
            id,
            sequence: first.unwrap_or(sequence),
            duplicate: first.is_some(),
        });
        if first.is_some() {
            return Ok(());
        }
        let last = self.last();
        if sequence <= last.sequence {
            return Err(Trouble::OutOfOrder {
                sequence,
                last: last.sequence,
            });
        }
        let receive_time = receive_time.max(self.floor).unwrap_or_default();
        self.floor = Some(receive_time);
        self.rows.push(Placed::new(event, sequence, receive_time));
        self.new.insert(id, sequence);
        Ok(())
    }

    pub(super) fn finish(self) -> Drafted {
        Drafted {
            answers: self.answers,
            rows: self.rows,
        }
    }
}

impl Drafted {
    pub(super) fn committed(self) -> Committed {
        Committed {
            answers: self.answers,
            events: self.rows.into_iter().map(|row| row.event).collect(),
        }
    }
}
