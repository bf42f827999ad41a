//! Counts open calls, and the bytes of incomplete requests.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::grpc::status::Failure;

/// How much calls may hold until they are answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    connection_bytes: usize,
    bytes: usize,
    connection_calls: usize,
    calls: usize,
}

/// For the services without credentials: enough for a health watch on each channel of a proxy, but
/// too little to fill the memory.
pub(super) const OPEN: Bounds = Bounds {
    connection_bytes: 1 << 20,
    bytes: 16 << 20,
    connection_calls: 1_000,
    calls: 20_000,
};
/// For all other services: a filter may have 1.5 MiB, and a thousand subscriptions may come at
/// once.
pub(super) const OTHERS: Bounds = Bounds {
    connection_bytes: 16 << 20,
    bytes: 128 << 20,
    connection_calls: usize::MAX,
    calls: usize::MAX,
};

pub(super) struct Counts {
    bounds: Bounds,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: Share,
    /// By the peer's address, which no other connection has while this one is open.
    connections: HashMap<Option<SocketAddr>, Share>,
}

#[derive(Default)]
struct Share {
    calls: usize,
    bytes: usize,
}

impl Counts {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            held: Mutex::default(),
        }
    }

    pub(super) fn begin(self: Arc<Self>, peer: Option<SocketAddr>) -> Result<Call, Failure> {
        let Bounds {
            connection_calls,
            calls,
            ..
        } = self.bounds;
        let mut held = self.lock();
        let Held { all, connections } = &mut *held;
        let of_connection = connections.get(&peer).map_or(0, |share| share.calls);
        if of_connection >= connection_calls || all.calls >= calls {
            let limit = if all.calls >= calls {
                calls
            } else {
                connection_calls
            };
            return Err(Failure::RequestLimit {
                what: "open calls",
                limit,
            });
        }
        all.calls += 1;
        connections.entry(peer).or_default().calls += 1;
        drop(held);
        Ok(Call {
            counts: self,
            peer,
            bytes: Mutex::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that counts until it is dropped.
pub(super) struct Call {
    counts: Arc<Counts>,
    peer: Option<SocketAddr>,
    /// Bytes of its incomplete message.
    bytes: Mutex<usize>,
}

impl Call {
    /// Sets the bytes of the call's incomplete message.
    pub(super) fn hold(&self, bytes: usize) -> Result<(), Failure> {
        let mut own = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.counts.lock();
        let Held { all, connections } = &mut *held;
        let share = connections.entry(self.peer).or_default();
        all.bytes = all.bytes - *own + bytes;
        share.bytes = share.bytes - *own + bytes;
        *own = bytes;
        let bounds = self.counts.bounds;
        let limit = match (
            share.bytes > bounds.connection_bytes,
            all.bytes > bounds.bytes,
        ) {
            (false, false) => return Ok(()),
            (true, _) => bounds.connection_bytes,
            (false, true) => bounds.bytes,
        };
        Err(Failure::RequestLimit {
            what: "bytes of unfinished requests",
            limit,
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let own = *self.bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.counts.lock();
        let Held { all, connections } = &mut *held;
        all.calls -= 1;
        all.bytes -= own;
        if let Some(share) = connections.get_mut(&self.peer) {
            share.calls -= 1;
            share.bytes -= own;
            if share.calls == 0 {
                connections.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Arc<Counts> {
        Arc::new(Counts::new(Bounds {
            connection_bytes: 10,
            bytes: 15,
            connection_calls: 2,
            calls: 3,
        }))
    }

    fn peer(port: u16) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], port).into())
    }

    fn limit<T>(result: Result<T, Failure>) -> Option<usize> {
        match result {
            Err(Failure::RequestLimit { limit, .. }) => Some(limit),
            _ => None,
        }
    }

    #[test]
    fn calls_and_bytes_are_bounded_for_each_connection_and_in_all() {
        let counts = counts();
        let begin = |port| counts.clone().begin(peer(port));
        let first = begin(1).unwrap();
        let second = begin(1).unwrap();
        assert_eq!(limit(begin(1)), Some(2));
        let other = begin(2).unwrap();
        assert_eq!(limit(begin(3)), Some(3));

        assert!(first.hold(6).is_ok());
        assert!(second.hold(4).is_ok());
        assert_eq!(limit(second.hold(5)), Some(10));
        assert!(second.hold(0).is_ok());
        assert!(other.hold(9).is_ok());
        assert_eq!(limit(other.hold(10)), Some(15));
        drop((first, second, other));
        let held = counts.lock();
        assert!(held.connections.is_empty() && held.all.calls == 0 && held.all.bytes == 0);
    }
}
