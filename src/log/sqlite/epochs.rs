//! The identities that a log had before: a log that was restored, or goes on after a loss, gets a
//! new one. Cursors of events that it still has stay valid.

use rusqlite::{Connection, params};

use super::schema;
use crate::{
    event::{Epoch, Sequence},
    log::{cursor::Cursor, error::ReadError},
};

/// Made when it is needed, since hardly any log has had another epoch.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS earlier_epochs (
        epoch         BLOB PRIMARY KEY,
        -- The log had this epoch up to here.
        last_sequence INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// Gives the log another epoch, and notes that all earlier ones end at `last`, if not before.
pub(super) fn renew(
    transaction: &Connection,
    epoch: Epoch,
    last: Sequence,
) -> rusqlite::Result<()> {
    transaction.execute_batch(TABLE)?;
    transaction.execute(
        "INSERT OR REPLACE INTO earlier_epochs (epoch, last_sequence) SELECT epoch, ?1 FROM log",
        [last.0],
    )?;
    transaction.execute(
        "UPDATE earlier_epochs SET last_sequence = ?1 WHERE last_sequence > ?1",
        [last.0],
    )?;
    transaction.execute("UPDATE log SET epoch = ?1", params![epoch.0])?;
    schema::seal(transaction)
}

/// Whether the log had this epoch once.
pub(super) fn has_had(conn: &Connection, epoch: Epoch) -> rusqlite::Result<bool> {
    Ok(has_table(conn)?
        && conn
            .prepare("SELECT 1 FROM earlier_epochs WHERE epoch = ?1")?
            .exists([epoch.0])?)
}

/// See [`super::Reader::was_known`].
pub(super) fn was_known(conn: &Connection, cursor: &Cursor) -> Result<bool, ReadError> {
    let snapshot = conn.unchecked_transaction()?;
    if !has_table(&snapshot)? {
        return Ok(false);
    }
    let mut epochs =
        snapshot.prepare_cached("SELECT epoch FROM earlier_epochs WHERE last_sequence >= ?1")?;
    let mut rows = epochs.query([cursor.sequence.0])?;
    while let Some(row) = rows.next()? {
        if cursor.is_of(Epoch(row.get(0)?)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_table(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'earlier_epochs'")?
        .exists([])
}
