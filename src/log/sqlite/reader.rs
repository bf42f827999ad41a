//! Reading: a few threads, each with a connection of its own, that take reads from
//! [`lanes`](super::lanes).

use std::{
    collections::BTreeSet,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    connection, erasable,
    ids::Recent,
    lanes::{Lanes, THREADS},
    place::Place,
    query,
};
use crate::{
    event::{EventId, Position, Sequence, StoredEvent},
    log::{
        cursor::Cursor,
        erasure::{Found, Target},
        error::ReadError,
        metrics::{Damaged, Metrics},
        query::{Batch, Bounds, Damage, Lane, Located, Query},
    },
};

/// Reads the log. Clones share its threads, which end when the last is dropped.
#[derive(Clone)]
pub struct Reader(Arc<Threads>);

struct Threads {
    lanes: Arc<Lanes<Job>>,
    recent: Arc<Recent>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.lanes.close();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// Reads a stretch, or as much of it as one call looks at. All other calls are look-ups in
    /// [`Lane::Now`].
    ///
    /// # Errors
    /// Forward, [`ReadError::Expired`] if events between `after` and the earliest have been
    /// removed.
    pub async fn read(&self, query: Query) -> Result<Batch, ReadError> {
        let lane = query.lane;
        let recent = self.0.recent.clone();
        let read = move |conn: &Connection| query::read(conn, &recent, &query);
        self.run(lane, read).await
    }

    /// The event with this id, raw body included.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn get(&self, id: EventId) -> Result<Option<StoredEvent>, ReadError> {
        let recent = self.0.recent.clone();
        self.run(Lane::Now, move |conn| query::get(conn, &recent, id))
            .await
    }

    /// What is at a place.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn locate(&self, sequence: Sequence) -> Result<Located, ReadError> {
        self.run(Lane::Now, move |conn| query::locate(conn, sequence))
            .await
    }

    /// Finds events to erase in a stretch, or as many as one call looks for.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn erasable(
        &self,
        target: Target,
        after: Sequence,
        through: Sequence,
    ) -> Result<Found, ReadError> {
        let find = move |conn: &Connection| erasable::find(conn, &target, after, through);
        self.run(Lane::Page, find).await
    }

    /// Whether the log was restored from one that made this cursor before it was copied.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) async fn was_known(&self, cursor: Cursor) -> Result<bool, ReadError> {
        self.run(Lane::Now, move |conn| query::was_known(conn, &cursor))
            .await
    }

    /// The place right before the first event received at or after `time`. The tail if there is no
    /// such event.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn before_time(&self, time: Timestamp) -> Result<Position, ReadError> {
        self.run(Lane::Now, move |conn| query::before_time(conn, time))
            .await
    }

    /// The ends of the log.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn bounds(&self) -> Result<Bounds, ReadError> {
        self.run(Lane::Now, query::bounds).await
    }

    async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        read: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nothing is read if the caller has left.
            if !answer.is_closed() {
                let _ = answer.send(connection.run(read));
            }
        });
        self.0.lanes.put(lane, job).await;
        answered.await.unwrap_or_else(|_| {
            let gone = "the log's readers have ended";
            Err(ReadError::Unavailable(gone.into()))
        })
    }
}

/// Where readers open the log, and whether they may do so.
#[derive(Clone)]
pub(super) struct Source {
    place: Arc<Place>,
    settled: Arc<AtomicBool>,
    /// Whether the appender has closed the file and may have removed the files beside it.
    closed: Arc<AtomicBool>,
}

impl Source {
    /// `settled` says whether everything that can be read is durable.
    pub(super) fn new(place: Arc<Place>, settled: bool) -> Self {
        Self {
            place,
            settled: Arc::new(settled.into()),
            closed: Arc::default(),
        }
    }

    /// From now on everything that can be read is durable.
    pub(super) fn settled(&self) {
        self.settled.store(true, Ordering::Release);
    }

    /// From now on nobody in this process writes.
    pub(super) fn closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Opens the log. A file that has taken its place is an error.
    pub(super) fn open(&self) -> Result<Connection, ReadError> {
        if !self.settled.load(Ordering::Acquire) {
            let reason = "the disk does not take what the last process may not have made durable";
            return Err(ReadError::Unavailable(reason.into()));
        }
        let is_there = || {
            let check = match self.closed.load(Ordering::Acquire) {
                true => self.place.check_log().map(|_| ()),
                false => self.place.check(),
            };
            check.map_err(|error| ReadError::Unavailable(error.to_string().into()))
        };
        is_there()?;
        let conn = connection::reader(self.place.log())?;
        is_there()?;
        Ok(conn)
    }
}

/// Starts the threads. Each opens the log at its first read, and again after an error. `recent` is
/// what the writer tells them, if there is one.
pub(super) fn start(
    open: impl Fn() -> Result<Connection, ReadError> + Clone + Send + 'static,
    recent: Arc<Recent>,
    metrics: Metrics,
) -> io::Result<Reader> {
    let damages = Damages {
        metrics,
        told: Arc::default(),
    };
    let threads = Threads {
        lanes: Arc::new(Lanes::new()),
        recent,
    };
    for serves in THREADS {
        let lanes = threads.lanes.clone();
        let mut connection = ThreadConnection {
            open: Box::new(open.clone()),
            conn: None,
            damages: damages.clone(),
        };
        thread::Builder::new()
            .name("log-reader".into())
            .spawn(move || {
                while let Some(job) = lanes.take(serves) {
                    job(&mut connection);
                }
            })?;
    }
    Ok(Reader(Arc::new(threads)))
}

type Job = Box<dyn FnOnce(&mut ThreadConnection) + Send>;

/// Tells of damage that reads have met.
#[derive(Clone)]
struct Damages {
    metrics: Metrics,
    /// Where a line has told of it. A std mutex: held to look and insert.
    told: Arc<Mutex<BTreeSet<Option<Sequence>>>>,
}

impl Damages {
    /// The most places that have a line of their own.
    const TOLD_MAX: usize = 1_000;

    fn met(&self, damage: Option<Damage>, what: &str) {
        self.metrics.damaged(Damaged::Event);
        let place = damage.map(|damage| damage.sequence);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < Self::TOLD_MAX && told.insert(place) {
            let sequence = place.map(|place| place.0);
            tracing::error!(sequence, %what, "the log is damaged");
        }
    }
}

struct ThreadConnection {
    open: Box<dyn Fn() -> Result<Connection, ReadError> + Send>,
    conn: Option<Connection>,
    damages: Damages,
}

impl ThreadConnection {
    fn run<T>(
        &mut self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => (self.open)()?,
        };
        let result = read(&conn);
        if let Err(ReadError::Damaged { damage, what }) = &result {
            self.damages.met(*damage, what);
        }
        let keeps = matches!(
            result,
            Ok(_)
                | Err(ReadError::Expired(_)
                    | ReadError::Damaged {
                        damage: Some(_),
                        ..
                    })
        );
        if keeps {
            self.conn = Some(conn);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::time::timeout;

    use super::*;
    use crate::{filter::Selector, log};

    #[tokio::test]
    async fn look_ups_and_whoever_is_nearly_up_to_date_wait_for_no_search() {
        let dir = tempfile::TempDir::new().unwrap();
        let config = log::Config {
            data_dir: dir.path().to_owned(),
            consent: Default::default(),
            limits: log::Limits::NONE,
        };
        let metrics = log::Metrics::register(&mut Default::default());
        let log = log::open(&config, metrics).unwrap();
        let stuck: Vec<mpsc::Sender<()>> = (0..100)
            .map(|number| {
                let (end, ended) = mpsc::channel::<()>();
                let lane = [Lane::Page, Lane::Far][number % 2];
                let reader = log.reader.clone();
                tokio::spawn(async move {
                    // As long as the test runs.
                    let search = move |_: &Connection| Ok(ended.recv().is_err());
                    reader.run(lane, search).await
                });
                end
            })
            .collect();
        let near = |lane| Query {
            lane,
            selector: Selector::default(),
            after: Sequence::ZERO,
            through: Sequence::ZERO,
            newest_first: false,
            events_max: 1,
            bytes_max: 1,
            with_raw: false,
        };
        let reads = async {
            // By then all searches have been put into their lanes.
            tokio::task::yield_now().await;
            for _ in 0..10 {
                log.reader.bounds().await.unwrap();
                log.reader.locate(Sequence::ZERO).await.unwrap();
                log.reader.get(EventId([0; 16])).await.unwrap();
                log.reader.before_time(Timestamp::UNIX_EPOCH).await.unwrap();
                log.reader.read(near(Lane::Now)).await.unwrap();
                log.reader.read(near(Lane::Near)).await.unwrap();
            }
        };
        timeout(Duration::from_secs(30), reads)
            .await
            .expect("they waited");
        drop(stuck);
    }
}
