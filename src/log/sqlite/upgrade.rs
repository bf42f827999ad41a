//! What makes a file of version 2 of one of version 1, before and after the new tables are made.
//!
//! No row of `events` is touched. Only the indexes on ids and on agents are taken away, which reads
//! them once: about a second for each million events. What takes their place is made when the file
//! is opened.

use rusqlite::Connection;

use super::schema_edit;

/// How the text of `events` ends in version 1, and how it ends with the new column. Rows that end
/// before a column have its default.
const EVENTS_END: [&str; 2] = [
    "encoded         BLOB NOT NULL\n    ) STRICT",
    "encoded         BLOB NOT NULL,
        -- 0: not made yet; see log.unchecked_sequence.
        checksum        INTEGER NOT NULL DEFAULT 0
    ) STRICT",
];

/// What made version 1 keep ids unique, and what stands there without it.
const ID: [&str; 2] = [
    "BLOB NOT NULL UNIQUE CHECK (length(id) = 16)",
    "BLOB NOT NULL CHECK (length(id) = 16)",
];

pub(super) fn before(conn: &Connection) -> rusqlite::Result<()> {
    edit_schema(conn)?;
    conn.execute_batch(
        "-- The new columns of `log` stand before its last one, so the table is made anew.
         CREATE TEMP TABLE log_of_1 AS SELECT * FROM log;
         DROP TABLE log;",
    )
}

/// Fills the new `log`.
pub(super) fn after(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "INSERT INTO log (only, epoch, id_key, created, unchecked_sequence, trimmed_sequence,
                          last_sequence, last_id, last_receive_time, event_count, event_bytes)
             SELECT only, epoch, id_key, created, last_sequence, trimmed_sequence,
                    last_sequence, last_id, last_receive_time, event_count, event_bytes
             FROM log_of_1;
         DROP TABLE temp.log_of_1;",
    )
}

/// Changes texts in the schema, and no page of what they describe. SQLite has no statement that
/// takes UNIQUE away, and one that adds the column reads all rows of a STRICT table.
fn edit_schema(conn: &Connection) -> rusqlite::Result<()> {
    let [end, end_with_column] = EVENTS_END;
    let columns = schema_edit::edit(conn, |conn| {
        let columns = conn.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, ?1, ?2)
         WHERE type = 'table' AND name = 'events' AND substr(sql, -length(?1)) = ?1",
            [end, end_with_column],
        )?;
        // The index that UNIQUE has made becomes one that can be dropped: its pages are the same.
        let [unique, not_unique] = ID;
        let released = conn.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, ?1, ?2)
         WHERE type = 'table' AND name = 'events' AND instr(sql, ?1) > 0",
            [unique, not_unique],
        )?;
        if released == 1 {
            conn.execute(
                "UPDATE sqlite_schema
             SET name = 'events_by_id', sql = 'CREATE UNIQUE INDEX events_by_id ON events (id)'
             WHERE type = 'index' AND name = 'sqlite_autoindex_events_1'",
                [],
            )?;
        }
        Ok(columns)
    })?;
    if columns == 0 {
        // Somebody has added a column.
        conn.execute_batch("ALTER TABLE events ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")?;
    }
    conn.execute_batch(
        "DROP INDEX IF EXISTS events_by_id;
         DROP INDEX IF EXISTS events_by_agent;",
    )
}
