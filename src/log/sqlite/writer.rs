//! The writer: a thread that owns the file and commits waiting events in groups.

use std::{io, sync::Arc, thread, time::Duration};

use tokio::{
    runtime::{self, Runtime},
    time::{Instant, timeout_at},
};

use super::{
    call_index::CallIndex,
    chores::Chores,
    draft::Committed,
    erase::Erasure,
    file::LogFile,
    index_work::{IdleWork, Sweep},
    inspection::Inspection,
    keeper::Keeper,
    reader::{Reader, Source},
    retention::Retention,
    room::Room,
    rows::Prepared,
    trouble::Trouble,
    unchecked::Unchecked,
};
use crate::log::{
    appender::{self, Appender, Caller, Offer, Offers},
    eraser::{self, Eraser},
    error::{AppendError, RETRY_INTERVAL},
    follow::{Followers, Publisher, Tail, followers},
    limits::Limits,
    metrics::Metrics,
    pulse::{Pulse, WAIT_MAX},
};

/// The most events in a group, and the bytes of raw bodies after which it takes no more events.
/// They bound how long later events wait for its commit.
const GROUP_EVENTS_MAX: usize = 512;
const GROUP_BYTES_MAX: usize = 256 * 1024;
/// How often the files are checked while no events come.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the thread needs.
pub(super) struct Parts {
    pub(super) file: LogFile,
    /// Whether everything in the file is durable.
    pub(super) settled: Result<(), Trouble>,
    /// Opens the file for readers, once everything in it is durable.
    pub(super) source: Source,
    pub(super) reader: Reader,
    pub(super) lock: std::fs::File,
    pub(super) limits: Limits,
    /// Notes how far the log is durable.
    pub(super) keeper: Keeper,
    pub(super) metrics: Metrics,
}

/// What others hold of the thread.
pub(super) struct Handles {
    pub(super) appender: Appender,
    pub(super) eraser: Eraser,
    pub(super) followers: Followers,
}

/// Starts the thread. It ends with [`Appender::finish`], or when the last appender is dropped.
pub(super) fn start(mut parts: Parts) -> io::Result<Handles> {
    let pulse = Pulse::default();
    let (appender, offers, alive) = appender::queue(pulse.clone(), parts.metrics.clone());
    let position = parts.file.last();
    // With a full disk, what is in the log is served all the same.
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
    let (eraser, erasures) = eraser::eraser(parts.reader.clone());
    let (publisher, followers) = followers(parts.reader, tail);
    let late = (publisher.clone(), parts.metrics.clone());
    let watched = pulse.watch(move || {
        let (publisher, metrics) = &late;
        publisher.available(false);
        metrics.set_available(false);
        tracing::warn!(
            "the log has made nothing durable for {} ms: the disk hangs, or another program holds \
             the log; webhooks are refused, and events that wait are stored when it goes on",
            WAIT_MAX.as_millis()
        );
    })?;
    let retention = Retention::new(parts.limits, parts.metrics.clone(), publisher.leaving());
    let erasure = Erasure::new(erasures, parts.metrics.clone(), publisher.erased());
    let chores = Chores::new(vec![
        Box::new(retention),
        Box::new(Sweep::default()),
        Box::new(IdleWork::default()),
        Box::new(erasure),
        Box::new(Unchecked),
        Box::new(CallIndex),
        Box::new(Inspection::default()),
    ]);
    let mut writer = Writer {
        pulse,
        offers,
        file: parts.file,
        keeper: parts.keeper,
        standing,
        source: parts.source,
        publisher,
        metrics: parts.metrics,
        chores,
        room: Room::new(parts.limits.disk_free_bytes_min),
        look_at: Instant::now() + LOOK_INTERVAL,
        clock: runtime::Builder::new_current_thread()
            .enable_time()
            .build()?,
    };
    writer.look_at_disk();
    let lock = parts.lock;
    thread::Builder::new()
        .name("log-appender".into())
        .spawn(move || {
            writer.run();
            drop(watched);
            drop(lock);
            drop(alive);
        })?;
    Ok(Handles {
        appender,
        eraser,
        followers,
    })
}

enum Step {
    Append(Box<Offer>),
    /// No event has come for a while: check that the files are still there, so that `/readyz`
    /// reports it before a webhook is refused.
    Look,
    Chore,
    Retry,
}

impl Step {
    /// Since when somebody waits for it.
    fn since(&self) -> Instant {
        match self {
            Self::Append(offer) => offer.caller.since,
            Self::Look | Self::Chore | Self::Retry => Instant::now(),
        }
    }
}

/// Whether the file can be written.
enum Standing {
    Open,
    /// A write has failed, so the file has to be opened again: after a failed sync, nothing that
    /// was remembered about it is certain.
    Away {
        reason: Arc<str>,
        retry_at: Instant,
    },
}

impl Standing {
    /// Logs it once, and not for each event that is refused.
    fn away(error: &dyn std::error::Error) -> Self {
        tracing::error!(
            %error,
            "the log cannot take events; the gateway tries again every {} s",
            RETRY_INTERVAL.as_secs()
        );
        Self::Away {
            reason: error.to_string().into(),
            retry_at: Instant::now() + RETRY_INTERVAL,
        }
    }
}

struct Writer {
    pulse: Pulse,
    offers: Offers,
    file: LogFile,
    keeper: Keeper,
    standing: Standing,
    source: Source,
    publisher: Publisher,
    metrics: Metrics,
    chores: Chores,
    room: Room,
    /// When to look at the files, if no event comes before.
    look_at: Instant,
    /// A runtime that drives only the timers for retries and looks.
    clock: Runtime,
}

impl Writer {
    fn run(mut self) {
        while let Some(step) = self.next() {
            self.pulse.begin(step.since());
            match step {
                Step::Append(first) => self.append(*first),
                Step::Look => {
                    self.look();
                    self.done();
                }
                Step::Chore => self.chore(),
                Step::Retry => self.retry(),
            }
            self.metrics.repeated_ids(self.file.take_repeated());
            self.pulse.rest();
        }
        // The file may be writable again by now.
        self.retry();
        self.source.closed();
        let last = self.file.last();
        if let Standing::Open = self.standing {
            match self.file.close() {
                Ok(moved) => self.keeper.note(last, moved),
                Err(error) => tracing::warn!(
                    %error,
                    "the log's last checkpoint failed; the next start repeats it"
                ),
            }
        }
    }

    fn next(&mut self) -> Option<Step> {
        let now = Instant::now();
        let (until, otherwise) = match &self.standing {
            Standing::Open if self.chores.are_overdue(now.into_std()) => return Some(Step::Chore),
            // Under load the timer is not needed.
            Standing::Open => match self.offers.waiting() {
                Some(offer) => return Some(Step::Append(offer)),
                // Nothing waits any more, so the next event is likely to be in time.
                None if self.pulse.is_late() => return Some(Step::Look),
                None => match self.chores.due().map(Instant::from_std) {
                    Some(due) if due < self.look_at => (due, Step::Chore),
                    _ => (self.look_at, Step::Look),
                },
            },
            // Retry in time, even if offers to refuse come without a pause.
            Standing::Away { retry_at, .. } if *retry_at <= now => {
                return Some(Step::Retry);
            }
            Standing::Away { retry_at, .. } => (*retry_at, Step::Retry),
        };
        let offer = async { timeout_at(until, self.offers.next()).await };
        match self.clock.block_on(offer) {
            Ok(offer) => offer.map(Step::Append),
            Err(_) => Some(otherwise),
        }
    }

    fn chore(&mut self) {
        match self.chores.step(&mut self.file) {
            Ok(()) => self.checkpoint(LogFile::checkpoint),
            Err(error) => self.leave(&error),
        }
    }

    fn look(&mut self) {
        self.look_at = Instant::now() + LOOK_INTERVAL;
        self.look_at_disk();
        // Another program may have locked the file for a moment. Only a change matters.
        match self.file.look() {
            Ok(()) => self.checkpoint(LogFile::checkpoint_idle),
            Err(error @ Trouble::Changed(_)) => self.leave(&error),
            Err(_) => {}
        }
    }

    /// Commits one event, together with events that wait behind it, as one group.
    fn append(&mut self, first: Offer) {
        if let Standing::Away { reason, .. } = &self.standing {
            let refusal = AppendError::Unavailable(reason.clone());
            return appender::answer([(first.caller, Err(refusal))], &self.metrics);
        }
        self.look_at_disk();
        if let Some(reason) = self.room.shortage() {
            let refusal = AppendError::Unavailable(reason);
            return appender::answer([(first.caller, Err(refusal))], &self.metrics);
        }
        self.look_at = Instant::now() + LOOK_INTERVAL;
        let (events, callers) = gather(first, &mut self.offers);
        match self.file.commit(events) {
            Ok(committed) => {
                self.done();
                self.publish(committed, callers);
                self.keeper.note(self.file.last(), self.file.moved());
                self.pulse.begin(Instant::now());
                self.checkpoint(LogFile::checkpoint);
            }
            Err(error) => {
                self.leave(&error);
                let refusal = AppendError::Unavailable(error.to_string().into());
                let refused = callers
                    .into_iter()
                    .map(|caller| (caller, Err(refusal.clone())));
                appender::answer(refused, &self.metrics);
            }
        }
    }

    /// Looks how much space is free, if it was not looked for a moment.
    fn look_at_disk(&mut self) {
        let Standing::Open = self.standing else {
            return;
        };
        if self.room.look(&self.file) {
            let is_low = self.room.shortage().is_some();
            self.metrics.set_disk_low(is_low);
            self.tell_available();
        }
    }

    /// Whether the log takes events: the file can be written, in time, and its disk has room.
    fn is_available(&self) -> bool {
        matches!(self.standing, Standing::Open)
            && !self.pulse.is_late()
            && self.room.shortage().is_none()
    }

    fn tell_available(&self) {
        let available = self.is_available();
        self.publisher.available(available);
        self.metrics.set_available(available);
    }

    fn leave(&mut self, error: &Trouble) {
        self.standing = Standing::away(error);
        self.publisher.available(false);
        self.metrics.set_available(false);
    }

    /// A step is done. If the log was late and has caught up, it takes events again.
    fn done(&self) {
        if self.pulse.end() && matches!(self.standing, Standing::Open) {
            tracing::info!("the log makes events durable in time again");
            self.tell_available();
        }
    }

    /// Tells the followers and moves the tail before it answers the callers: a caller that has its
    /// answer can read the event.
    fn publish(&self, committed: Committed, callers: Vec<Caller>) {
        if !committed.events.is_empty() {
            self.metrics.committed(&committed.events);
            self.publisher.committed(committed.events.into());
        }
        let answers = committed.answers.into_iter().map(Ok);
        appender::answer(callers.into_iter().zip(answers), &self.metrics);
    }

    /// A checkpoint that fails loses nothing, but the pages that it moved may not be durable.
    fn checkpoint(&mut self, step: fn(&mut LogFile) -> Result<(), Trouble>) {
        let Err(error) = step(&mut self.file) else {
            return;
        };
        tracing::warn!(%error, "a checkpoint of the log failed; the gateway tries again later");
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
                self.keeper.note(self.file.last(), self.file.moved());
                self.standing = Standing::Open;
                let available = self.is_available();
                self.metrics.set_available(available);
                self.publisher.moved(Tail {
                    position: self.file.last(),
                    available,
                });
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

/// Takes the events that wait, up to the bounds, and waits for no more.
fn gather(first: Offer, offers: &mut Offers) -> (Vec<Prepared>, Vec<Caller>) {
    let mut bytes = first.event.event.raw.json.len();
    let mut events = vec![first.event];
    let mut callers = vec![first.caller];
    while events.len() < GROUP_EVENTS_MAX
        && bytes < GROUP_BYTES_MAX
        && let Some(offer) = offers.waiting()
    {
        bytes += offer.event.event.raw.json.len();
        events.push(offer.event);
        callers.push(offer.caller);
    }
    (events, callers)
}
