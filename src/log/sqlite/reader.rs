//! The way out: a few threads, each with a connection of its own, that take reads from one queue.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{connection, query};
use crate::{
    event::{EventId, Position, Sequence, StoredEvent},
    log::{Batch, Bounds, Located, Query, ReadError},
};

/// Reads that wait for a thread. When it is full, callers wait for a place.
const QUEUE_READS_MAX: usize = 256;

/// Reads the log. Clones share its threads, which end when the last is dropped.
#[derive(Clone, Debug)]
pub struct Reader {
    queue: mpsc::Sender<Job>,
}

impl Reader {
    /// Reads a stretch, or as much of it as one call looks at.
    ///
    /// # Errors
    /// Forward, [`ReadError::Expired`] if events between `after` and the earliest have been removed.
    pub async fn read(&self, query: Query) -> Result<Batch, ReadError> {
        self.run(move |conn| query::read(conn, &query)).await
    }

    /// The event with this id, raw body included.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn get(&self, id: EventId) -> Result<Option<StoredEvent>, ReadError> {
        self.run(move |conn| query::get(conn, id)).await
    }

    /// What is at a place.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn locate(&self, sequence: Sequence) -> Result<Located, ReadError> {
        self.run(move |conn| query::locate(conn, sequence)).await
    }

    /// The place right before the first event received at or after `time`: the tail if there is none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn before_time(&self, time: Timestamp) -> Result<Position, ReadError> {
        self.run(move |conn| query::before_time(conn, time)).await
    }

    /// The ends of the log.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn bounds(&self) -> Result<Bounds, ReadError> {
        self.run(query::bounds).await
    }

    async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |file| {
            // Who has left wants no work done. A read that runs already is short.
            if !answer.is_closed() {
                let _ = answer.send(file.run(read));
            }
        });
        let gone = || ReadError::Unavailable("the log's readers have ended".into());
        self.queue.send(job).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Starts the threads. They do not need the file before the first read.
pub(super) fn start(path: PathBuf, readers_max: usize) -> io::Result<Reader> {
    let (queue, jobs) = mpsc::channel(QUEUE_READS_MAX);
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..readers_max.max(1) {
        let jobs = jobs.clone();
        let mut file = File {
            path: path.clone(),
            conn: None,
        };
        thread::Builder::new()
            .name("log-reader".into())
            .spawn(move || {
                while let Some(job) = next(&jobs) {
                    job(&mut file);
                }
            })?;
    }
    Ok(Reader { queue })
}

type Job = Box<dyn FnOnce(&mut File) + Send>;

/// One thread waits in the queue, the others for their turn to wait.
fn next(jobs: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    jobs.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .blocking_recv()
}

/// A thread's connection, opened when it is needed and again after an error.
struct File {
    path: PathBuf,
    conn: Option<Connection>,
}

impl File {
    fn run<T>(
        &mut self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => connection::reader(&self.path)?,
        };
        let result = read(&conn);
        if matches!(result, Ok(_) | Err(ReadError::Expired(_))) {
            self.conn = Some(conn);
        }
        result
    }
}
