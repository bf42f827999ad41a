//! How the events that a filter wants are found.

use rusqlite::{CachedStatement, Connection, Rows, params};

use super::rows::{SELECTED, signed};
use crate::{
    event::{Keys, Sequence, TextKey},
    filter::Filter,
};

/// More agents than these are not looked up: reading all rows costs less then.
const AGENTS_MAX: usize = 32;

/// The index on calls.
pub(super) const CALL_INDEX: &str = "events_by_call";

/// Whether there is that index. Without it, SQLite would read all events for one call at once.
pub(super) fn has_call_index(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1")?
        .exists([CALL_INDEX])
}

/// How the events of a filter are found. Whether it wants an event is decided when its row has been
/// read and checked: a damaged row may only look as if it were not wanted.
#[derive(Debug)]
pub(super) enum Way {
    Scan(Scan),
    /// What is known of these agents says where their events are.
    Agents(Vec<String>),
}

impl Way {
    /// The best way for a filter: the index on calls, if it asks for a single one, or the lists of
    /// agents, if it asks for a few.
    pub(super) fn of(filter: &Filter) -> Self {
        let agents = &filter.texts()[TextKey::AgentId];
        match &filter.texts()[TextKey::CallId][..] {
            [call] => Self::Scan(Scan::Call(call.clone())),
            _ if (1..=AGENTS_MAX).contains(&agents.len()) => Self::Agents(agents.clone()),
            _ => Self::Scan(Scan::All),
        }
    }
}

/// Rows in the order of the log.
#[derive(Debug)]
pub(super) enum Scan {
    All,
    /// Those of one call, from the index on calls.
    Call(String),
}

impl Scan {
    pub(super) fn is_index(&self) -> bool {
        matches!(self, Self::Call(_))
    }

    /// Whether an event belongs to these rows.
    pub(super) fn fits(&self, keys: &Keys) -> bool {
        match self {
            Self::All => true,
            Self::Call(call) => keys.texts[TextKey::CallId] == *call,
        }
    }

    pub(super) fn prepare<'c>(
        &self,
        conn: &'c Connection,
        newest_first: bool,
    ) -> rusqlite::Result<CachedStatement<'c>> {
        conn.prepare_cached(&self.sql(newest_first))
    }

    /// The rows from a place on, in the direction of the read. They do not end with its stretch: a
    /// row is believed to lie beyond it only when its checksum holds.
    pub(super) fn query<'s>(
        &self,
        statement: &'s mut CachedStatement<'_>,
        from: Sequence,
    ) -> rusqlite::Result<Rows<'s>> {
        match self {
            Self::All => statement.query(params![signed(from.0)]),
            Self::Call(call) => statement.query(params![signed(from.0), call]),
        }
    }

    fn sql(&self, newest_first: bool) -> String {
        let (from, order) = match newest_first {
            true => ("<=", "DESC"),
            false => (">=", "ASC"),
        };
        let call = match self {
            Self::All => "",
            Self::Call(_) => " AND call_id = ?2",
        };
        format!(
            "SELECT {} FROM events WHERE sequence {from} ?1{call} ORDER BY sequence {order}",
            *SELECTED
        )
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use rusqlite::{params_from_iter, types::Value};

    use super::*;
    use crate::{
        event::Epoch,
        log::{parts::Identity, sqlite::schema},
        proto::EventFilter,
    };

    /// SQLite's query plan for a read with this filter. None if it asks for a few agents.
    fn plan(filter: &Filter, newest_first: bool) -> Option<String> {
        let Way::Scan(scan) = Way::of(filter) else {
            return None;
        };
        let mut conn = Connection::open_in_memory().unwrap();
        schema::migrate(&mut conn, "".as_ref(), Timestamp::UNIX_EPOCH, || Identity {
            epoch: Epoch([0; 16]),
            id_key: [0; 32],
        })
        .unwrap();
        let sql = scan.sql(newest_first);
        let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![Value::Null; explain.parameter_count()];
        let steps = explain
            .query_map(params_from_iter(values), |row| row.get::<_, String>(3))
            .unwrap();
        Some(steps.map(|step| step.unwrap() + "; ").collect())
    }

    #[test]
    fn rows_come_in_order_from_the_one_index_that_has_them_so() {
        let check = |agents: &[&str], calls: &[&str], statuses: &[&str], expected: Option<&str>| {
            let texts = |values: &[&str]| values.iter().map(ToString::to_string).collect();
            let filter = EventFilter {
                agent_ids: texts(agents),
                call_ids: texts(calls),
                statuses: texts(statuses),
                ..EventFilter::default()
            };
            for newest_first in [false, true] {
                let plan = plan(&Filter::new(filter.clone()), newest_first);
                assert_eq!(plan.is_some(), expected.is_some(), "{filter:?}");
                if let (Some(plan), Some(expected)) = (plan, expected) {
                    assert!(plan.contains(expected), "{filter:?}: {plan}");
                    assert!(!plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
                }
            }
        };
        let in_order = Some("USING INTEGER PRIMARY KEY (rowid");
        check(&[], &[], &[], in_order);
        check(&[], &[], &["failed"], in_order);
        check(&[], &["c", "d"], &[], in_order);
        let many = Vec::from_iter((0..=AGENTS_MAX).map(|number| number.to_string()));
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check(&many, &[], &[], in_order);
        let by_call = Some("INDEX events_by_call (call_id=? AND rowid");
        check(&[], &["c"], &["failed"], by_call);
        check(&["a"], &["c"], &[], by_call);
        check(&["a"], &[], &[], None);
        check(&["a", "b"], &["c", "d"], &["failed"], None);
    }
}
