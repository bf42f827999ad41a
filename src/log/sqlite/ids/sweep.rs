//! Lists whose events retention has removed are taken away, in the order of the agents.

use std::time::Instant;

use rusqlite::{Connection, OptionalExtension, params};

use crate::{event::Sequence, log::sqlite::rows::signed};

/// Lists that are removed between two looks at the clock.
const LISTS_AT_ONCE: u64 = 32;

/// Removes the lists of which no event lies behind `trimmed`, from the agent `from` on. Returns
/// where it goes on, if it had no time for all agents.
pub(crate) fn sweep(
    conn: &Connection,
    from: &str,
    trimmed: Sequence,
    until: Instant,
) -> rusqlite::Result<Option<String>> {
    let mut next = from.to_owned();
    while let Some(agent) = agent_from(conn, &next)? {
        while remove_lists(conn, &agent, trimmed)? {
            if Instant::now() >= until {
                return Ok(Some(agent));
            }
        }
        // No other text lies between.
        next = agent + "\0";
        if Instant::now() >= until {
            return Ok(Some(next));
        }
    }
    Ok(None)
}

fn agent_from(conn: &Connection, from: &str) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached(
        "SELECT agent_id FROM agent_places WHERE agent_id >= ?1 ORDER BY agent_id LIMIT 1",
    )?
    .query_row([from], |row| row.get(0))
    .optional()
}

/// Removes some lists of an agent. Returns whether there may be more to remove.
fn remove_lists(conn: &Connection, agent: &str, trimmed: Sequence) -> rusqlite::Result<bool> {
    // Only the newest of these lists may have events that are left.
    let newest = conn
        .prepare_cached(
            "SELECT first, sequences FROM agent_places
             WHERE agent_id = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
        )?
        .query_row(params![agent, signed(trimmed.0)], |row| {
            let places = serde_json::from_str::<Vec<u64>>(row.get_ref(1)?.as_str()?);
            let last = places.ok().and_then(|places| places.last().copied());
            Ok((row.get::<_, i64>(0)?, last))
        })
        .optional()?;
    let Some((newest, last)) = newest else {
        return Ok(false);
    };
    let end = match last {
        Some(last) if last <= trimmed.0 => newest + 1,
        _ => newest,
    };
    let removed = conn
        .prepare_cached(
            "DELETE FROM agent_places WHERE agent_id = ?1 AND first IN (
                 SELECT first FROM agent_places WHERE agent_id = ?1 AND first < ?2
                 ORDER BY first LIMIT ?3)",
        )?
        .execute(params![agent, end, signed(LISTS_AT_ONCE)])?;
    Ok(removed as u64 == LISTS_AT_ONCE)
}
