//! SQLite's structure, and the schema.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;

use super::found::{STEPS, Verified};
use crate::log::{
    Progress, WorkError,
    sqlite::{
        fault::Fault,
        faults::{Faults, Place, Remedy},
        schema,
    },
};

/// The most lines that SQLite's check says.
const LINES_MAX: u64 = 100_000;
/// About the steps of SQLite's virtual machine that its check takes for each event.
const EVENT_STEPS: u64 = 120;
/// Tables that are indexes of the gateway's own.
const INDEXES: [&str; 4] = ["id_runs", "id_parts", "agent_places", "call_places"];

pub(super) fn check(
    conn: &mut Connection,
    progress: &Progress,
    found: &mut Verified,
) -> Result<(), WorkError> {
    let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    let events: u64 = conn.query_row("SELECT event_count FROM log", [], |row| row.get(0))?;
    let steps = pragma("page_count")? + events.saturating_mul(EVENT_STEPS);
    found.page_bytes = pragma("page_size")?;
    progress.begin("reading pages", steps);
    let (watched, mut done) = (progress.clone(), 0);
    let watch = move || {
        done += STEPS.unsigned_abs() as u64;
        watched.reached(done).is_err()
    };
    conn.progress_handler(STEPS, Some(watch))?;
    let checked = pages(conn, found);
    conn.progress_handler(0, None::<fn() -> bool>)?;
    match checked {
        Ok(()) => {}
        Err(Fault::Damaged) => found.faults.log("SQLite cannot read the pages"),
        Err(Fault::Sqlite(error)) => return Err(error.into()),
    }
    match texts(conn, &mut found.faults) {
        Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What SQLite's own check finds. If the schema has a view, the check of all tables may leave out
/// the list of free pages, as if it were asked for some tables only. The check of the schema has
/// it.
fn pages(conn: &Connection, found: &mut Verified) -> Result<(), Fault> {
    let names = names(conn)?;
    // Lines about one index are told as one fault.
    let mut wrong: BTreeMap<String, u64> = BTreeMap::new();
    for what in [&*LINES_MAX.to_string(), "sqlite_schema"] {
        let mut check = conn.prepare(&format!("PRAGMA integrity_check({what})"))?;
        let mut rows = check.query([])?;
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            for line in text.lines() {
                if line == "ok" || line.starts_with("*** in database") {
                    continue;
                }
                if line.ends_with(": never used") {
                    found.lost_pages += 1;
                } else if let Some(index) = index_of(line) {
                    *wrong.entry(index.into()).or_default() += 1;
                } else {
                    tell(line, &names, &mut found.faults);
                }
            }
        }
    }
    for (index, entries) in wrong {
        let what = format_args!("{entries} entries are missing or wrong");
        found.faults.index(index, what);
    }
    Ok(())
}

/// The name of what has each root page.
fn names(conn: &Connection) -> rusqlite::Result<HashMap<u64, String>> {
    let sql = "SELECT rootpage, name FROM sqlite_schema WHERE rootpage > 0";
    let mut roots = conn.prepare(sql)?;
    roots
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// The index that a line is about: "row 7 missing from index events_by_call".
fn index_of(line: &str) -> Option<&str> {
    let (_, behind) = line.split_once(" index ")?;
    line.starts_with("row")
        .then(|| behind.split(' ').next())
        .or_else(|| line.starts_with("wrong #").then_some(Some(behind)))
        .or_else(|| line.starts_with("non-unique").then_some(Some(behind)))
        .flatten()
}

/// "Tree 5 page 12 cell 3: Rowid 7 out of order" is about the table with the root page 5.
fn tell(line: &str, names: &HashMap<u64, String>, faults: &mut Faults) {
    let tree = line.strip_prefix("Tree ");
    let split = tree.and_then(|rest| rest.split_once(' '));
    let name = split.and_then(|(root, _)| names.get(&root.parse().ok()?));
    let (Some((_, what)), Some(name)) = (split, name) else {
        return faults.log(line);
    };
    let is_index = name.starts_with("events_") || INDEXES.contains(&name.as_str());
    match is_index {
        true => faults.index(name, what),
        false => faults.push(Place::Index(name.clone()), what, Remedy::Restore),
    }
}

/// Whether the schema says what this version writes. Others may have added to it.
fn texts(conn: &Connection, faults: &mut Faults) -> rusqlite::Result<()> {
    let sql = "SELECT sql FROM sqlite_schema WHERE type = ?1 AND name = ?2 AND tbl_name = ?3";
    for expected in schema::objects()? {
        let key = [&expected.kind, &expected.name, &expected.table];
        let mut found = conn.prepare_cached(sql)?;
        let found: Vec<String> = found
            .query_map(key, |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let is_index = expected.kind == "index";
        match &found[..] {
            [text] if *text == expected.sql => {}
            [] if is_index => faults.index(expected.name, "is missing"),
            [_] if is_index => faults.index(expected.name, "is described wrongly in the schema"),
            _ => {
                let what = format_args!(
                    "the schema does not say what this version writes of {} {}",
                    expected.kind, expected.name
                );
                faults.log(what);
            }
        }
    }
    Ok(())
}
