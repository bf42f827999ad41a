//! The router: one task that follows the log and feeds the queues of live subscriptions.
//!
//! Groups that come in while the subscribers of the last route have not run yet are routed
//! together.
//!
//! A group costs one look-up in the index for each event, one message for each event and shape that
//! a class wants, one buffer for each class that wants something, and one push for each of its
//! subscriptions. Subscriptions that want nothing of it cost nothing.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task,
    time::{Instant, timeout_at},
};

use super::{
    class::{Class, ClassId},
    head::Head,
    live::Live,
    queue::Queue,
    registry::{Registry, SubscriberId},
    woken::Wakings,
};
use crate::{
    event::{Group, Position, Raw, Sequence, StoredEvent},
    log::{Followed, Follower, Followers},
};

/// The way to the router. The channel has no bound, but a subscription never has more than one
/// attach and one leave in it.
pub(super) type Commands = mpsc::UnboundedSender<Command>;

pub(super) enum Command {
    /// Feeds this queue with the events after the head. Answers with the head; drops the answer if
    /// the head is before `at_least`.
    Attach {
        id: SubscriberId,
        class: Arc<Class>,
        queue: Arc<Queue>,
        at_least: Sequence,
        attached: oneshot::Sender<Position>,
    },
    /// Forgets a subscriber.
    Leave { id: SubscriberId, class: ClassId },
    /// Answers when all durable events are in the queues.
    Flush { done: oneshot::Sender<()> },
}

pub(super) struct Router {
    head: Arc<Head>,
    registry: Arc<Registry>,
    commands: mpsc::UnboundedReceiver<Command>,
    follower: Follower,
    /// The last event that retention will soon remove.
    leaving: watch::Receiver<Sequence>,
    /// Grows when events were erased.
    erasures: watch::Receiver<u64>,
    live: Live,
    wakings: Wakings,
    /// See [`ROUTE_BYTES_MAX`].
    route_bytes_max: usize,
}

/// The most commands that are taken together. The router follows the log once for all of them.
const COMMANDS_AT_ONCE: usize = 256;
/// After this time, commands wait until the router has looked for new events. A command with a
/// large filter costs a hundred times as much as one without.
const COMMANDS_TIME_MAX: Duration = Duration::from_millis(1);
/// How long the router waits for the subscriptions that it has woken, before it routes what has
/// come in meanwhile. They have run by then unless the machine is too busy.
const WAKING_TIME_MAX: Duration = Duration::from_millis(10);
/// Groups that wait are routed together up to so many bytes of messages, but no more than a queue
/// takes. A larger group is routed alone.
const ROUTE_BYTES_MAX: usize = 128 * 1024;

impl Router {
    pub(super) fn new(
        head: Arc<Head>,
        registry: Arc<Registry>,
        commands: mpsc::UnboundedReceiver<Command>,
        followers: &Followers,
        live: Live,
        wakings: Wakings,
        queue_bytes_max: usize,
    ) -> Self {
        Self {
            commands,
            leaving: followers.leaving(),
            erasures: followers.erasures(),
            follower: followers.from(head.position().sequence).urgent(),
            head,
            registry,
            live,
            wakings,
            route_bytes_max: ROUTE_BYTES_MAX.min(queue_bytes_max),
        }
    }

    pub(super) async fn run(mut self) {
        self.available(self.follower.tail().available);
        let (mut following, mut retaining, mut erasing) = (true, true, true);
        let mut woken_until = None;
        loop {
            let mut commands = Vec::new();
            let mut followed = None;
            tokio::select! {
                count = self.commands.recv_many(&mut commands, COMMANDS_AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                }
                next = self.follower.next(), if following && woken_until.is_none() => {
                    following = next.is_some();
                    followed = next;
                }
                () = all_have_run(&self.wakings, woken_until), if woken_until.is_some() => {
                    woken_until = None;
                }
                // Whoever is told a place behind these events can resume after they are gone.
                changed = self.leaving.changed(), if retaining => {
                    retaining = changed.is_ok();
                    let leaving = *self.leaving.borrow_and_update();
                    self.registry.ask_behind(leaving);
                }
                // What waits in memory may hold what was erased. The log has what is left.
                changed = self.erasures.changed(), if erasing => {
                    erasing = changed.is_ok();
                    self.follow().await;
                    self.live.detach_waiting();
                }
            }
            if let Some(followed) = followed {
                self.take(followed);
                woken_until = Some(Instant::now() + WAKING_TIME_MAX);
            }
            if !commands.is_empty() {
                self.obey(commands).await;
            }
            // Routing has no await, so other tasks need this to run.
            task::yield_now().await;
        }
    }

    /// Obeys commands. Before every few of them it routes what is durable: a subscription that
    /// begins after a webhook was answered begins after that event.
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
                    // An error means that the subscriber has left: its leave command follows.
                    let _ = attached.send(head);
                }
            }
            Command::Leave { id, class } => self.live.forget(id, class),
            Command::Flush { done } => {
                let _ = done.send(());
            }
        }
    }

    /// Routes what is durable now, and no more, so that commands are obeyed under load, too.
    async fn follow(&mut self) {
        let tail = self.follower.tail().position.sequence;
        // An error means that the log cannot be read. The follower logs it and tries again.
        while let Ok(Some(followed)) = self.follower.next_through(tail).await {
            self.take(followed);
        }
    }

    fn take(&mut self, followed: Followed) {
        match followed {
            Followed::Group(group) => {
                let (groups, too_large) = self.with_waiting(group);
                self.live.route(&events(&groups));
                self.live.route(&events(too_large.as_slice()));
            }
            // Events were removed before they were routed. Each subscription learns that when it
            // reads the log.
            Followed::Removed(earliest) => {
                self.live.detach_all();
                self.head.advance(earliest.before);
            }
            // The same for events that cannot be read.
            Followed::Damaged(damage) => {
                self.live.detach_all();
                self.head.advance(damage.behind());
            }
            Followed::Available(available) => self.available(available),
        }
    }

    /// Notes whether the log takes events. A change of that is told to all subscribers.
    fn available(&self, available: bool) {
        if self.head.available.swap(available, Ordering::Relaxed) != available {
            self.registry.nudge_all();
        }
    }

    /// Puts groups that wait together with one, as far as [`ROUTE_BYTES_MAX`] allows: under load
    /// they go out together. The second is the group that was taken and is too large for that.
    fn with_waiting(&mut self, group: Group) -> (Vec<Group>, Option<Group>) {
        let with_raw = self.live.needs_raw();
        let mut bytes = weight(&group, with_raw);
        let mut groups = vec![group];
        while bytes < self.route_bytes_max
            && let Some(group) = self.follower.waiting()
        {
            bytes += weight(&group, with_raw);
            if bytes > self.route_bytes_max {
                return (groups, Some(group));
            }
            groups.push(group);
        }
        (groups, None)
    }
}

/// Waits for the subscriptions that a route has woken, but no longer than `until`.
async fn all_have_run(wakings: &Wakings, until: Option<Instant>) {
    if let Some(until) = until {
        let _ = timeout_at(until, wakings.none_left()).await;
    }
}

fn events(groups: &[Group]) -> Vec<&StoredEvent> {
    groups.iter().flat_map(|group| group.iter()).collect()
}

/// Bytes of a message's prefix, cursor and field lengths.
const BESIDE_EVENT_BYTES: usize = 80;
/// Bytes of a raw header's field lengths.
const BESIDE_HEADER_BYTES: usize = 16;

/// At least the bytes of a group's messages.
fn weight(group: &[StoredEvent], with_raw: bool) -> usize {
    let header = |(name, value): &(String, String)| name.len() + value.len() + BESIDE_HEADER_BYTES;
    let raw = |raw: &Raw| raw.json.len() + raw.headers.iter().map(header).sum::<usize>();
    let event = |event: &StoredEvent| {
        let sent = event.raw.as_ref().filter(|_| with_raw);
        event.encoded.len() + sent.map_or(0, raw) + BESIDE_EVENT_BYTES
    };
    group.iter().map(event).sum()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        event::{Epoch, EventId, NewEvent},
        fanout::{
            frame::Memory,
            message::{Encoder, Shape},
            request::Encoding,
        },
        proto,
        view::{Redaction, View},
    };

    #[test]
    fn a_group_weighs_no_less_than_its_messages_and_little_more() {
        let check = |text: usize, headers: usize| {
            let header = |number| (format!("x-webhook-{number}"), "v".repeat(text));
            let new = NewEvent {
                id: EventId([1; 16]),
                event: proto::Event {
                    status: "s".repeat(text),
                    ..proto::Event::default()
                },
                event_time_given: false,
                raw: Raw {
                    json: vec![b' '; 3 * text].into(),
                    headers: (0..headers).map(header).collect(),
                },
            };
            let at = Timestamp::from_second(1_900_000_000).unwrap();
            let event = new.place(Sequence(u64::MAX), at);
            for (view, with_raw) in [(View::Standard, false), (View::Raw, true)] {
                let shape = Shape {
                    view,
                    redaction: Redaction::default(),
                    encoding: Encoding::Identity,
                };
                let mut encoder = Encoder::new(Epoch([9; 16]), shape, Memory::default());
                let message = encoder.event(&event).unwrap().len();
                let weight = weight(std::slice::from_ref(&event), with_raw);
                let most = message + BESIDE_EVENT_BYTES + headers * BESIDE_HEADER_BYTES;
                assert!((message..=most).contains(&weight), "{message} and {weight}");
            }
        };
        for text in [0, 1, 200, 20_000, 600_000] {
            check(text, 0);
            check(text, 20);
        }
    }
}
