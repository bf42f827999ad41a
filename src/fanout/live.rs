//! The live subscriptions by class, and what each class gets of the routed events.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use indexmap::IndexMap;

use super::{
    class::{Class, ClassId},
    frame::{Frame, Memory, Run},
    head::Head,
    index::{Index, Slot},
    message::{Encoder, Shape},
    queue::Queue,
    registry::SubscriberId,
};
use crate::event::{Epoch, Sequence, StoredEvent};

/// The live subscriptions, by class.
pub(super) struct Live {
    head: Arc<Head>,
    epoch: Epoch,
    memory: Memory,
    /// Above this many bytes of memory in use, no queue may grow.
    queues_bytes_max: usize,

    index: Index,
    slots: Vec<Option<LiveClass>>,
    free: Vec<Slot>,
    by_id: HashMap<ClassId, Slot>,
    encoders: HashMap<Shape, Encoder>,
    /// Classes that want some of the events that are being routed.
    touched: Vec<Slot>,
    /// How many live classes get raw bodies.
    raw_classes: usize,
}

struct LiveClass {
    class: Arc<Class>,
    queues: IndexMap<SubscriberId, Arc<Queue>>,
    /// Indexes of the events being routed that the class wants. Empty afterwards.
    wanted: Vec<usize>,
}

impl Live {
    pub(super) fn new(
        head: Arc<Head>,
        epoch: Epoch,
        memory: Memory,
        queues_bytes_max: usize,
    ) -> Self {
        Self {
            head,
            epoch,
            memory,
            queues_bytes_max,
            index: Index::default(),
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            encoders: HashMap::new(),
            touched: Vec::new(),
            raw_classes: 0,
        }
    }

    /// Puts events into the queues of the subscribers that want them, then moves the head.
    pub(super) fn route(&mut self, events: &[&StoredEvent]) {
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
            self.deliver(slot, &mut messages);
        }
        self.head.advance(last.position());
    }

    fn deliver(&mut self, slot: Slot, messages: &mut Messages<'_>) {
        let Some(live) = &mut self.slots[slot] else {
            return;
        };
        let shape = live.class.shape;
        let encoder = self
            .encoders
            .entry(shape)
            .or_insert_with(|| Encoder::new(self.epoch, shape, self.memory.clone()));
        match messages.run(encoder, shape, &live.wanted, &self.memory) {
            Ok(run) => {
                let frames: Vec<Frame> = run.frames(Sequence::ZERO, Sequence(u64::MAX)).collect();
                let crowded = self.memory.in_use() > self.queues_bytes_max;
                // A full queue detaches itself.
                live.queues.retain(|_, queue| queue.push(&frames, crowded));
            }
            Err(error) => {
                tracing::error!(%error, "cannot show an event");
                // Its subscribers will read the same event from the log, and end with that error.
                live.detach_all();
            }
        }
        live.wanted.clear();
        if live.queues.is_empty() {
            self.remove(slot);
        }
    }

    /// Whether a live subscriber gets raw bodies.
    pub(super) fn needs_raw(&self) -> bool {
        self.raw_classes > 0
    }

    /// Feeds a queue with what comes after the head.
    pub(super) fn attach(&mut self, id: SubscriberId, class: Arc<Class>, queue: Arc<Queue>) {
        queue.attach();
        self.enter(class).queues.insert(id, queue);
    }

    pub(super) fn forget(&mut self, id: SubscriberId, class: ClassId) {
        if let Some(&slot) = self.by_id.get(&class)
            && let Some(live) = &mut self.slots[slot]
        {
            live.queues.swap_remove(&id);
            if live.queues.is_empty() {
                self.remove(slot);
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
            self.raw_classes += usize::from(class.shape.needs_raw());
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
            self.raw_classes -= usize::from(live.class.shape.needs_raw());
            self.free.push(slot);
        }
    }

    /// Detaches queues that hold something.
    pub(super) fn detach_waiting(&mut self) {
        for slot in 0..self.slots.len() {
            if let Some(live) = &mut self.slots[slot] {
                live.queues.retain(|_, queue| !queue.detach_if_waiting());
                if live.queues.is_empty() {
                    self.remove(slot);
                }
            }
        }
    }

    pub(super) fn detach_all(&mut self) {
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

/// The events that are being routed, as messages. Each message is made at most once for a shape,
/// and only if a class wants it.
struct Messages<'a> {
    events: &'a [&'a StoredEvent],
    /// All events in one run, for classes that want them all.
    wholes: HashMap<Shape, Run>,
    shapes: HashMap<Shape, Vec<Option<Bytes>>>,
}

impl Messages<'_> {
    fn run(
        &mut self,
        encoder: &mut Encoder,
        shape: Shape,
        wanted: &[usize],
        memory: &Memory,
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
        let run = Run::new(&messages, memory);
        if whole {
            self.wholes.insert(shape, run.clone());
        }
        Ok(run)
    }
}
