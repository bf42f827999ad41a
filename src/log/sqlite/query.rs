//! Reads in SQL. Each function answers from one snapshot of the file.

use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    by_agent,
    condition::{Scan, Way, has_call_index},
    ends::{self, Ends},
    fault::Fault,
    ids::{self, Known, Recent},
    rows::signed,
    set_back::SetBacks,
    walk::{Stretch, Walk},
};
use crate::{
    event::{Epoch, EventId, Position, Sequence, StoredEvent},
    log::{Batch, Bounds, Located, Query, ReadError, cursor::Cursor},
};

/// See [`super::Reader::read`].
pub(super) fn read(conn: &Connection, recent: &Recent, query: &Query) -> Result<Batch, ReadError> {
    let way = query.selector.as_filter().map(|filter| Way::of(filter));
    let known = match &way {
        // Before the snapshot: what is in runs by then is in lists that the snapshot has.
        Some(Way::Agents(agents)) => recent.of_agents(agents, query.after, query.through),
        _ => Known::default(),
    };
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    if ends.lacks(query.after) && !query.newest_first {
        return Err(ReadError::Expired(ends.earliest(&snapshot)));
    }
    let stretch = Stretch {
        after: query.after.max(ends.floor),
        through: query.through.min(ends.latest.sequence),
    };
    let mut walk = Walk::new(&snapshot, query, &ends);
    let walked = match &way {
        // No row of the stretch can match.
        None => Ok(true),
        // While the index is made anew, SQLite would read all events at once.
        Some(Way::Scan(Scan::Call(_))) if !has_call_index(&snapshot)? => {
            walk.scan(&Scan::All, &stretch)
        }
        Some(Way::Scan(scan)) => walk.scan(scan, &stretch),
        Some(Way::Agents(agents)) => by_agent::walk(&mut walk, agents, known, &stretch),
    };
    let complete = match walked {
        Err(ReadError::Damaged { damage: None, what }) => {
            tracing::error!(
                %what,
                "an index of the log is damaged; the events are read without it"
            );
            walk.scan(&Scan::All, &stretch)?
        }
        walked => walked?,
    };
    Ok(walk.batch(&stretch, complete))
}

/// See [`super::Reader::get`].
pub(super) fn get(
    conn: &Connection,
    recent: &Recent,
    id: EventId,
) -> Result<Option<StoredEvent>, ReadError> {
    // Before the snapshot: what is in runs by then is in runs that the snapshot has.
    let known = recent.of_id(id);
    let snapshot = conn.unchecked_transaction()?;
    match ids::place_of(&snapshot, &known, id)? {
        Some(sequence) => ends::at(&snapshot, sequence, true),
        None => Ok(None),
    }
}

/// See [`super::Reader::locate`].
pub(super) fn locate(conn: &Connection, sequence: Sequence) -> Result<Located, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    Ok(if sequence == Sequence::ZERO {
        Located::Here(Position::ORIGIN)
    } else if sequence > ends.latest.sequence {
        Located::Beyond
    } else if ends.lacks(sequence) {
        Located::Expired(ends.earliest(&snapshot))
    } else {
        // Of a damaged event only the place is known.
        match ends::known(&snapshot, &ends, sequence) {
            Some(position) => Located::Here(position),
            None => Located::Hole,
        }
    })
}

/// See [`super::Reader::was_known`].
pub(super) fn was_known(conn: &Connection, cursor: &Cursor) -> Result<bool, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    // Most logs were never restored.
    let restored = snapshot
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'earlier_epochs'")?
        .exists([])?;
    if !restored {
        return Ok(false);
    }
    let mut epochs =
        snapshot.prepare_cached("SELECT epoch FROM earlier_epochs WHERE last_sequence >= ?1")?;
    let mut rows = epochs.query([signed(cursor.sequence.0)])?;
    while let Some(row) = rows.next()? {
        if cursor.is_of(Epoch(row.get(0)?)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// See [`super::Reader::before_time`]. Times that count never decrease, so this is a binary search.
pub(super) fn before_time(conn: &Connection, time: Timestamp) -> Result<Position, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let (ends, backs) = (Ends::of(&snapshot)?, SetBacks::read(&snapshot)?);
    let is_before = |event: &Position| {
        let received = event.receive_time.unwrap_or_default();
        backs.counted(event.sequence, received) < time
    };
    // Events up to `before` came before `time`; from `from` on, none did.
    let mut before = ends.floor;
    let mut from = ends.latest.sequence.next();
    while before.next() < from {
        let middle = Sequence(before.0 + (from.0 - before.0) / 2);
        match ends::readable_from(&snapshot, middle, from) {
            Some(event) if is_before(&event) => before = event.sequence,
            _ => from = middle,
        }
    }
    Ok(ends::place(&snapshot, &ends, before))
}

/// See [`super::Reader::bounds`].
pub(super) fn bounds(conn: &Connection) -> Result<Bounds, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    let (event_count, event_bytes) = snapshot
        .prepare_cached("SELECT event_count, event_bytes FROM log")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Bounds {
        earliest: ends.earliest(&snapshot),
        earliest_sequence: (ends.floor < ends.latest.sequence).then(|| ends.first(&snapshot)),
        latest: ends.latest,
        event_count,
        event_bytes,
    })
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string().into();
        match Fault::from(error) {
            Fault::Damaged => Self::Damaged {
                damage: None,
                what: text,
            },
            Fault::Sqlite(_) => Self::Unavailable(text),
        }
    }
}
