//! The router: the one task that owns who is live.

use std::{
    collections::HashMap,
    sync::{Arc, Weak, atomic::Ordering},
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time,
};

use super::{Shared, frame, queue::Queue, registry::SubscriberId};
use crate::{
    event::{Epoch, Group, Position, Sequence, StoredEvent},
    filter::Filter,
    log::{self, Query, ReadError, Tail},
    view::View,
};

/// What subscribers with equal wishes share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    pub filter: Arc<Filter>,
    pub view: View,
}

pub(super) enum Command {
    /// Puts what comes after the head into this queue, from now on. Answers with the head, or not at all if the router has not
    /// come as far as `at_least` yet.
    Attach {
        id: SubscriberId,
        class: ClassKey,
        queue: Arc<Queue>,
        at_least: Sequence,
        attached: oneshot::Sender<Position>,
    },
    /// Forgets a subscriber.
    Leave { id: SubscriberId, class: ClassKey },
    /// Answers when everything durable is in the queues.
    Flush { done: oneshot::Sender<()> },
}

pub(super) struct Router {
    // Weak, so that the handles alone keep the fan-out alive.
    shared: Weak<Shared>,
    commands: mpsc::UnboundedReceiver<Command>,
    tail: watch::Receiver<Tail>,
    groups: mpsc::Receiver<Group>,
    classes: HashMap<ClassKey, HashMap<SubscriberId, Arc<Queue>>>,
}

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
            classes: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut tail_open = true;
        let mut behind = false;
        loop {
            let command = tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => Some(command),
                    None => return,
                },
                changed = self.tail.changed(), if tail_open => {
                    tail_open = changed.is_ok();
                    None
                }
                () = time::sleep(log::RETRY_INTERVAL), if behind => None,
            };
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            // Before a command, too: whoever subscribes after a webhook's answer begins behind that event.
            behind = self.follow(&shared).await.is_err();
            if let Some(command) = command {
                self.obey(&shared, command);
            }
        }
    }

    /// Routes what has become durable. An error means that the log could not be read; it is tried again.
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
        while let Ok(group) = self.groups.try_recv() {
            let Some(first) = group.first() else { continue };
            self.read_through(shared, Sequence(first.sequence.0.saturating_sub(1)))
                .await?;
            self.route(shared, &group);
        }
        self.read_through(shared, tail.position.sequence).await
    }

    /// Routes from the log what came in no group.
    async fn read_through(&mut self, shared: &Shared, through: Sequence) -> Result<(), ReadError> {
        loop {
            let head = shared.head.position();
            if head.sequence >= through {
                return Ok(());
            }
            let query = Query {
                filter: Arc::default(),
                after: head.sequence,
                through,
                newest_first: false,
                events_max: 1_000,
                bytes_max: 4 * 1024 * 1024,
                with_raw: true,
            };
            match shared.reader.read(query).await {
                Ok(batch) => {
                    self.route(shared, &batch.events);
                    // Sequences may skip: then nothing is left up to `through`.
                    if batch.complete {
                        return Ok(());
                    }
                }
                // Removed before it was ever routed: the subscribers meet the gap themselves.
                Err(ReadError::Expired(earliest)) => {
                    self.detach_all();
                    shared.head.advance(earliest.before);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot route from the log");
                    return Err(error);
                }
            }
        }
    }

    /// Puts the events after the head into the queues of those who want them, then moves the head.
    fn route(&mut self, shared: &Shared, events: &[StoredEvent]) {
        let head = shared.head.position().sequence;
        let events = &events[events.partition_point(|event| event.sequence <= head)..];
        let Some(last) = events.last() else { return };

        let mut messages = Messages::new(shared.epoch, events);
        self.classes.retain(|class, queues| {
            let wanted =
                (0..events.len()).filter(|&index| class.filter.matches(&events[index].keys));
            match messages.of(class.view, wanted) {
                // A full queue has detached itself.
                Ok(frames) => {
                    queues.retain(|_, queue| frames.iter().all(|frame| queue.push(frame)))
                }
                Err(error) => {
                    tracing::error!(%error, "cannot show an event");
                    // They meet the same event in the log, and end with its error.
                    queues.values().for_each(|queue| queue.detach());
                    queues.values().for_each(|queue| queue.nudge());
                    queues.clear();
                }
            }
            !queues.is_empty()
        });
        shared.head.advance(last.position());
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
                    self.classes.entry(class).or_default().insert(id, queue);
                    // Nobody waits any more if the subscriber has left: its leave is on the way.
                    let _ = attached.send(head);
                }
            }
            Command::Leave { id, class } => {
                if let Some(queues) = self.classes.get_mut(&class) {
                    queues.remove(&id);
                    if queues.is_empty() {
                        self.classes.remove(&class);
                    }
                }
            }
            Command::Flush { done } => {
                let _ = done.send(());
            }
        }
    }

    fn detach_all(&mut self) {
        for (_, queues) in self.classes.drain() {
            for queue in queues.into_values() {
                queue.detach();
                queue.nudge();
            }
        }
    }
}

/// The events of a group as messages, each made once per view and only if somebody wants it.
struct Messages<'a> {
    epoch: Epoch,
    events: &'a [StoredEvent],
    views: HashMap<View, Vec<Option<Bytes>>>,
}

impl<'a> Messages<'a> {
    fn new(epoch: Epoch, events: &'a [StoredEvent]) -> Self {
        Self {
            epoch,
            events,
            views: HashMap::new(),
        }
    }

    fn of(
        &mut self,
        view: View,
        wanted: impl Iterator<Item = usize>,
    ) -> Result<Vec<frame::Frame>, prost::DecodeError> {
        let made = self
            .views
            .entry(view)
            .or_insert_with(|| vec![None; self.events.len()]);
        let mut messages = Vec::new();
        for index in wanted {
            let event = &self.events[index];
            let message = match &mut made[index] {
                Some(message) => message.clone(),
                empty => empty
                    .insert(frame::event_message(
                        self.epoch,
                        event,
                        &view.render(event)?,
                    ))
                    .clone(),
            };
            messages.push((event.position(), message));
        }
        Ok(frame::join(
            messages.iter().map(|(end, message)| (*end, message)),
        ))
    }
}
