//! A filter in SQL, and the rows that it selects.

use rusqlite::{Connection, params_from_iter, types::Value};

use super::rows::{self, EventColumns, signed};
use crate::{
    event::{Sequence, StoredEvent},
    filter::Filter,
    log::Query,
};

/// Which rows a filter wants.
pub(super) struct Condition {
    sql: String,
    values: Vec<Value>,
    /// An index leads almost only to wanted rows, so a read need not stop after a number of rows.
    pub(super) walks_an_index: bool,
}

/// What was selected.
pub(super) struct Found {
    pub(super) events: Vec<StoredEvent>,
    /// Whether it stopped at a bound on what is returned.
    pub(super) stopped: bool,
}

impl Condition {
    pub(super) fn of(filter: &Filter) -> Self {
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
        let mut condition = Self {
            sql: String::new(),
            values: Vec::new(),
            walks_an_index,
        };
        for (column, values) in fields {
            condition.add(column, values);
        }
        condition
    }

    /// A plus sign before a column keeps SQLite from using an index that does not have the rows in
    /// order.
    fn add(&mut self, column: &str, mut values: Vec<String>) {
        let parameter = self.values.len() + FIRST_VALUE;
        if is_indexed(column, &values) {
            self.sql += &format!(" AND {column} = ?{parameter}");
            self.values.push(Value::Text(values.remove(0)));
        } else {
            self.sql += &format!(" AND +{column} IN (SELECT value FROM json_each(?{parameter}))");
            self.values
                .push(Value::Text(serde_json::Value::from(values).to_string()));
        }
    }

    /// Selects rows from `oldest` to `newest`, within the query's bounds.
    pub(super) fn select(
        self,
        conn: &Connection,
        query: &Query,
        oldest: Sequence,
        newest: Sequence,
    ) -> rusqlite::Result<Found> {
        let mut statement =
            conn.prepare_cached(&self.statement(query.newest_first, query.with_raw))?;
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

    fn statement(&self, newest_first: bool, with_raw: bool) -> String {
        let selected = EventColumns::select(with_raw);
        let order = if newest_first { "DESC" } else { "ASC" };
        format!(
            "SELECT {selected} FROM events WHERE sequence BETWEEN ?1 AND ?2{}
             ORDER BY sequence {order} LIMIT ?3",
            self.sql
        )
    }
}

/// Number of the first parameter of a filter.
const FIRST_VALUE: usize = 4;

/// Whether an index has the rows with these values in the order of the log. That is so for a
/// single call or a single agent.
fn is_indexed(column: &str, values: &[String]) -> bool {
    matches!(column, "call_id" | "agent_id") && matches!(values, [value] if !value.is_empty())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

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
        let sql = Condition::of(filter).statement(newest_first, false);
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
        let in_order = "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
        check(&[], &[], &[], in_order);
        check(&[], &[], &["failed"], in_order);
        check(&["a", "b"], &["c", "d"], &[], in_order);
        check(
            &["a"],
            &[],
            &[],
            "INDEX events_agent_id (agent_id=? AND rowid>? AND rowid<?)",
        );
        check(
            &[],
            &["c"],
            &["failed"],
            "INDEX events_by_call (call_id=? AND rowid>? AND rowid<?)",
        );
        check(&["a"], &["c"], &[], "INDEX events_");
    }
}
