//! The router: the one task that owns who is live.
//!
//! What a group costs: a look-up in the index for each event, a message for each event and shape
//! that somebody wants, one buffer for each class that wants something, and a push for each of its
//! subscribers. Nothing is paid for a subscriber that wants none of it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task,
};

use super::{
    class::{Class, ClassId},
    head::Head,
    live::Live,
    queue::Queue,
    registry::{Registry, SubscriberId},
};
use crate::{
    event::{Group, Position, Sequence, StoredEvent},
    log::{Followed, Follower, Followers, Tail},
};

/// The way to the router. It is unbounded as a type; in fact a subscription has at most one attach
/// and one leave in it.
pub(super) type Commands = mpsc::UnboundedSender<Command>;

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
    head: Arc<Head>,
    registry: Arc<Registry>,
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
        head: Arc<Head>,
        registry: Arc<Registry>,
        commands: mpsc::UnboundedReceiver<Command>,
        followers: &Followers,
        live: Live,
    ) -> Self {
        Self {
            commands,
            tail: followers.tail(),
            follower: followers.from(head.position().sequence).urgent(),
            head,
            registry,
            live,
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
            if let Some(followed) = followed {
                self.route(followed);
            }
            let now_available = self.tail.borrow().available;
            if now_available != available {
                available = now_available;
                self.head.available.store(available, Ordering::Relaxed);
                self.registry.nudge_all();
            }
            if !commands.is_empty() {
                self.obey(commands).await;
            }
            // Routing gives no other occasion.
            task::yield_now().await;
        }
    }

    /// Obeys commands, and routes what is durable before each few of them: whoever subscribes after
    /// a webhook's answer begins behind that event.
    async fn obey(&mut self, commands: Vec<Command>) {
        self.follow().await;
        let mut began = Instant::now();
        for command in commands {
            if began.elapsed() > COMMANDS_TIME_MAX {
                task::yield_now().await;
                self.follow().await;
                began = Instant::now();
            }
            self.obey_one(command);
        }
    }

    fn obey_one(&mut self, command: Command) {
        match command {
            Command::Attach {
                id,
                class,
                queue,
                at_least,
                attached,
            } => {
                let head = self.head.position();
                if head.sequence >= at_least {
                    self.live.attach(id, class, queue);
                    // An error means that the subscriber has left: its leave is on the way.
                    let _ = attached.send(head);
                }
            }
            Command::Leave { id, class } => self.live.forget(id, class),
            Command::Flush { done } => {
                let _ = done.send(());
            }
        }
    }

    /// Routes what is durable now, and no more: commands have their turn, however fast events come.
    async fn follow(&mut self) {
        let tail = self.tail.borrow().position.sequence;
        // An error means that the log cannot be read. The follower says so, and tries again.
        while let Ok(Some(followed)) = self.follower.next_through(tail).await {
            self.route(followed);
        }
    }

    fn route(&mut self, followed: Followed) {
        match followed {
            Followed::Group(group) => {
                let groups = self.with_waiting(group);
                let events: Vec<&StoredEvent> =
                    groups.iter().flat_map(|group| group.iter()).collect();
                self.live.route(&events);
            }
            // Removed before it was ever routed: the subscribers meet the gap themselves.
            Followed::Removed(earliest) => {
                self.live.detach_all();
                self.head.advance(earliest.before);
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
