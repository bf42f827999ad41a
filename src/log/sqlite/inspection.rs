//! Looks through all indexes after the start and once a day, on a thread of its own and slowly. So
//! a damaged page is found before it is needed, and the index is made anew.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::{Connection, params_from_iter, types::Value};

use super::{
    chores::{Chore, Next},
    condition::{CALL_INDEX, has_call_index},
    fault::Fault,
    file::LogFile,
    trouble::Trouble,
};

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
    let is_damaged = |from: &str, keys: &str| -> rusqlite::Result<bool> {
        match walk(conn, from, keys, wanted) {
            Ok(()) => Ok(false),
            Err(Fault::Damaged) => Ok(true),
            Err(Fault::Sqlite(error)) => Err(error),
        }
    };
    let calls = format!("events INDEXED BY {}", CALL_INDEX);
    Ok(Wrong {
        ids: is_damaged("id_runs", "run")?
            || is_damaged("id_parts", "place")?
            || is_damaged("agent_places", "agent_id, first")?,
        calls: has_call_index(conn)? && is_damaged(&calls, "call_id, sequence")?,
    })
}

/// Reads all pages of an index, some at a time.
fn walk(conn: &Connection, from: &str, keys: &str, wanted: &Receiver<()>) -> Result<(), Fault> {
    let places = keys.split(',').map(|_| "?").collect::<Vec<_>>().join(", ");
    let end = format!("ORDER BY {keys} LIMIT {ENTRIES}");
    let mut last: Option<Vec<Value>> = None;
    loop {
        let began = Instant::now();
        let behind = match last {
            Some(_) => format!("WHERE ({keys}) > ({places})"),
            None => String::new(),
        };
        let mut read = conn.prepare_cached(&format!("SELECT {keys} FROM {from} {behind} {end}"))?;
        let columns = read.column_count();
        let mut rows = read.query(params_from_iter(last.take().into_iter().flatten()))?;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            found += 1;
            if found == ENTRIES {
                let key = (0..columns).map(|column| row.get(column));
                last = Some(key.collect::<Result<_, _>>()?);
            }
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
