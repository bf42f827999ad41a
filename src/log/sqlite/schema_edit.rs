//! Changes the schema's own rows, for what no statement of SQLite does. The pages that they
//! describe stay as they are.

use rusqlite::{Connection, config::DbConfig};

/// Runs statements that change `sqlite_schema`, in the transaction at hand.
pub(super) fn edit<T>(
    conn: &Connection,
    change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let version: i64 = conn.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    // With this defence the change would fail.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    conn.pragma_update(None, "writable_schema", true)?;
    let changed = change(conn);
    // Other connections read the schema anew, and so does this one.
    conn.pragma_update(None, "schema_version", version + 1)?;
    conn.pragma_update(None, "writable_schema", "RESET")?;
    changed
}
