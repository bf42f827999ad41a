//! Index work that a helper thread does: it sorts, and hands over rows for the appender to write.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use rusqlite::Connection;

use super::{
    batch::{self, Batch, List},
    entry::{Entry, Key},
    filter::Filter,
    run::{Builder, Entries, Part, Run},
    sizes::SIZES,
    twins::Twins,
};
use crate::{event::Sequence, log::sqlite::fault::Fault};

/// Bytes that are handed over at once. Two such slabs may wait.
const SLAB_BYTES: usize = 64 * 1024;

/// Opens the log for reading.
pub(super) type Open = Arc<dyn Fn() -> rusqlite::Result<Connection> + Send + Sync>;

/// What a new run is made from.
#[derive(Clone)]
pub(super) enum From {
    /// New events.
    Batch {
        batch: Arc<Batch>,
        /// Lists that begin behind this place were left by a process that ended.
        forget_lists_after: Option<Sequence>,
    },
    /// Smaller runs.
    Runs(Vec<Run>),
    /// Rows of `events`, because this run is damaged.
    Rows(Run),
}

/// A row to write.
pub(super) enum Row {
    Part(Part),
    List(List),
    /// Takes a list away.
    Forget(Box<str>, Sequence),
}

/// A run of which all parts were handed over.
pub(super) struct Made {
    pub(super) run: Run,
    pub(super) filter: Filter,
    /// Events that were met whose id an event before them has.
    pub(super) repeated: u64,
}

/// What a job hands over. It ends with one that is no slab.
pub(super) enum Output {
    Slab {
        rows: Vec<Row>,
        bytes: usize,
    },
    Made(Made),
    /// This run, which was to be merged, is damaged.
    Damaged(Run),
    Failed(rusqlite::Error),
}

/// Work that is being done. If it is dropped, the thread ends soon.
pub(super) struct Job {
    /// None when it is dropped.
    outputs: Option<Receiver<Output>>,
    thread: Option<JoinHandle<()>>,
}

impl Job {
    /// Makes a run for a stretch of the log.
    pub(super) fn start(open: Open, from: From, run: Run) -> io::Result<Self> {
        let (sender, outputs) = sync_channel(2);
        let thread = thread::Builder::new()
            .name("log-index".into())
            .spawn(move || {
                let mut outbox = Outbox {
                    sender,
                    // All lists of a batch are counted before the first is written.
                    slab_bytes: match from {
                        From::Batch { .. } => usize::MAX,
                        From::Runs(_) | From::Rows(_) => SLAB_BYTES,
                    },
                    rows: Vec::new(),
                    bytes: 0,
                };
                let end = make(&open, &from, run, &mut |row| outbox.put(row));
                outbox.end(end);
            })?;
        Ok(Self {
            outputs: Some(outputs),
            thread: Some(thread),
        })
    }

    /// The next output, if it is there.
    pub(super) fn next(&self) -> Option<Output> {
        let outputs = self.outputs.as_ref()?;
        match outputs.try_recv() {
            Ok(output) => Some(output),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Output::Failed(rusqlite::Error::UnwindingPanic))
            }
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.outputs = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing more to say.
            let _ = thread.join();
        }
    }
}

/// Collects rows for the appender.
struct Outbox {
    sender: SyncSender<Output>,
    slab_bytes: usize,
    rows: Vec<Row>,
    bytes: usize,
}

impl Outbox {
    fn put(&mut self, row: Row) -> Result<(), End> {
        self.bytes += row.bytes();
        self.rows.push(row);
        match self.bytes < self.slab_bytes {
            true => Ok(()),
            false => self.flush(),
        }
    }

    fn flush(&mut self) -> Result<(), End> {
        let slab = Output::Slab {
            rows: std::mem::take(&mut self.rows),
            bytes: std::mem::take(&mut self.bytes),
        };
        self.sender.send(slab).map_err(|_| End::Unwanted)
    }

    fn end(mut self, made: Result<Made, End>) {
        let output = match made {
            Ok(made) => match self.flush() {
                Ok(()) => Output::Made(made),
                Err(_) => return,
            },
            Err(End::Damaged(run)) => Output::Damaged(run),
            Err(End::Failed(error)) => Output::Failed(error),
            Err(End::Unwanted) => return,
        };
        // Nobody may be there any more.
        let _ = self.sender.send(output);
    }
}

impl Row {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Part(part) => part.bytes(),
            Self::List(list) => list.bytes(),
            Self::Forget(agent, _) => agent.len() + 16,
        }
    }

    pub(super) fn write(&self, conn: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Part(part) => part.insert(conn),
            Self::List(list) => list.insert(conn),
            Self::Forget(agent, first) => conn
                .prepare_cached("DELETE FROM agent_places WHERE agent_id = ?1 AND first = ?2")?
                .execute(rusqlite::params![agent, first.0])
                .map(|_| ()),
        }
    }
}

/// Why a job has made no run.
pub(super) enum End {
    Damaged(Run),
    Failed(rusqlite::Error),
    Unwanted,
}

impl std::convert::From<rusqlite::Error> for End {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

/// Makes a run, row by row.
pub(super) fn make(
    open: &Open,
    from: &From,
    mut run: Run,
    put: &mut impl FnMut(Row) -> Result<(), End>,
) -> Result<Made, End> {
    let (filter, repeated) = match from {
        From::Batch {
            batch,
            forget_lists_after,
        } => {
            if let Some(after) = forget_lists_after {
                for (agent, first) in lists_after(&open()?, *after)? {
                    put(Row::Forget(agent, first))?;
                }
            }
            let filter = from_sorted(&mut run, &batch.entries(), put)?;
            for list in batch.lists(SIZES.list) {
                put(Row::List(list))?;
            }
            (filter, 0)
        }
        From::Runs(runs) => {
            run.entries = runs.iter().map(|run| run.entries).sum();
            let mut builder = Builder::new(run.number, run.entries);
            let mut twins = Twins::default();
            let conn = open()?;
            merge(&conn, runs, |entry| {
                twins.look(entry);
                builder
                    .push(entry)
                    .map_or(Ok(()), |part| put(Row::Part(part)))
            })?;
            (finish(builder, put)?, twins.count(&conn)?)
        }
        From::Rows(_) => {
            let mut entries = Vec::new();
            batch::rows(&open()?, run.first, run.last, |sequence, id, _| {
                let key = id.map(Key::of);
                entries.extend(key.map(|key| Entry { key, sequence }));
            })?;
            entries.sort_unstable();
            (from_sorted(&mut run, &entries, put)?, 0)
        }
    };
    Ok(Made {
        run,
        filter,
        repeated,
    })
}

fn from_sorted(
    run: &mut Run,
    entries: &[Entry],
    put: &mut impl FnMut(Row) -> Result<(), End>,
) -> Result<Filter, End> {
    run.entries = entries.len() as u64;
    let mut builder = Builder::new(run.number, run.entries);
    for entry in entries {
        if let Some(part) = builder.push(*entry) {
            put(Row::Part(part))?;
        }
    }
    finish(builder, put)
}

fn finish(builder: Builder, put: &mut impl FnMut(Row) -> Result<(), End>) -> Result<Filter, End> {
    let (parts, filter) = builder.finish();
    for part in parts {
        put(Row::Part(part))?;
    }
    Ok(filter)
}

/// The entries of all runs in one order.
pub(super) fn merge(
    conn: &Connection,
    runs: &[Run],
    mut each: impl FnMut(Entry) -> Result<(), End>,
) -> Result<(), End> {
    let damage = |run: Run| {
        move |fault| match fault {
            Fault::Damaged => End::Damaged(run),
            Fault::Sqlite(error) => End::Failed(error),
        }
    };
    let mut readers: Vec<_> = runs.iter().map(|run| Entries::of(conn, *run)).collect();
    let mut heads = BinaryHeap::new();
    for (number, reader) in readers.iter_mut().enumerate() {
        if let Some(entry) = reader.next().map_err(damage(runs[number]))? {
            heads.push(Reverse((entry, number)));
        }
    }
    while let Some(Reverse((entry, number))) = heads.pop() {
        each(entry)?;
        if let Some(next) = readers[number].next().map_err(damage(runs[number]))? {
            heads.push(Reverse((next, number)));
        }
    }
    Ok(())
}

/// The keys of lists that begin behind a place.
fn lists_after(conn: &Connection, after: Sequence) -> rusqlite::Result<Vec<(Box<str>, Sequence)>> {
    let mut statement =
        conn.prepare_cached("SELECT agent_id, first FROM agent_places WHERE first > ?1")?;
    let keys = statement.query_map([after.0], |row| Ok((row.get(0)?, Sequence(row.get(1)?))))?;
    keys.collect()
}
