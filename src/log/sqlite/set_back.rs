//! Where receive times went back: the clock was once far ahead, and an operator has said that it is
//! right now.
//!
//! Events before such a place may have been received in the future. For reads by time and for
//! retention they count as received when the clock was set right, at the latest. So along the log
//! the times that count never decrease.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{rows, wall_clock};
use crate::event::{Position, Sequence};

/// Made when it is needed, since hardly any log has such a place.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS time_set_backs (
        -- Events up to here count as received at this time at the latest.
        last_sequence INTEGER PRIMARY KEY,
        time          TEXT NOT NULL
    ) STRICT;
";

/// All such places, in their order.
#[derive(Debug)]
pub(super) struct SetBacks(Vec<(Sequence, Timestamp)>);

/// The time that counts for the newest event. The events after it get no earlier one.
pub(super) fn floor(conn: &Connection, last: Position) -> rusqlite::Result<Option<Timestamp>> {
    let backs = SetBacks::read(conn)?;
    let counted = |time| backs.counted(last.sequence, time);
    Ok(last.receive_time.map(counted))
}

/// Sets times back behind `last` if that is far in the future of a clock that is right. Returns the
/// floor for the events after it.
pub(super) fn to_clock(
    conn: &Connection,
    last: Sequence,
    floor: Option<Timestamp>,
    clock: Timestamp,
) -> rusqlite::Result<Option<Timestamp>> {
    let Some(newest) = floor.filter(|newest| wall_clock::is_future(*newest, clock)) else {
        return Ok(floor);
    };
    let transaction = conn.unchecked_transaction()?;
    add(&transaction, last, clock)?;
    transaction.commit()?;
    tracing::warn!(%clock, %newest, "receive times go back to this machine's clock");
    Ok(Some(clock))
}

/// Notes that times go back behind `last`, to `time`.
fn add(transaction: &Connection, last: Sequence, time: Timestamp) -> rusqlite::Result<()> {
    let time = rows::time_text(time);
    transaction.execute_batch(TABLE)?;
    transaction.execute(
        "UPDATE time_set_backs SET time = ?1 WHERE time > ?1",
        [&time],
    )?;
    transaction.execute(
        "INSERT OR REPLACE INTO time_set_backs (last_sequence, time) VALUES (?1, ?2)",
        params![last.0, time],
    )?;
    Ok(())
}

impl SetBacks {
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let has_table = conn
            .prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'time_set_backs'")?
            .exists([])?;
        if !has_table {
            return Ok(Self(Vec::new()));
        }
        let places = conn
            .prepare_cached(
                "SELECT last_sequence, time FROM time_set_backs ORDER BY last_sequence",
            )?
            .query_map([], |row| {
                Ok((Sequence(row.get(0)?), rows::stored_time(row, 1)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self(places))
    }

    /// The time that counts for an event that was received at this time.
    pub(super) fn counted(&self, sequence: Sequence, received: Timestamp) -> Timestamp {
        let behind = self.0.iter().find(|(last, _)| *last >= sequence);
        behind.map_or(received, |(_, time)| received.min(*time))
    }

    /// The last event that counts as received before `time` because of such a place.
    pub(super) fn before(&self, time: Timestamp) -> Sequence {
        let before = self.0.iter().rev().find(|(_, at)| *at < time);
        before.map_or(Sequence::ZERO, |(last, _)| *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_that_count_never_decrease() {
        let conn = Connection::open_in_memory().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let none = SetBacks::read(&conn).unwrap();
        assert_eq!(none.counted(Sequence(1), at(900)), at(900));
        assert_eq!(none.before(at(900)), Sequence::ZERO);
        // Twice back, and the second time further.
        for (last, time) in [(3, 50), (6, 40), (9, 70), (9, 70)] {
            add(&conn, Sequence(last), at(time)).unwrap();
        }
        let backs = SetBacks::read(&conn).unwrap();
        let received = [10, 90, 95, 50, 51, 52, 40, 80, 80, 71];
        let counted = (1..)
            .zip(received)
            .map(|(sequence, second)| backs.counted(Sequence(sequence), at(second)).as_second());
        assert_eq!(
            counted.collect::<Vec<_>>(),
            [10, 40, 40, 40, 40, 40, 40, 70, 70, 71]
        );
        for (time, last) in [(40, 0), (41, 6), (70, 6), (71, 9)] {
            assert_eq!(backs.before(at(time)), Sequence(last), "{time}");
        }
    }
}
