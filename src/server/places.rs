//! The places of a door: who has one, and who gives way when none is left.
//!
//! When the door is full, the idlest connection gives its place to the new one; when one client has
//! as many as it may have, its own idlest does. A connection is idle while none of its requests is
//! in flight, whatever else it sends. One that came only just now is not asked: many clients may
//! come at once, and each has a moment to send its request. The newest one waits for that moment,
//! and for places that become free, but never for one that stays busy.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot::{self, Receiver, Sender},
    time::Instant,
};

use super::{
    handshake::Failure,
    metrics::{Closed, DoorMetrics},
};

/// So much of the places is for connections that had no request yet: under a flood of them the
/// others stay.
const SILENT_SHARE: usize = 4;
/// Where all are busy, places count as becoming free for so long after something has moved.
const TURNOVER: Duration = Duration::from_millis(250);
/// So much of the places again is for connections that have given theirs away and are about to
/// close.
const LEAVING_SHARE: usize = 16;

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections at the same time.
    pub(super) connections: usize,
    /// Of these, connections of one client.
    pub(super) of_client: usize,
    /// How long a connection may take to send something, and then its first request, before it is
    /// asked to give way.
    pub(super) moment: Duration,
}

/// What a new connection is told.
pub(super) enum Admission {
    /// It has a place, and is told here when to give it away.
    Place(Arc<Place>, Receiver<Leave>),
    /// It is to ask again soon.
    Later,
    /// All are busy, and nothing moves.
    Never,
}

/// Who gives way.
enum Way {
    Of(Id),
    Later,
    Nobody,
}

/// All places of a door.
pub(super) struct Places {
    bounds: Bounds,
    metrics: DoorMetrics,
    inner: Mutex<Inner>,
}

/// A connection's number. Never used again.
type Id = u64;

#[derive(Default)]
struct Inner {
    /// Counts the moments at which connections are opened or become idle, which puts them in order.
    turn: u64,
    open: HashMap<Id, Connection>,
    idle: Idle,
    clients: HashMap<IpAddr, Client>,
    /// Connections that gave their place away and are not closed yet, so that their descriptors are
    /// still taken.
    leaving: HashSet<Id>,
}

struct Connection {
    client: IpAddr,
    /// When it was opened or became idle.
    since: Instant,
    /// Its place in the queue of idle connections.
    turn: u64,
    queue: Queue,
    /// Requests in flight: those that began since its last look, and those before.
    young: u32,
    old: u32,
    looks: u64,
    leave: Sender<Leave>,
}

impl Connection {
    fn is_idle(&self) -> bool {
        self.young + self.old == 0
    }
}

/// Where a connection stands while it is idle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Unseen,
    Silent,
    Rested,
}

#[derive(Default)]
struct Client {
    connections: usize,
    idle: Idle,
}

/// Idle connections, of the door or of one client.
#[derive(Default)]
struct Idle {
    /// Those whose task has not run yet: a request may have come that nobody has read.
    unseen: usize,
    /// By turn, so the idlest first: those that had no request yet, and the others.
    silent: BTreeMap<u64, Id>,
    rested: BTreeMap<u64, Id>,
    /// When one of the connections last began or ended something.
    moved: Option<Instant>,
}

impl Idle {
    fn put(&mut self, connection: &Connection, id: Id) {
        self.moved = Some(Instant::now());
        match connection.queue {
            Queue::Unseen => self.unseen += 1,
            Queue::Silent => drop(self.silent.insert(connection.turn, id)),
            Queue::Rested => drop(self.rested.insert(connection.turn, id)),
        }
    }

    fn take(&mut self, connection: &Connection) {
        self.moved = Some(Instant::now());
        match connection.queue {
            Queue::Unseen => self.unseen -= 1,
            Queue::Silent => drop(self.silent.remove(&connection.turn)),
            Queue::Rested => drop(self.rested.remove(&connection.turn)),
        }
    }

    /// The idlest, whenever it came.
    fn first(&self) -> Option<Id> {
        let silent = self.silent.values().next();
        silent.or(self.rested.values().next()).copied()
    }

    /// Who gives way, of `places`.
    fn way(&self, places: usize, has_had_its_moment: impl Fn(Id) -> bool) -> Way {
        let silent = self.silent.values().next().copied();
        let rested = self.rested.values().next().copied();
        let new = self.unseen + self.silent.len();
        let is_moving = || self.moved.is_some_and(|at| at.elapsed() < TURNOVER);
        match silent.filter(|&id| has_had_its_moment(id)) {
            Some(id) => Way::Of(id),
            None => match rested.filter(|_| new <= places / SILENT_SHARE) {
                Some(id) => Way::Of(id),
                None if new > 0 || is_moving() => Way::Later,
                None => Way::Nobody,
            },
        }
    }
}

/// How a connection is to give its place away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// After it has said so.
    Gracefully,
    /// At once: there are too many who say goodbye.
    AtOnce,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Idle {
        since: Instant,
    },
    /// It has a request in flight; `stuck` if one of these was so at the last look already.
    Busy {
        stuck: bool,
    },
    /// It has given its place away.
    Leaving,
}

impl Places {
    pub(super) fn new(bounds: Bounds, metrics: DoorMetrics) -> Self {
        Self {
            bounds,
            metrics,
            inner: Mutex::default(),
        }
    }

    pub(super) fn metrics(&self) -> &DoorMetrics {
        &self.metrics
    }

    /// A place for a connection from `peer`.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Admission {
        let client = client(peer);
        let mut inner = self.lock();
        let of_client = inner.clients.get(&client);
        let (way, evicted, refused) =
            if of_client.is_some_and(|it| it.connections >= self.bounds.of_client) {
                let way = of_client.map(|it| self.way(&inner, &it.idle, self.bounds.of_client));
                (way, Closed::ClientLimit, Closed::ClientLimit)
            } else if inner.open.len() >= self.bounds.connections {
                let way = self.way(&inner, &inner.idle, self.bounds.connections);
                (Some(way), Closed::Evicted, Closed::Full)
            } else {
                (None, Closed::Evicted, Closed::Full)
            };
        match way {
            None => {}
            Some(Way::Of(id)) => {
                // The other half is for those who leave at once, so that the door never waits for
                // goodbyes.
                let at_once = inner.leaving.len() >= leaving_max(self.bounds.connections) / 2;
                self.evict(&mut inner, id, evicted, at_once);
            }
            Some(Way::Later) => return Admission::Later,
            Some(Way::Nobody) => {
                self.metrics.closed(refused, client);
                return Admission::Never;
            }
        }
        let (leave, left) = oneshot::channel();
        let id = inner.open(client, leave);
        drop(inner);
        self.metrics.connections.inc();
        let places = Arc::clone(self);
        Admission::Place(Arc::new(Place { places, id, client }), left)
    }

    fn way(&self, inner: &Inner, idle: &Idle, places: usize) -> Way {
        idle.way(places, |id| {
            let connection = inner.open.get(&id);
            connection.is_some_and(|it| it.since.elapsed() >= self.bounds.moment)
        })
    }

    /// Whether there is a descriptor for one more connection: those that were told to leave have to
    /// be closed first.
    pub(super) fn has_descriptors(&self) -> bool {
        self.lock().leaving.len() < leaving_max(self.bounds.connections)
    }

    /// Closes the idlest connection, so that its descriptor is free.
    pub(super) fn free_one(&self) {
        let mut inner = self.lock();
        if let Some(id) = inner.idle.first() {
            self.evict(&mut inner, id, Closed::Evicted, true);
        }
    }

    fn evict(&self, inner: &mut Inner, id: Id, reason: Closed, at_once: bool) {
        let Some(connection) = inner.remove(id) else {
            return;
        };
        self.metrics.closed(reason, connection.client);
        let how = match at_once {
            true => Leave::AtOnce,
            false => Leave::Gracefully,
        };
        // One that is about to end by itself does not listen any more.
        let _ = connection.leave.send(how);
        inner.leaving.insert(id);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many connections may still be open at the same time after they gave their place away.
pub(super) fn leaving_max(connections: usize) -> usize {
    (connections / LEAVING_SHARE).max(2)
}

impl Inner {
    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    fn open(&mut self, client: IpAddr, leave: Sender<Leave>) -> Id {
        let id = self.next_turn();
        let connection = Connection {
            client,
            since: Instant::now(),
            turn: id,
            queue: Queue::Unseen,
            young: 0,
            old: 0,
            looks: 0,
            leave,
        };
        self.clients.entry(client).or_default().connections += 1;
        self.open.insert(id, connection);
        self.put(id);
        id
    }

    fn remove(&mut self, id: Id) -> Option<Connection> {
        if self.open.get(&id)?.is_idle() {
            self.take(id);
        }
        let connection = self.open.remove(&id)?;
        if let Some(client) = self.clients.get_mut(&connection.client) {
            client.connections -= 1;
            client.idle.moved = Some(Instant::now());
            if client.connections == 0 {
                self.clients.remove(&connection.client);
            }
        }
        self.idle.moved = Some(Instant::now());
        Some(connection)
    }

    /// Something has come, or could have come, on a connection that had no request yet.
    fn seen(&mut self, id: Id) {
        let silent = |it: &Connection| it.is_idle() && it.queue != Queue::Rested;
        if self.open.get(&id).is_some_and(silent) {
            self.take(id);
            self.rest(id, Queue::Silent);
        }
    }

    fn begin(&mut self, id: Id) -> u64 {
        if self.open.get(&id).is_some_and(Connection::is_idle) {
            self.take(id);
        }
        let Some(connection) = self.open.get_mut(&id) else {
            return 0;
        };
        connection.young += 1;
        connection.looks
    }

    fn end(&mut self, id: Id, began: u64) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        if began == connection.looks {
            connection.young -= 1;
        } else {
            connection.old -= 1;
        }
        if connection.is_idle() {
            self.rest(id, Queue::Rested);
        }
    }

    /// A connection is idle from now on.
    fn rest(&mut self, id: Id, queue: Queue) {
        let turn = self.next_turn();
        if let Some(connection) = self.open.get_mut(&id) {
            connection.since = Instant::now();
            connection.turn = turn;
            connection.queue = queue;
        }
        self.put(id);
    }

    fn put(&mut self, id: Id) {
        if let Some(connection) = self.open.get(&id) {
            self.idle.put(connection, id);
            if let Some(client) = self.clients.get_mut(&connection.client) {
                client.idle.put(connection, id);
            }
        }
    }

    fn take(&mut self, id: Id) {
        if let Some(connection) = self.open.get(&id) {
            self.idle.take(connection);
            if let Some(client) = self.clients.get_mut(&connection.client) {
                client.idle.take(connection);
            }
        }
    }
}

/// A connection's place. Free again when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    id: Id,
    client: IpAddr,
}

impl Place {
    /// A request begins on the connection. It is in flight until what comes back is dropped.
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        let began = self.places.lock().begin(self.id);
        let place = Arc::clone(self);
        InFlight { place, began }
    }

    /// The connection's task runs, or the client has sent something: from now on its moment counts.
    pub(super) fn seen(&self) {
        self.places.lock().seen(self.id);
    }

    /// Whether no request of the connection is in flight.
    pub(super) fn is_idle(&self) -> bool {
        let inner = self.places.lock();
        inner.open.get(&self.id).is_none_or(Connection::is_idle)
    }

    /// What the connection is doing. Each look makes the requests in flight older.
    pub(super) fn look(&self) -> Standing {
        let mut inner = self.places.lock();
        let Some(connection) = inner.open.get_mut(&self.id) else {
            return Standing::Leaving;
        };
        if connection.is_idle() {
            let since = connection.since;
            return Standing::Idle { since };
        }
        let stuck = connection.old > 0;
        connection.old += std::mem::take(&mut connection.young);
        connection.looks += 1;
        Standing::Busy { stuck }
    }

    /// Counts that the client and the door could not agree on TLS.
    pub(super) fn handshake_failed(&self, failure: Failure) {
        self.places.metrics.handshake_failed(failure, self.client);
    }

    /// Counts that the door closes the connection by itself.
    pub(super) fn closed(&self, reason: Closed) {
        self.places.metrics.closed(reason, self.client);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.places.lock();
        if inner.remove(self.id).is_none() {
            inner.leaving.remove(&self.id);
        }
        drop(inner);
        self.places.metrics.connections.dec();
    }
}

/// A request in flight.
pub(super) struct InFlight {
    place: Arc<Place>,
    began: u64,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.place.places.lock().end(self.place.id, self.began);
    }
}

/// Who counts as one client: an IPv4 address, or the /64 that an IPv6 host is given and can choose
/// from.
#[must_use]
pub(crate) fn client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
