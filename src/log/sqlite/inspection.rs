//! Looks through all indexes after the start and once a day, on a thread of its own and slowly. So
//! a damaged page is found before it is needed, and the index is made anew.

use std::{
    cmp::Ordering,
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::{Connection, Row, params_from_iter, types::Value};

use super::{
    chores::{Chore, Next},
    condition::{CALL_INDEX, has_call_index},
    fault::Fault,
    file::LogFile,
    ids,
    trouble::Trouble,
};
use crate::event::Sequence;

const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// How often it asks whether the thread is done.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Entries that are read at once, and for how many times as long the thread then rests.
const ENTRIES: i64 = 2_000;
const REST: u32 = 4;

/// What is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) ids: bool,
    pub(super) calls: bool,
}

#[derive(Default)]
pub(super) struct Inspection {
    running: Option<Running>,
}

struct Running {
    thread: Option<JoinHandle<rusqlite::Result<Wrong>>>,
    /// The thread ends soon after this is dropped.
    wanted: Option<Sender<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            // What it has found, the next inspection finds, too.
            let _ = thread.join();
        }
    }
}

impl Chore for Inspection {
    fn name(&self) -> &'static str {
        "inspecting the indexes"
    }

    fn step(&mut self, file: &mut LogFile, _: Instant) -> Result<Next, Trouble> {
        let Some(mut running) = self.running.take() else {
            self.running = Some(start(file.opener())?);
            return Ok(Next::After(LOOK_INTERVAL));
        };
        let is_done = |thread: &mut JoinHandle<_>| thread.is_finished();
        let Some(thread) = running.thread.take_if(is_done) else {
            self.running = Some(running);
            return Ok(Next::After(LOOK_INTERVAL));
        };
        let wrong = thread
            .join()
            .unwrap_or(Err(rusqlite::Error::UnwindingPanic))?;
        file.mend_indexes(wrong)?;
        Ok(Next::After(INTERVAL))
    }
}

fn start(
    open: impl FnOnce() -> rusqlite::Result<Connection> + Send + 'static,
) -> io::Result<Running> {
    let (wanted, is_wanted) = channel();
    let thread = thread::Builder::new()
        .name("log-inspection".into())
        .spawn(move || inspect(&open()?, &is_wanted))?;
    Ok(Running {
        thread: Some(thread),
        wanted: Some(wanted),
    })
}

fn inspect(conn: &Connection, wanted: &Receiver<()>) -> rusqlite::Result<Wrong> {
    let is_damaged = |from: &str, keys: &str, others: &str, holds: Holds| match walk(
        conn, from, keys, others, holds, wanted,
    ) {
        Ok(()) => Ok(false),
        Err(Fault::Damaged) => Ok(true),
        Err(Fault::Sqlite(error)) => Err(error),
    };
    let calls = format!("events INDEXED BY {}", CALL_INDEX);
    Ok(Wrong {
        ids: is_damaged("id_runs", "run", "", any)?
            || is_damaged("id_parts", "place", "", any)?
            || is_damaged(
                "agent_places",
                "agent_id, first",
                ", sequences, checksum",
                list,
            )?,
        calls: has_call_index(conn)? && is_damaged(&calls, "call_id, sequence", "", any)?,
    })
}

/// Whether an entry is what was written.
type Holds = fn(&Row<'_>) -> rusqlite::Result<bool>;

fn any(_: &Row<'_>) -> rusqlite::Result<bool> {
    Ok(true)
}

/// A list under a wrong key would not be found, and hide the lists of its agent behind it.
fn list(row: &Row<'_>) -> rusqlite::Result<bool> {
    let (agent, sequences): (String, String) = (row.get(0)?, row.get(2)?);
    let first = Sequence(row.get(1)?);
    Ok(ids::listed(&agent, first, &sequences, row.get(3)?).is_some())
}

/// Reads all pages of an index, some at a time. Its keys must ascend, and its entries hold.
fn walk(
    conn: &Connection,
    from: &str,
    keys: &str,
    others: &str,
    holds: Holds,
    wanted: &Receiver<()>,
) -> Result<(), Fault> {
    let columns = keys.split(',').count();
    let places = keys.split(',').map(|_| "?").collect::<Vec<_>>().join(", ");
    let end = format!("ORDER BY {keys} LIMIT {ENTRIES}");
    let mut last: Option<Vec<Value>> = None;
    loop {
        let began = Instant::now();
        let behind = match last {
            Some(_) => format!("WHERE ({keys}) > ({places})"),
            None => String::new(),
        };
        let sql = format!("SELECT {keys}{others} FROM {from} {behind} {end}");
        let mut read = conn.prepare_cached(&sql)?;
        let mut before = last.take();
        let mut rows = read.query(params_from_iter(before.iter().flatten()))?;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            let key = (0..columns).map(|column| row.get(column));
            let key: Vec<Value> = key.collect::<Result<_, _>>()?;
            if before.is_some_and(|before| !ascends(&before, &key)) || !holds(row)? {
                return Err(Fault::Damaged);
            }
            found += 1;
            if found == ENTRIES {
                last = Some(key.clone());
            }
            before = Some(key);
        }
        if last.is_none() {
            return Ok(());
        }
        drop(rows);
        let rest = began.elapsed() * REST;
        if wanted.recv_timeout(rest) == Err(RecvTimeoutError::Disconnected) {
            return Ok(());
        }
    }
}

/// Whether a key comes behind another, as SQLite puts them in order.
fn ascends(before: &[Value], key: &[Value]) -> bool {
    let pairs = before.iter().zip(key).map(|pair| match pair {
        (Value::Integer(before), Value::Integer(key)) => before.cmp(key),
        (Value::Text(before), Value::Text(key)) => before.as_bytes().cmp(key.as_bytes()),
        // No key has another type.
        _ => Ordering::Greater,
    });
    pairs.fold(Ordering::Equal, Ordering::then) == Ordering::Less
}
