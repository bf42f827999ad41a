//! What makes a file of version 2 of one of version 1, before and after the new tables are made.
//!
//! No row of `events` and no page of an index is touched, so it takes a moment, however large the
//! log is.

use rusqlite::{Connection, config::DbConfig};

/// The index on agents as version 1 had it, and as it is now: the view has its name.
const AGENT_INDEX: [[&str; 2]; 2] = [
    [
        "events_by_agent",
        "CREATE INDEX events_by_agent ON events (agent_id)",
    ],
    [
        "events_agent_id",
        "CREATE INDEX events_agent_id ON events (agent_id)",
    ],
];

pub(super) fn before(conn: &Connection) -> rusqlite::Result<()> {
    rename_agent_index(conn)?;
    conn.execute_batch(
        "ALTER TABLE events ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;

         -- The new columns of `log` stand before its last one, so the table is made anew.
         CREATE TEMP TABLE log_of_1 AS SELECT * FROM log;
         DROP TABLE log;",
    )
}

/// Fills the new `log`.
pub(super) fn after(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "INSERT INTO log (only, epoch, id_key, created, trimmed_sequence, last_sequence, last_id,
                          last_receive_time, event_count, event_bytes)
             SELECT only, epoch, id_key, created, trimmed_sequence, last_sequence, last_id,
                    last_receive_time, event_count, event_bytes
             FROM log_of_1;
         DROP TABLE temp.log_of_1;",
    )
}

/// SQLite has no statement for this, and to sort the index anew takes long and much memory. Only
/// the name in the schema changes: the pages hold what the new text says, as they did before.
fn rename_agent_index(conn: &Connection) -> rusqlite::Result<()> {
    let [[old, old_sql], [new, new_sql]] = AGENT_INDEX;
    // With this defence the update would fail.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    conn.pragma_update(None, "writable_schema", true)?;
    conn.execute(
        "UPDATE sqlite_schema SET name = ?1, sql = ?2
         WHERE type = 'index' AND tbl_name = 'events' AND name = ?3 AND sql = ?4",
        [new, new_sql, old, old_sql],
    )?;
    // Reads the schema anew, and ends what is allowed here.
    conn.pragma_update(None, "writable_schema", "RESET")?;
    // If somebody has removed or changed the index, it is made anew.
    conn.execute_batch(
        "DROP INDEX IF EXISTS events_by_agent;
         CREATE INDEX IF NOT EXISTS events_agent_id ON events (agent_id);",
    )
}
