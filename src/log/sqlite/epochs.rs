//! The identities that a log had before: a log that was restored, or goes on after a loss, gets a
//! new one. Cursors of events that it still has stay valid.

use rusqlite::{Connection, params};

use super::schema;
use crate::event::{Epoch, Sequence};

/// Made when it is needed, since hardly any log has had another epoch.
/// [`query::was_known`](super::query::was_known) reads it.
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
    let has_table = conn
        .prepare("SELECT 1 FROM sqlite_schema WHERE name = 'earlier_epochs'")?
        .exists([])?;
    Ok(has_table
        && conn
            .prepare("SELECT 1 FROM earlier_epochs WHERE epoch = ?1")?
            .exists([epoch.0])?)
}
