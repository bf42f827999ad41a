//! The places of a door: who has one, and who gives way when none is left.
//!
//! Nobody waits for a place. When the door is full, the idlest connection gives its place to the new one; when one client has as
//! many as it may have, its own idlest does. A connection is idle while none of its requests is in flight, whatever else it sends.

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

/// A connection that has had no request for so long after it was opened gives way before all others.
const SILENCE: Duration = Duration::from_secs(1);
/// So much of the places is for connections that had no request yet and are younger: under a flood of them the others stay.
const SILENT_SHARE: usize = 4;
/// So much of the places again is for connections that have given theirs away and are about to close.
const LEAVING_SHARE: usize = 16;

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections at the same time.
    pub(super) connections: usize,
    /// Of these, connections of one client.
    pub(super) of_client: usize,
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
    /// Connections that gave their place away and are not closed yet, so that their descriptors are still taken.
    leaving: HashSet<Id>,
}

struct Connection {
    client: IpAddr,
    /// When it was opened or became idle.
    since: Instant,
    /// Its place in the queues of idle connections.
    turn: u64,
    had_request: bool,
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

#[derive(Default)]
struct Client {
    connections: usize,
    idle: Idle,
}

/// Idle connections by turn, so the idlest first: those that had no request yet, and the others.
#[derive(Default)]
struct Idle {
    silent: BTreeMap<u64, Id>,
    rested: BTreeMap<u64, Id>,
}

impl Idle {
    fn of(&mut self, had_request: bool) -> &mut BTreeMap<u64, Id> {
        match had_request {
            true => &mut self.rested,
            false => &mut self.silent,
        }
    }

    /// Who gives way, of `places`. Connections that are only just opened have a moment to send a request, unless they are many.
    fn idlest(&self, places: usize, is_old: impl Fn(Id) -> bool) -> Option<Id> {
        let silent = self.silent.values().next().copied();
        let rested = self.rested.values().next().copied();
        let silent_first =
            silent.filter(|&id| self.silent.len() > places / SILENT_SHARE || is_old(id));
        silent_first.or(rested).or(silent)
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

    /// A place for a connection from `peer`, and the word that it is to give it away. None if nobody who could give way is idle.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<(Arc<Place>, Receiver<Leave>)> {
        let client = client(peer);
        let mut inner = self.lock();
        let of_client = inner.clients.get(&client);
        let room = if of_client.is_some_and(|it| it.connections >= self.bounds.of_client) {
            let idlest = of_client.and_then(|it| inner.idlest(&it.idle, self.bounds.of_client));
            self.give_way(
                &mut inner,
                idlest,
                Closed::ClientLimit,
                Closed::ClientLimit,
                client,
            )
        } else if inner.open.len() >= self.bounds.connections {
            let idlest = inner.idlest(&inner.idle, self.bounds.connections);
            self.give_way(&mut inner, idlest, Closed::Evicted, Closed::Full, client)
        } else {
            true
        };
        if !room {
            return None;
        }
        let (leave, left) = oneshot::channel();
        let id = inner.open(client, leave);
        drop(inner);
        self.metrics.connections.inc();
        let places = Arc::clone(self);
        Some((Arc::new(Place { places, id, client }), left))
    }

    /// Whether there is a descriptor for one more connection: those that were told to leave have to be closed first.
    pub(super) fn has_descriptors(&self) -> bool {
        self.lock().leaving.len() < leaving_max(self.bounds.connections)
    }

    /// Closes the idlest connection, so that its descriptor is free.
    pub(super) fn free_one(&self) {
        let mut inner = self.lock();
        if let Some(id) = inner.idlest(&inner.idle, self.bounds.connections) {
            self.evict(&mut inner, id, Closed::Evicted, true);
        }
    }

    fn give_way(
        &self,
        inner: &mut Inner,
        idlest: Option<Id>,
        evicted: Closed,
        refused: Closed,
        newcomer: IpAddr,
    ) -> bool {
        match idlest {
            Some(id) => {
                // The other half is for those who leave at once, so that the door never waits for goodbyes.
                let at_once = inner.leaving.len() >= leaving_max(self.bounds.connections) / 2;
                self.evict(inner, id, evicted, at_once);
            }
            None => self.metrics.closed(refused, newcomer),
        }
        idlest.is_some()
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

    fn idlest(&self, idle: &Idle, places: usize) -> Option<Id> {
        let is_old = |id| {
            let connection = self.open.get(&id);
            connection.is_some_and(|it| it.since.elapsed() >= SILENCE)
        };
        idle.idlest(places, is_old)
    }

    fn open(&mut self, client: IpAddr, leave: Sender<Leave>) -> Id {
        let id = self.next_turn();
        let connection = Connection {
            client,
            since: Instant::now(),
            turn: id,
            had_request: false,
            young: 0,
            old: 0,
            looks: 0,
            leave,
        };
        self.open.insert(id, connection);
        self.idle.silent.insert(id, id);
        let client = self.clients.entry(client).or_default();
        client.connections += 1;
        client.idle.silent.insert(id, id);
        id
    }

    fn remove(&mut self, id: Id) -> Option<Connection> {
        let connection = self.open.remove(&id)?;
        self.idle
            .of(connection.had_request)
            .remove(&connection.turn);
        if let Some(client) = self.clients.get_mut(&connection.client) {
            client
                .idle
                .of(connection.had_request)
                .remove(&connection.turn);
            client.connections -= 1;
            if client.connections == 0 {
                self.clients.remove(&connection.client);
            }
        }
        Some(connection)
    }

    fn begin(&mut self, id: Id) -> u64 {
        let Some(connection) = self.open.get_mut(&id) else {
            return 0;
        };
        if connection.is_idle() {
            self.idle
                .of(connection.had_request)
                .remove(&connection.turn);
            if let Some(client) = self.clients.get_mut(&connection.client) {
                client
                    .idle
                    .of(connection.had_request)
                    .remove(&connection.turn);
            }
        }
        connection.had_request = true;
        connection.young += 1;
        connection.looks
    }

    fn end(&mut self, id: Id, began: u64) {
        let turn = self.next_turn();
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        if began == connection.looks {
            connection.young -= 1;
        } else {
            connection.old -= 1;
        }
        if connection.is_idle() {
            connection.since = Instant::now();
            connection.turn = turn;
            self.idle.rested.insert(turn, id);
            if let Some(client) = self.clients.get_mut(&connection.client) {
                client.idle.rested.insert(turn, id);
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

/// Who counts as one client: an IPv4 address, or the /64 that an IPv6 host is given and can choose from.
#[must_use]
pub fn client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
