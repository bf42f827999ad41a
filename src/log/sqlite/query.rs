//! Reading, in SQL: each function answers from one snapshot of the file.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params_from_iter, types::Value};

use super::rows::{self, EventColumns};
use crate::{
    event::{EventId, Position, Sequence, StoredEvent},
    filter::Filter,
    log::{Batch, Bounds, Earliest, Located, Query, ReadError, SCAN_ROWS_MAX},
};

/// See [`super::Reader::read`].
pub(super) fn read(conn: &Connection, query: &Query) -> Result<Batch, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    if query.after < ends.floor && !query.newest_first {
        return Err(ReadError::Expired(ends.earliest()));
    }
    let after = query.after.max(ends.floor);
    let Some((first, last)) = stretch(&snapshot, after, query.through)? else {
        let covered = match query.newest_first {
            true => Position::ORIGIN,
            false => place(&snapshot, &ends, after)?,
        };
        return Ok(Batch {
            events: Vec::new(),
            covered,
            complete: true,
        });
    };
    let selection = Selection::of(&query.filter);
    let window = match query.newest_first {
        _ if selection.walks_an_index => (first, last),
        true => {
            let start = last.sequence.0.saturating_sub(SCAN_ROWS_MAX - 1);
            let oldest = at_or_after(&snapshot, first.sequence.max(Sequence(start)))?;
            (oldest.unwrap_or(last), last)
        }
        false => {
            let end = first.sequence.0.saturating_add(SCAN_ROWS_MAX - 1);
            let newest = at_or_before(&snapshot, last.sequence.min(Sequence(end)))?;
            (first, newest.unwrap_or(first))
        }
    };
    let found = selection.select(&snapshot, query, window.0.sequence, window.1.sequence)?;
    // It stopped behind its last event, or saw the whole window.
    let stopped = found.stopped.then(|| found.events.last()).flatten();
    let (window_end, stretch_end) = match query.newest_first {
        true => (window.0, first),
        false => (window.1, last),
    };
    let looked = stopped.map_or(window_end, StoredEvent::position);
    let complete = looked.sequence == stretch_end.sequence;
    Ok(Batch {
        covered: match complete && query.newest_first {
            true => Position::ORIGIN,
            false => looked,
        },
        complete,
        events: found.events,
    })
}

/// See [`super::Reader::get`].
pub(super) fn get(conn: &Connection, id: EventId) -> Result<Option<StoredEvent>, ReadError> {
    let selected = EventColumns::select(true);
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {selected} FROM events
         WHERE id = ?1 AND sequence > (SELECT trimmed_sequence FROM log)"
    ))?;
    let columns = EventColumns::of(&statement, true)?;
    Ok(statement
        .query_row([id.0], |row| columns.event(row))
        .optional()?)
}

/// See [`super::Reader::locate`].
pub(super) fn locate(conn: &Connection, sequence: Sequence) -> Result<Located, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    Ok(if sequence == Sequence::ZERO {
        Located::Here(Position::ORIGIN)
    } else if sequence > ends.latest.sequence {
        Located::Beyond
    } else if sequence < ends.floor {
        Located::Expired(ends.earliest())
    } else {
        match known(&snapshot, &ends, sequence)? {
            Some(position) => Located::Here(position),
            None => Located::Hole,
        }
    })
}

/// See [`super::Reader::before_time`]. Receive times never fall, so it is found by halving.
pub(super) fn before_time(conn: &Connection, time: Timestamp) -> Result<Position, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    // Events up to `before` came before `time`; from `from` on, none did.
    let mut before = ends.floor;
    let mut from = ends.latest.sequence.next();
    while before.next() < from {
        let middle = Sequence(before.0 + (from.0 - before.0) / 2);
        match at_or_after(&snapshot, middle)? {
            Some(event) if event.receive_time < Some(time) => before = event.sequence,
            _ => from = middle,
        }
    }
    Ok(place(&snapshot, &ends, before)?)
}

/// See [`super::Reader::bounds`].
pub(super) fn bounds(conn: &Connection) -> Result<Bounds, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    let ends = Ends::of(&snapshot)?;
    let (event_count, event_bytes) = snapshot
        .prepare_cached("SELECT event_count, event_bytes FROM log")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Bounds {
        earliest: ends.earliest(),
        earliest_sequence: ends.first.map(|first| first.sequence),
        latest: ends.latest,
        event_count,
        event_bytes,
    })
}

/// Where the log begins and ends.
struct Ends {
    /// The place before the first event that is left. A log without events begins where it ends.
    floor: Sequence,
    first: Option<Position>,
    latest: Position,
}

impl Ends {
    fn of(conn: &Connection) -> rusqlite::Result<Self> {
        let latest = conn.prepare_cached(rows::LAST)?.query_row([], rows::last)?;
        let trimmed = conn
            .prepare_cached("SELECT trimmed_sequence FROM log")?
            .query_row([], |row| row.get(0).map(Sequence))?;
        let first = at_or_after(conn, trimmed.next())?;
        // What somebody removed from the front by hand counts as trimmed, too.
        let floor = match first {
            Some(first) => Sequence(first.sequence.0.saturating_sub(1)),
            None => latest.sequence,
        };
        Ok(Self {
            floor,
            first,
            latest,
        })
    }

    fn earliest(&self) -> Earliest {
        Earliest {
            before: match self.floor {
                floor if floor == self.latest.sequence => self.latest,
                floor => without_event(floor),
            },
            time: self.first.and_then(|first| first.receive_time),
        }
    }
}

/// Which rows a filter wants, in SQL.
struct Selection {
    condition: String,
    values: Vec<Value>,
    /// Every row that is looked at is one that is wanted, so there is no need to stop before the
    /// wanted ones are together.
    walks_an_index: bool,
}

/// What was selected.
struct Found {
    events: Vec<StoredEvent>,
    /// Whether a bound on what is returned ended it.
    stopped: bool,
}

impl Selection {
    fn of(filter: &Filter) -> Self {
        let types = filter.event_types().iter().map(|&t| rows::type_text(t));
        let mut fields = vec![("type", types.map(String::from).collect::<Vec<_>>())];
        fields.extend(
            filter
                .texts()
                .iter()
                .map(|(key, values)| (key.column(), values.clone())),
        );
        fields.retain(|(_, values)| !values.is_empty());
        let walks_an_index =
            matches!(&fields[..], [(column, values)] if is_indexed(column, values));
        let mut selection = Self {
            condition: String::new(),
            values: Vec::new(),
            walks_an_index,
        };
        for (column, values) in fields {
            selection.add(column, values);
        }
        selection
    }

    /// A plus sign keeps SQLite from an index that would not give the rows in order.
    fn add(&mut self, column: &str, mut values: Vec<String>) {
        let parameter = self.values.len() + FIRST_VALUE;
        if is_indexed(column, &values) {
            self.condition += &format!(" AND {column} = ?{parameter}");
            self.values.push(Value::Text(values.remove(0)));
        } else {
            self.condition +=
                &format!(" AND +{column} IN (SELECT value FROM json_each(?{parameter}))");
            self.values
                .push(Value::Text(serde_json::Value::from(values).to_string()));
        }
    }

    /// Rows from `oldest` to `newest`, as many as the query wants.
    fn select(
        self,
        conn: &Connection,
        query: &Query,
        oldest: Sequence,
        newest: Sequence,
    ) -> rusqlite::Result<Found> {
        let mut statement = conn.prepare_cached(&self.sql(query))?;
        let columns = EventColumns::of(&statement, query.with_raw)?;
        let events_max = query.events_max.max(1);
        let fixed = [
            signed(oldest.0),
            signed(newest.0),
            i64::try_from(events_max).unwrap_or(i64::MAX),
        ];
        let values = fixed.map(Value::Integer).into_iter().chain(self.values);
        let mut rows = statement.query(params_from_iter(values))?;
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let event = columns.event(row)?;
            bytes += event.encoded.len() + event.raw.as_ref().map_or(0, |raw| raw.json.len());
            events.push(event);
            if events.len() == events_max || bytes > query.bytes_max {
                return Ok(Found {
                    events,
                    stopped: true,
                });
            }
        }
        Ok(Found {
            events,
            stopped: false,
        })
    }

    fn sql(&self, query: &Query) -> String {
        let selected = EventColumns::select(query.with_raw);
        let order = if query.newest_first { "DESC" } else { "ASC" };
        format!(
            "SELECT {selected} FROM events WHERE sequence BETWEEN ?1 AND ?2{}
             ORDER BY sequence {order} LIMIT ?3",
            self.condition
        )
    }
}

/// Number of the first parameter of a filter.
const FIRST_VALUE: usize = 4;

/// Whether an index has the rows with one of these values in the order of the log: one call's, or
/// one agent's.
fn is_indexed(column: &str, values: &[String]) -> bool {
    matches!(column, "call_id" | "agent_id") && matches!(values, [value] if !value.is_empty())
}

/// The first and the last event behind `after` and not behind `through`.
fn stretch(
    conn: &Connection,
    after: Sequence,
    through: Sequence,
) -> rusqlite::Result<Option<(Position, Position)>> {
    let first = at_or_after(conn, Sequence(after.0.saturating_add(1)))?;
    let last = at_or_before(conn, through)?;
    Ok(first
        .zip(last)
        .filter(|(first, last)| first.sequence <= last.sequence))
}

fn at_or_after(conn: &Connection, sequence: Sequence) -> rusqlite::Result<Option<Position>> {
    one(conn, "sequence >= ?1 ORDER BY sequence LIMIT 1", sequence)
}

fn at_or_before(conn: &Connection, sequence: Sequence) -> rusqlite::Result<Option<Position>> {
    one(
        conn,
        "sequence <= ?1 ORDER BY sequence DESC LIMIT 1",
        sequence,
    )
}

fn one(conn: &Connection, which: &str, sequence: Sequence) -> rusqlite::Result<Option<Position>> {
    let columns = rows::POSITION;
    conn.prepare_cached(&format!("SELECT {columns} FROM events WHERE {which}"))?
        .query_row([signed(sequence.0)], rows::position)
        .optional()
}

/// The event at a place, if it is still there or the newest.
fn known(conn: &Connection, ends: &Ends, sequence: Sequence) -> rusqlite::Result<Option<Position>> {
    if sequence == ends.latest.sequence {
        return Ok(Some(ends.latest));
    }
    if sequence <= ends.floor {
        // It may still be there, on its way out.
        return Ok(None);
    }
    one(conn, "sequence = ?1", sequence)
}

/// A place, with what is known of the event there.
fn place(conn: &Connection, ends: &Ends, sequence: Sequence) -> rusqlite::Result<Position> {
    Ok(known(conn, ends, sequence)?.unwrap_or(without_event(sequence)))
}

/// A place whose event is gone.
fn without_event(sequence: Sequence) -> Position {
    Position {
        sequence,
        ..Position::ORIGIN
    }
}

/// Beyond what SQLite can count there are no events.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::{Error, ErrorCode};
        let text = error.to_string().into();
        let damaged = match error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..) => true,
            error => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
        };
        match damaged {
            true => Self::Damaged(text),
            false => Self::Unavailable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        event::Epoch,
        log::{Identity, Lane, sqlite::schema},
        proto::EventFilter,
    };

    /// How SQLite goes about a read with this filter.
    fn plan(filter: EventFilter, newest_first: bool) -> String {
        let mut conn = Connection::open_in_memory().unwrap();
        schema::migrate(&mut conn, "".as_ref(), Timestamp::UNIX_EPOCH, || Identity {
            epoch: Epoch([0; 16]),
            id_key: [0; 32],
        })
        .unwrap();
        let query = Query {
            lane: Lane::Far,
            filter: Arc::new(Filter::new(filter)),
            after: Sequence::ZERO,
            through: Sequence::ZERO,
            newest_first,
            events_max: 1,
            bytes_max: 1,
            with_raw: false,
        };
        let sql = Selection::of(&query.filter).sql(&query);
        let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![Value::Null; explain.parameter_count()];
        let steps = explain
            .query_map(params_from_iter(values), |row| row.get::<_, String>(3))
            .unwrap();
        steps.map(|step| step.unwrap() + "; ").collect()
    }

    #[test]
    fn rows_come_in_order_from_the_one_index_that_has_them_so() {
        let check = |agents: &[&str], calls: &[&str], statuses: &[&str], expected: &str| {
            let texts = |values: &[&str]| values.iter().map(ToString::to_string).collect();
            let filter = EventFilter {
                agent_ids: texts(agents),
                call_ids: texts(calls),
                statuses: texts(statuses),
                ..EventFilter::default()
            };
            for newest_first in [false, true] {
                let plan = plan(filter.clone(), newest_first);
                assert!(plan.contains(expected), "{filter:?}: {plan}");
                assert!(!plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
            }
        };
        let in_order = "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
        check(&[], &[], &[], in_order);
        check(&[], &[], &["failed"], in_order);
        check(&["a", "b"], &["c", "d"], &[], in_order);
        check(
            &["a"],
            &[],
            &[],
            "INDEX events_by_agent (agent_id=? AND rowid>? AND rowid<?)",
        );
        check(
            &[],
            &["c"],
            &["failed"],
            "INDEX events_by_call (call_id=? AND rowid>? AND rowid<?)",
        );
        check(&["a"], &["c"], &[], "INDEX events_by_");
    }
}
