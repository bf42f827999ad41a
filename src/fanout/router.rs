//! The router: the one task that owns who is live.
//!
//! What a group costs: a look-up in the index for each event, a message for each event and shape
//! that somebody wants, one buffer for each class that wants something, and a push for each of its
//! subscribers. Nothing is paid for a subscriber that wants none of it.

use std::{
    collections::HashMap,
    sync::{Arc, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use indexmap::IndexMap;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task, time,
};

use super::{
    Shared,
    class::{Class, ClassId},
    frame::{Frame, Run},
    index::{Index, Slot},
    message::{Encoder, Shape},
    queue::Queue,
    registry::SubscriberId,
};
use crate::{
    event::{Group, Position, Sequence, StoredEvent},
    log::{self, Lane, Query, ReadError, Tail},
};

pub(super) enum Command {
    /// Puts what comes after the head into this queue, from now on. Answers with the head, or not
    /// at all if the router has not come as far as `at_least` yet.
    Attach {
        id: SubscriberId,
        class: Arc<Class>,
        queue: Arc<Queue>,
        at_least: Sequence,
        attached: oneshot::Sender<Position>,
    },
    /// Forgets a subscriber.
    Leave { id: SubscriberId, class: ClassId },
    /// Answers when everything durable is in the queues.
    Flush { done: oneshot::Sender<()> },
}

pub(super) struct Router {
    // Weak, so that the handles alone keep the fan-out alive.
    shared: Weak<Shared>,
    commands: mpsc::UnboundedReceiver<Command>,
    tail: watch::Receiver<Tail>,
    groups: mpsc::Receiver<Group>,
    /// A group that came behind a hole.
    held: Option<Group>,
    live: Live,
}

/// Commands that are obeyed together: following the tail once serves them all.
const COMMANDS_AT_ONCE: usize = 256;
/// How long commands are obeyed before the router looks for new events again: one with a large
/// filter costs a hundred times as much as one without.
const COMMANDS_TIME_MAX: Duration = Duration::from_millis(1);
/// Bytes of events after which no further group is routed with those before it: well under a
/// subscriber's queue.
pub(super) const ROUTE_BYTES: usize = 64 * 1024;

impl Router {
    pub(super) fn new(
        shared: Weak<Shared>,
        commands: mpsc::UnboundedReceiver<Command>,
        tail: watch::Receiver<Tail>,
        groups: mpsc::Receiver<Group>,
    ) -> Self {
        Self {
            shared,
            commands,
            tail,
            groups,
            held: None,
            live: Live::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut tail_open = true;
        let mut behind = false;
        loop {
            let mut commands = Vec::new();
            tokio::select! {
                count = self.commands.recv_many(&mut commands, COMMANDS_AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                }
                changed = self.tail.changed(), if tail_open => tail_open = changed.is_ok(),
                () = time::sleep(log::RETRY_INTERVAL), if behind => {}
            }
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            // Before the commands, too: whoever subscribes after a webhook's answer begins behind
            // that event.
            behind = self.follow(&shared).await.is_err();
            let mut began = Instant::now();
            for command in commands {
                if began.elapsed() > COMMANDS_TIME_MAX {
                    task::yield_now().await;
                    behind = self.follow(&shared).await.is_err();
                    began = Instant::now();
                }
                self.live.obey(&shared, command);
            }
            // Routing gives no other occasion.
            task::yield_now().await;
        }
    }

    /// Routes what has become durable. An error means that the log could not be read; it is tried
    /// again.
    async fn follow(&mut self, shared: &Shared) -> Result<(), ReadError> {
        let tail = *self.tail.borrow_and_update();
        if shared
            .head
            .available
            .swap(tail.available, Ordering::Relaxed)
            != tail.available
        {
            shared.registry.nudge_all();
        }
        // No further than the tail was at the beginning: commands have their turn, however fast
        // events come.
        while shared.head.position().sequence < tail.position.sequence {
            let groups = self.waiting();
            let events: Vec<&StoredEvent> = groups.iter().flat_map(|group| group.iter()).collect();
            let Some(first) = events.first() else { break };
            self.read_through(shared, Sequence(first.sequence.0.saturating_sub(1)))
                .await?;
            self.live.route(shared, &events);
        }
        self.read_through(shared, tail.position.sequence).await
    }

    /// The groups that wait and follow each other without a hole, up to a bound: under load they go
    /// out together.
    fn waiting(&mut self) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut bytes = 0;
        let mut end = None;
        while bytes < ROUTE_BYTES
            && let Some(group) = self.held.take().or_else(|| self.groups.try_recv().ok())
        {
            let (Some(first), Some(last)) = (group.first(), group.last()) else {
                continue;
            };
            if end.is_some_and(|end: Sequence| first.sequence != end.next()) {
                self.held = Some(group);
                break;
            }
            bytes += group.iter().map(|event| event.encoded.len()).sum::<usize>();
            end = Some(last.sequence);
            groups.push(group);
        }
        groups
    }

    /// Routes from the log what came in no group.
    async fn read_through(&mut self, shared: &Shared, through: Sequence) -> Result<(), ReadError> {
        loop {
            let head = shared.head.position();
            if head.sequence >= through {
                return Ok(());
            }
            let query = Query {
                lane: Lane::Now,
                filter: Arc::default(),
                after: head.sequence,
                through,
                newest_first: false,
                events_max: 1_000,
                bytes_max: ROUTE_BYTES,
                with_raw: true,
            };
            match shared.reader.read(query).await {
                Ok(batch) => {
                    let events: Vec<&StoredEvent> = batch.events.iter().collect();
                    self.live.route(shared, &events);
                    // Sequences may skip: then nothing is left up to `through`.
                    if batch.complete {
                        return Ok(());
                    }
                }
                // Removed before it was ever routed: the subscribers meet the gap themselves.
                Err(ReadError::Expired(earliest)) => {
                    self.live.detach_all();
                    shared.head.advance(earliest.before);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot route from the log");
                    return Err(error);
                }
            }
        }
    }
}

/// Who is live, by class.
#[derive(Default)]
struct Live {
    index: Index,
    slots: Vec<Option<LiveClass>>,
    /// Slots that no class has.
    free: Vec<Slot>,
    by_id: HashMap<ClassId, Slot>,
    encoders: HashMap<Shape, Encoder>,
    /// Classes that want something of the group at hand.
    touched: Vec<Slot>,
}

struct LiveClass {
    class: Arc<Class>,
    queues: IndexMap<SubscriberId, Arc<Queue>>,
    /// Which events of the group at hand it wants. Empty between groups.
    wanted: Vec<usize>,
}

impl Live {
    /// Puts the events after the head into the queues of those who want them, then moves the head.
    fn route(&mut self, shared: &Shared, events: &[&StoredEvent]) {
        let head = shared.head.position().sequence;
        let events = &events[events.partition_point(|event| event.sequence <= head)..];
        let Some(last) = events.last() else { return };

        for (event, at) in events.iter().zip(0..) {
            self.index.candidates(&event.keys, |slot| {
                if let Some(live) = self.slots[slot]
                    .as_mut()
                    .filter(|live| live.class.filter.matches(&event.keys))
                {
                    if live.wanted.is_empty() {
                        self.touched.push(slot);
                    }
                    live.wanted.push(at);
                }
            });
        }
        let mut messages = Messages {
            events,
            wholes: HashMap::new(),
            shapes: HashMap::new(),
        };
        for slot in std::mem::take(&mut self.touched) {
            self.deliver(shared, slot, &mut messages);
        }
        shared.head.advance(last.position());
    }

    fn deliver(&mut self, shared: &Shared, slot: Slot, messages: &mut Messages<'_>) {
        let Some(live) = &mut self.slots[slot] else {
            return;
        };
        let shape = live.class.shape;
        let encoder = self
            .encoders
            .entry(shape)
            .or_insert_with(|| Encoder::new(shared.epoch, shape, shared.memory.clone()));
        match messages.run(encoder, shape, &live.wanted, shared) {
            Ok(run) => {
                let frames: Vec<Frame> = run.frames(Sequence::ZERO, Sequence(u64::MAX)).collect();
                let crowded = shared.memory.in_use() > shared.config.queues_bytes_max;
                // A queue that is full has detached itself.
                live.queues.retain(|_, queue| queue.push(&frames, crowded));
            }
            Err(error) => {
                tracing::error!(%error, "cannot show an event");
                // They meet the same event in the log, and end with its error.
                live.detach_all();
            }
        }
        live.wanted.clear();
        if live.queues.is_empty() {
            self.remove(slot);
        }
    }

    fn obey(&mut self, shared: &Shared, command: Command) {
        match command {
            Command::Attach {
                id,
                class,
                queue,
                at_least,
                attached,
            } => {
                let head = shared.head.position();
                if head.sequence >= at_least {
                    queue.attach();
                    self.enter(class).queues.insert(id, queue);
                    // Nobody waits any more if the subscriber has left: its leave is on the way.
                    let _ = attached.send(head);
                }
            }
            Command::Leave { id, class } => {
                if let Some(&slot) = self.by_id.get(&class)
                    && let Some(live) = &mut self.slots[slot]
                {
                    live.queues.swap_remove(&id);
                    if live.queues.is_empty() {
                        self.remove(slot);
                    }
                }
            }
            Command::Flush { done } => {
                let _ = done.send(());
            }
        }
    }

    fn enter(&mut self, class: Arc<Class>) -> &mut LiveClass {
        let slot = *self.by_id.entry(class.id).or_insert_with(|| {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
            self.index.insert(&class.filter, slot);
            slot
        });
        self.slots[slot].get_or_insert_with(|| LiveClass {
            class,
            queues: IndexMap::new(),
            wanted: Vec::new(),
        })
    }

    fn remove(&mut self, slot: Slot) {
        if let Some(live) = self.slots[slot].take() {
            self.by_id.remove(&live.class.id);
            self.index.remove(&live.class.filter, slot);
            self.free.push(slot);
        }
    }

    fn detach_all(&mut self) {
        for slot in 0..self.slots.len() {
            if let Some(live) = &mut self.slots[slot] {
                live.detach_all();
                self.remove(slot);
            }
        }
    }
}

impl LiveClass {
    fn detach_all(&mut self) {
        for (_, queue) in self.queues.drain(..) {
            queue.detach();
        }
    }
}

/// The events of a group as messages, each made once for a shape, and only if somebody wants it.
struct Messages<'a> {
    events: &'a [&'a StoredEvent],
    /// All of them, for classes that want them all.
    wholes: HashMap<Shape, Run>,
    shapes: HashMap<Shape, Vec<Option<Bytes>>>,
}

impl Messages<'_> {
    fn run(
        &mut self,
        encoder: &mut Encoder,
        shape: Shape,
        wanted: &[usize],
        shared: &Shared,
    ) -> Result<Run, prost::DecodeError> {
        let whole = wanted.len() == self.events.len();
        if whole && let Some(run) = self.wholes.get(&shape) {
            return Ok(run.clone());
        }
        let made = self
            .shapes
            .entry(shape)
            .or_insert_with(|| vec![None; self.events.len()]);
        let mut messages = Vec::with_capacity(wanted.len());
        for &at in wanted {
            let event = self.events[at];
            let message = match &mut made[at] {
                Some(message) => message.clone(),
                empty => empty.insert(encoder.event(event)?).clone(),
            };
            messages.push((event.position(), message));
        }
        let run = Run::new(&messages, &shared.memory);
        if whole {
            self.wholes.insert(shape, run.clone());
        }
        Ok(run)
    }
}
