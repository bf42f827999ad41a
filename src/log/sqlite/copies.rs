//! Copies of rows that SQLite leaves behind.
//!
//! While the oldest events are removed, SQLite moves the rows behind them between the first pages
//! of the table, to keep these filled. The unused part of a page may keep copies of rows that were
//! there before: `secure_delete` does not cover that. Here each of these pages is filled once by a
//! row that is made longer, and is then written back.

use rusqlite::{Connection, params, types::ValueRef};

use super::{connection::PAGE_BYTES, fault};

/// So many pages at the old end are looked after. A removal moves rows between three of them.
const PAGES: u32 = 8;
/// The lengths of a longer row take some bytes of a page, too.
const LENGTHS_BYTES: u64 = 8;
/// The most bytes that a page takes of one row: behind that, all but a few bytes lie elsewhere.
const ROW_BYTES_MAX: u64 = PAGE_BYTES - 48;

/// Writes over the unused part of the table's first pages.
pub(super) fn overwrite(conn: &Connection) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached(
        "SELECT ncell, unused, payload FROM dbstat WHERE name = 'events' AND pagetype = 'leaf'
         LIMIT ?1",
    )?;
    let pages: Vec<(u64, u64, u64)> = statement
        .query_map([PAGES], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut rows_before = 0;
    for (rows, unused, used) in pages {
        let room = match rows {
            1 => ROW_BYTES_MAX.saturating_sub(used),
            _ => u64::MAX,
        };
        let spaces = unused.saturating_sub(LENGTHS_BYTES).min(room);
        if rows > 0 && spaces > 0 {
            match fill(conn, rows_before, rows, spaces) {
                // No row can be written to a page that is damaged.
                Err(error) if fault::is_damage(&error) => {}
                filled => filled?,
            }
        }
        rows_before += rows;
    }
    Ok(())
}

/// Makes the smallest of these rows longer, and writes it back.
fn fill(conn: &Connection, rows_before: u64, rows: u64, spaces: u64) -> rusqlite::Result<()> {
    let (sequence, mut json): (i64, Vec<u8>) = conn
        .prepare_cached(
            "SELECT sequence, raw_json FROM events
             WHERE sequence IN (SELECT sequence FROM events ORDER BY sequence LIMIT ?1 OFFSET ?2)
             ORDER BY octet_length(raw_json) LIMIT 1",
        )?
        .query_row([rows, rows_before], |row| {
            Ok((row.get(0)?, row.get_ref(1)?.as_bytes()?.to_vec()))
        })?;
    let mut update = conn.prepare_cached("UPDATE events SET raw_json = ?1 WHERE sequence = ?2")?;
    let mut write = |json: &[u8]| {
        let text = rusqlite::types::ToSqlOutput::Borrowed(ValueRef::Text(json));
        update.execute(params![text, sequence]).map(|_| ())
    };
    let length = json.len();
    json.resize(length + usize::try_from(spaces).unwrap_or(0), b' ');
    write(&json)?;
    write(&json[..length])
}
