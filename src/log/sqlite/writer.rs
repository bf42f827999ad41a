//! The appender: a thread that owns the file and commits what waits as one group.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::{
    runtime::{self, Runtime},
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

use super::{
    file::{Committed, File, Trouble},
    reader::Source,
};
use crate::{
    event::NewEvent,
    log::{
        AppendError, Appended, Followers, Metrics, Publisher, RETRY_INTERVAL, Reader, Tail,
        followers,
    },
};

/// Appends that wait for the thread. When it is full, callers wait for a place.
const QUEUE_EVENTS_MAX: usize = 1024;
/// Events in a group at the most, and the bytes of raw bodies after which it takes no more. This
/// bounds how long the events that come meanwhile wait for its commit.
const GROUP_EVENTS_MAX: usize = 512;
const GROUP_BYTES_MAX: usize = 256 * 1024;
/// How often the files are looked at while nothing comes in.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The way into the log. Clones share it.
#[derive(Clone, Debug)]
pub struct Appender {
    queue: mpsc::Sender<Command>,
    /// Closed when the thread is gone.
    gone: watch::Receiver<()>,
}

impl Appender {
    /// Makes an event durable; see the contract in [`crate::log`]. Once it has been taken into the
    /// queue it is committed, whether or not anybody still waits for the answer.
    ///
    /// # Errors
    /// If the log cannot take it now, or not any more.
    pub async fn append(&self, event: NewEvent) -> Result<Appended, AppendError> {
        let (answer, answered) = oneshot::channel();
        let offer = Offer {
            event,
            caller: Caller {
                answer,
                since: Instant::now(),
            },
        };
        self.queue
            .send(Command::Append(Box::new(offer)))
            .await
            .map_err(|_| AppendError::Closed)?;
        answered.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Commits what has been taken, refuses what follows, and resolves when the file is closed and
    /// the folder free.
    pub async fn finish(&self) {
        // Fails only if somebody was here before.
        let _ = self.queue.send(Command::Finish).await;
        let mut gone = self.gone.clone();
        while gone.changed().await.is_ok() {}
    }
}

/// What the thread needs.
pub(super) struct Parts {
    pub(super) file: File,
    /// Whether all in it is durable.
    pub(super) settled: Result<(), Trouble>,
    /// The readers', who may not see it before.
    pub(super) source: Source,
    pub(super) reader: Reader,
    pub(super) lock: std::fs::File,
    pub(super) metrics: Metrics,
}

/// The ends of the thread that others hold.
pub(super) struct Handles {
    pub(super) appender: Appender,
    pub(super) followers: Followers,
}

/// Starts the thread. It ends with [`Appender::finish`], or when the last appender is dropped.
pub(super) fn start(parts: Parts) -> io::Result<Handles> {
    let (queue, commands) = mpsc::channel(QUEUE_EVENTS_MAX);
    let (alive, gone) = watch::channel(());
    let position = parts.file.last();
    // A full disk is no reason not to serve what is there.
    let ready = parts.settled.and_then(|()| Ok(parts.file.probe()?));
    let standing = match ready {
        Ok(()) => Standing::Open,
        Err(error) => Standing::away(&error),
    };
    let available = matches!(standing, Standing::Open);
    parts.metrics.set_available(available);
    let tail = Tail {
        position,
        available,
    };
    let (publisher, followers) = followers(parts.reader, tail);
    let writer = Writer {
        commands,
        file: parts.file,
        standing,
        source: parts.source,
        publisher,
        metrics: parts.metrics,
        clock: runtime::Builder::new_current_thread()
            .enable_time()
            .build()?,
    };
    let lock = parts.lock;
    thread::Builder::new()
        .name("log-appender".into())
        .spawn(move || {
            writer.run();
            drop(lock);
            drop(alive);
        })?;
    Ok(Handles {
        appender: Appender { queue, gone },
        followers,
    })
}

enum Command {
    Append(Box<Offer>),
    Finish,
}

/// What the thread does next.
enum Step {
    Obey(Command),
    /// Nothing has come for a while: look whether the files are still there, so that `/readyz`
    /// knows before a webhook does.
    Look,
    Retry,
}

struct Offer {
    event: NewEvent,
    caller: Caller,
}

/// Who waits for an answer, or has left.
struct Caller {
    answer: oneshot::Sender<Result<Appended, AppendError>>,
    since: Instant,
}

/// Whether the file can be written.
enum Standing {
    Open,
    /// It could not, so it has to be opened anew: after a failed sync nothing that was remembered
    /// is certain.
    Away {
        reason: Arc<str>,
        retry_at: Instant,
    },
}

impl Standing {
    /// Says so in the gateway's log, which is for the first refusal and not for each.
    fn away(error: &dyn std::error::Error) -> Self {
        tracing::error!(
            %error,
            "the log cannot take events; it is tried again every {} s",
            RETRY_INTERVAL.as_secs()
        );
        Self::Away {
            reason: error.to_string().into(),
            retry_at: Instant::now() + RETRY_INTERVAL,
        }
    }
}

struct Writer {
    commands: mpsc::Receiver<Command>,
    file: File,
    standing: Standing,
    source: Source,
    publisher: Publisher,
    metrics: Metrics,
    /// A timer for retries and looks; it drives nothing else.
    clock: Runtime,
}

impl Writer {
    fn run(mut self) {
        while let Some(step) = self.next() {
            match step {
                Step::Obey(Command::Append(first)) => self.append(*first),
                // What was taken before still comes out.
                Step::Obey(Command::Finish) => self.commands.close(),
                Step::Look => self.look(),
                Step::Retry => self.retry(),
            }
        }
        // Perhaps it was away for a moment only.
        self.retry();
        self.source.closed();
        if let Standing::Open = self.standing
            && let Err(error) = self.file.close()
        {
            tracing::warn!(%error, "the log's last checkpoint failed; the next start makes up for it");
        }
    }

    fn next(&mut self) -> Option<Step> {
        let (until, otherwise) = match &self.standing {
            // Under load nobody needs the timer.
            Standing::Open => match self.commands.try_recv() {
                Ok(command) => return Some(Step::Obey(command)),
                Err(_) => (Instant::now() + LOOK_INTERVAL, Step::Look),
            },
            // However many come to be refused meanwhile.
            Standing::Away { retry_at, .. } if *retry_at <= Instant::now() => {
                return Some(Step::Retry);
            }
            Standing::Away { retry_at, .. } => (*retry_at, Step::Retry),
        };
        let command = async { timeout_at(until, self.commands.recv()).await };
        match self.clock.block_on(command) {
            Ok(command) => command.map(Step::Obey),
            Err(_) => Some(otherwise),
        }
    }

    fn look(&mut self) {
        // A file that is only locked just now says nothing.
        if let Err(error @ Trouble::Changed(_)) = self.file.look() {
            self.leave(&error);
        }
    }

    /// Commits one event and all that wait behind it.
    fn append(&mut self, first: Offer) {
        if let Standing::Away { reason, .. } = &self.standing {
            let refusal = AppendError::Unavailable(reason.clone());
            return self.answer(first.caller, Err(refusal));
        }
        let (events, callers) = gather(first, &mut self.commands);
        match self.file.commit(events) {
            Ok(committed) => {
                self.publish(committed, callers);
                self.checkpoint();
            }
            Err(error) => {
                self.leave(&error);
                let refusal = AppendError::Unavailable(error.to_string().into());
                for caller in callers {
                    self.answer(caller, Err(refusal.clone()));
                }
            }
        }
    }

    fn leave(&mut self, error: &Trouble) {
        self.standing = Standing::away(error);
        self.publisher.away();
        self.metrics.set_available(false);
    }

    /// First the followers and the tail, then the callers: whoever has an answer can read the
    /// event.
    fn publish(&self, committed: Committed, callers: Vec<Caller>) {
        if !committed.events.is_empty() {
            self.metrics.committed(&committed.events);
            self.publisher.committed(committed.events.into());
        }
        for (caller, appended) in callers.into_iter().zip(committed.answers) {
            self.answer(caller, Ok(appended));
        }
    }

    fn answer(&self, caller: Caller, answer: Result<Appended, AppendError>) {
        if answer.is_ok() {
            self.metrics.append_seconds(caller.since.elapsed());
        }
        // A caller that has left misses nothing.
        let _ = caller.answer.send(answer);
    }

    /// Nothing that is durable depends on it, but what was to be moved may now be less certain than
    /// it looks.
    fn checkpoint(&mut self) {
        let Err(error) = self.file.checkpoint() else {
            return;
        };
        tracing::warn!(%error, "a checkpoint of the log failed; it is tried again later");
        if let Err(error) = self.file.settle() {
            self.leave(&error);
        }
    }

    fn retry(&mut self) {
        let Standing::Away { reason, .. } = &self.standing else {
            return;
        };
        match self.file.renew() {
            Ok(()) => {
                tracing::info!("the log takes events again");
                self.source.settled();
                self.metrics.set_available(true);
                self.publisher.moved(Tail {
                    position: self.file.last(),
                    available: true,
                });
                self.standing = Standing::Open;
            }
            Err(error) if *error.to_string() == **reason => {
                self.standing = Standing::Away {
                    reason: reason.clone(),
                    retry_at: Instant::now() + RETRY_INTERVAL,
                };
            }
            Err(error) => self.standing = Standing::away(&error),
        }
    }
}

/// Takes what waits, at once, up to the bounds. Nobody waits for more to come.
fn gather(first: Offer, commands: &mut mpsc::Receiver<Command>) -> (Vec<NewEvent>, Vec<Caller>) {
    let mut bytes = first.event.raw.json.len();
    let mut events = vec![first.event];
    let mut callers = vec![first.caller];
    while events.len() < GROUP_EVENTS_MAX && bytes < GROUP_BYTES_MAX {
        match commands.try_recv() {
            Ok(Command::Append(offer)) => {
                bytes += offer.event.raw.json.len();
                events.push(offer.event);
                callers.push(offer.caller);
            }
            Ok(Command::Finish) => commands.close(),
            Err(_) => break,
        }
    }
    (events, callers)
}
