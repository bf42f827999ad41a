//! Rows in the order of the log, found through an index where one leads to the wanted rows.

use rusqlite::{CachedStatement, Connection, Rows, params};

use super::rows::{SELECTED, signed};
use crate::{
    event::{Sequence, TextKey},
    filter::Filter,
};

/// How rows are found. Whether a filter wants a row is decided when it has been read and checked:
/// a damaged row may only look as if it were not wanted.
#[derive(Debug)]
pub(super) enum Way {
    Table,
    /// An index has the rows with this value in the order of the log.
    Index(TextKey, String),
}

impl Way {
    /// The best way for a filter: the index on calls or on agents, if it asks for a single one.
    pub(super) fn of(filter: &Filter) -> Self {
        for key in [TextKey::CallId, TextKey::AgentId] {
            if let [value] = &filter.texts()[key][..]
                && !value.is_empty()
            {
                return Self::Index(key, value.clone());
            }
        }
        Self::Table
    }

    pub(super) fn is_index(&self) -> bool {
        matches!(self, Self::Index(..))
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
    pub(super) fn rows<'s>(
        &self,
        statement: &'s mut CachedStatement<'_>,
        from: Sequence,
    ) -> rusqlite::Result<Rows<'s>> {
        match self {
            Self::Table => statement.query(params![signed(from.0)]),
            Self::Index(_, value) => statement.query(params![signed(from.0), value]),
        }
    }

    fn sql(&self, newest_first: bool) -> String {
        let (from, order) = match newest_first {
            true => ("<=", "DESC"),
            false => (">=", "ASC"),
        };
        let value = match self {
            Self::Table => String::new(),
            Self::Index(key, _) => format!(" AND {} = ?2", key.column()),
        };
        format!(
            "SELECT {} FROM events WHERE sequence {from} ?1{value} ORDER BY sequence {order}",
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

    /// SQLite's query plan for a read with this filter.
    fn plan(filter: &Filter, newest_first: bool) -> String {
        let mut conn = Connection::open_in_memory().unwrap();
        schema::migrate(&mut conn, "".as_ref(), Timestamp::UNIX_EPOCH, || Identity {
            epoch: Epoch([0; 16]),
            id_key: [0; 32],
        })
        .unwrap();
        let sql = Way::of(filter).sql(newest_first);
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
                let plan = plan(&Filter::new(filter.clone()), newest_first);
                assert!(plan.contains(expected), "{filter:?}: {plan}");
                assert!(!plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
            }
        };
        let in_order = "USING INTEGER PRIMARY KEY (rowid";
        check(&[], &[], &[], in_order);
        check(&[], &[], &["failed"], in_order);
        check(&["a", "b"], &["c", "d"], &[], in_order);
        check(
            &["a"],
            &[],
            &[],
            "INDEX events_agent_id (agent_id=? AND rowid",
        );
        let by_call = "INDEX events_by_call (call_id=? AND rowid";
        check(&[], &["c"], &["failed"], by_call);
        check(&["a"], &["c"], &[], by_call);
    }
}
