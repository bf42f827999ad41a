//! The places of a door: which connections have one, and which gives way when none is left.
//!
//! If the door is full, the idlest connection gives its place to the new one. If one client has as
//! many connections as allowed, its own idlest one does. A connection is idle while none of its
//! requests is in flight, whatever else it sends. Many clients may come at once, so each new
//! connection has a moment to send a request before it must give way. A connection that finds no
//! place waits for such moments to pass and for places to become free, but never for busy ones.

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

/// One in this many places is for connections without a request so far. Above that share they give
/// way first, so that a flood of them does not displace the others.
const SILENT_SHARE: usize = 4;
/// If all connections are busy, a new one still waits for this long after something has changed.
const TURNOVER: Duration = Duration::from_millis(250);
/// In addition to the places, one in this many is for connections that lost their place and are
/// about to close.
const LEAVING_SHARE: usize = 16;

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The most connections.
    pub(super) connections: usize,
    /// The most connections of one client.
    pub(super) of_client: usize,
    /// How long a connection has to send something, and then its first request, before it may have
    /// to give way.
    pub(super) moment: Duration,
}

/// The answer to a new connection.
pub(super) enum Admission {
    /// It has a place. The receiver says when to give it up.
    Place(Arc<Place>, Receiver<Leave>),
    /// It has to ask again soon.
    Later,
    /// All connections are busy, and nothing changes.
    Never,
}

/// Which connection gives way.
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

/// A connection's number. It is never used again.
type Id = u64;

#[derive(Default)]
struct Inner {
    /// Increases whenever a connection is opened or becomes idle. It puts idle connections in
    /// order.
    turn: u64,
    open: HashMap<Id, Connection>,
    idle: Idle,
    clients: HashMap<IpAddr, Client>,
    /// Connections that lost their place but are not closed yet. They still use descriptors.
    leaving: HashSet<Id>,
}

struct Connection {
    client: IpAddr,
    /// When it was opened or became idle.
    since: Instant,
    /// Its place in the queue of idle connections.
    turn: u64,
    queue: Queue,
    /// Requests in flight: `young` ones began since the last look, `old` ones before it.
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

/// The queue of an idle connection.
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
    /// How many have a task that has not run yet. They may have sent a request that nobody has
    /// read.
    unseen: usize,
    /// `silent` ones had no request yet; `rested` are the others. By turn, so the idlest comes
    /// first.
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

    /// The connection that gives way first, however new it is.
    fn first(&self) -> Option<Id> {
        let silent = self.silent.values().next();
        silent.or(self.rested.values().next()).copied()
    }

    /// Which connection gives way, if there are this many `places`.
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

/// How a connection has to give up its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It may say goodbye first.
    Gracefully,
    /// At once, because too many connections are saying goodbye.
    AtOnce,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Idle {
        since: Instant,
    },
    /// It has a request in flight. `stuck` if one of these was already in flight at the last look.
    Busy {
        stuck: bool,
    },
    /// It has lost its place.
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

    /// Asks for a place for a connection from `peer`.
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
                // The other half is for connections that leave at once, so that the door never
                // waits for goodbyes.
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

    /// Whether there is a descriptor for one more connection. If not, connections that were told to
    /// leave have to close first.
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
        // An error means that the connection is ending by itself.
        let _ = connection.leave.send(how);
        inner.leaving.insert(id);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many connections may be open in addition to the places, because they lost theirs.
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

    /// Notes that a connection without a request so far has sent something, or that its task runs.
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

    /// Puts a connection into a queue of idle ones.
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

/// A connection's place. Dropping it frees the place.
pub(super) struct Place {
    places: Arc<Places>,
    id: Id,
    client: IpAddr,
}

impl Place {
    /// Begins a request on the connection. It is in flight until the result is dropped.
    pub(super) fn request(self: &Arc<Self>) -> InFlight {
        let began = self.places.lock().begin(self.id);
        let place = Arc::clone(self);
        InFlight { place, began }
    }

    /// Notes that the connection's task runs, or that the client has sent something. Its moment
    /// begins now.
    pub(super) fn seen(&self) {
        self.places.lock().seen(self.id);
    }

    /// Whether no request of the connection is in flight.
    pub(super) fn is_idle(&self) -> bool {
        let inner = self.places.lock();
        inner.open.get(&self.id).is_none_or(Connection::is_idle)
    }

    /// What the connection is doing. Each look makes young requests old.
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

    /// Counts a failed TLS handshake.
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

/// What counts as one client: an IPv4 address, or an IPv6 /64, in which a host can choose its
/// address.
#[must_use]
pub(crate) fn client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
