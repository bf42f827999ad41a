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
    task,
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
    log::{Followed, Follower, Followers, Tail},
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
    follower: Follower,
    live: Live,
}

/// Commands that are obeyed together: following the tail once serves them all.
const COMMANDS_AT_ONCE: usize = 256;
/// How long commands are obeyed before the router looks for new events again: one with a large
/// filter costs a hundred times as much as one without.
const COMMANDS_TIME_MAX: Duration = Duration::from_millis(1);
/// Bytes after which no further group is routed with those before it: the smallest queue of a
/// subscriber takes what was put together, even with raw bodies.
pub(super) const ROUTE_BYTES: usize = 64 * 1024;

impl Router {
    pub(super) fn new(
        shared: Weak<Shared>,
        commands: mpsc::UnboundedReceiver<Command>,
        followers: &Followers,
        head: Sequence,
    ) -> Self {
        Self {
            shared,
            commands,
            tail: followers.tail(),
            follower: followers.from(head).urgent(),
            live: Live::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut available = self.tail.borrow().available;
        let (mut tail_open, mut following) = (true, true);
        loop {
            let mut commands = Vec::new();
            let mut followed = None;
            tokio::select! {
                count = self.commands.recv_many(&mut commands, COMMANDS_AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                }
                next = self.follower.next(), if following => {
                    following = next.is_some();
                    followed = next;
                }
                changed = self.tail.wait_for(|tail| tail.available != available), if tail_open => {
                    tail_open = changed.is_ok();
                }
            }
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            if let Some(followed) = followed {
                self.route(&shared, followed);
            }
            let now_available = self.tail.borrow().available;
            if now_available != available {
                available = now_available;
                shared.head.available.store(available, Ordering::Relaxed);
                shared.registry.nudge_all();
            }
            if !commands.is_empty() {
                self.obey(&shared, commands).await;
            }
            // Routing gives no other occasion.
            task::yield_now().await;
        }
    }

    /// Obeys commands, and routes what is durable before each few of them: whoever subscribes after
    /// a webhook's answer begins behind that event.
    async fn obey(&mut self, shared: &Shared, commands: Vec<Command>) {
        self.follow(shared).await;
        let mut began = Instant::now();
        for command in commands {
            if began.elapsed() > COMMANDS_TIME_MAX {
                task::yield_now().await;
                self.follow(shared).await;
                began = Instant::now();
            }
            self.live.obey(shared, command);
        }
    }

    /// Routes what is durable now, and no more: commands have their turn, however fast events come.
    async fn follow(&mut self, shared: &Shared) {
        let tail = self.tail.borrow().position.sequence;
        // An error means that the log cannot be read. The follower says so, and tries again.
        while let Ok(Some(followed)) = self.follower.next_through(tail).await {
            self.route(shared, followed);
        }
    }

    fn route(&mut self, shared: &Shared, followed: Followed) {
        match followed {
            Followed::Group(group) => {
                let groups = self.with_waiting(group);
                let events: Vec<&StoredEvent> =
                    groups.iter().flat_map(|group| group.iter()).collect();
                self.live.route(shared, &events);
            }
            // Removed before it was ever routed: the subscribers meet the gap themselves.
            Followed::Removed(earliest) => {
                self.live.detach_all();
                shared.head.advance(earliest.before);
            }
        }
    }

    /// Puts groups that wait behind one with it, up to a bound: under load they go out together.
    fn with_waiting(&mut self, group: Group) -> Vec<Group> {
        let mut bytes = weight(&group);
        let mut groups = vec![group];
        while bytes < ROUTE_BYTES
            && let Some(group) = self.follower.waiting()
        {
            bytes += weight(&group);
            groups.push(group);
        }
        groups
    }
}

/// About the bytes of a group's messages with raw bodies.
fn weight(group: &[StoredEvent]) -> usize {
    let raw = |event: &StoredEvent| event.raw.as_ref().map_or(0, |raw| raw.json.len());
    group
        .iter()
        .map(|event| event.encoded.len() + raw(event))
        .sum()
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
    /// Puts events into the queues of those who want them, then moves the head behind them.
    fn route(&mut self, shared: &Shared, events: &[&StoredEvent]) {
        let Some(last) = events.last() else { return };

        for (event, at) in events.iter().zip(0..) {
            self.index.candidates(&event.keys, |slot| {
                if let Some(live) = self.slots[slot]
                    .as_mut()
                    .filter(|live| live.class.selector.matches(&event.keys))
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
            self.index.insert(&class.selector, slot);
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
            self.index.remove(&live.class.selector, slot);
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
