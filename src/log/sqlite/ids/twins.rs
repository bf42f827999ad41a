//! Two events with one id: nothing but the gateway keeps ids unique, so another program can have
//! written them. A merge meets such events side by side.

use rusqlite::Connection;

use super::{entry::Entry, look_up};
use crate::event::Sequence;

/// The most pairs that one merge looks at.
const PAIRS_MAX: usize = 1_000;

/// Finds them among entries that come in their order.
#[derive(Default)]
pub(super) struct Twins {
    before: Option<Entry>,
    /// Events whose ids begin alike.
    pairs: Vec<[Sequence; 2]>,
}

impl Twins {
    pub(super) fn look(&mut self, entry: Entry) {
        if let Some(before) = self.before.replace(entry)
            && before.key == entry.key
            && self.pairs.len() < PAIRS_MAX
        {
            self.pairs.push([before.sequence, entry.sequence]);
        }
    }

    /// How many events have an id that one before them has. Their rows decide.
    pub(super) fn count(self, conn: &Connection) -> rusqlite::Result<u64> {
        let mut count = 0;
        for [first, second] in self.pairs {
            let ids = [look_up::id_at(conn, first)?, look_up::id_at(conn, second)?];
            if let [Some(one), Some(other)] = ids
                && one == other
            {
                tracing::warn!(
                    first = first.0,
                    second = second.0,
                    "two events in the log have the same id: another program has written one"
                );
                count += 1;
            }
        }
        Ok(count)
    }
}
