//! Limits: which addresses may send requests, how many requests in all, and how many of one client.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota,
    clock::{Clock, DefaultClock},
};
use ipnet::{IpNet, Ipv4Net};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Config, refusal::Refusal};
use crate::server;

/// `Retry-After` when too many requests are in flight, or their bodies take all the room.
pub(super) const PLACE_RETRY: Duration = Duration::from_secs(1);
/// After this number of requests, clients without recent requests are removed from memory.
const FORGET_INTERVAL: u32 = 1024;

/// The limits of the door, and the requests that count for them.
pub(super) struct Limits {
    addresses_allowed: Vec<IpNet>,
    places: Arc<Semaphore>,
    clients: Option<Clients>,
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            addresses_allowed: config.addresses_allowed.iter().map(unmapped).collect(),
            places: Arc::new(Semaphore::new(config.requests_in_flight_max)),
            clients: config.client_requests_per_second_max.map(Clients::new),
        }
    }

    /// Refuses addresses that are not on the list; an empty list allows all.
    pub(super) fn check_address(&self, peer: IpAddr) -> Result<(), Refusal> {
        let peer = peer.to_canonical();
        let allowed = &self.addresses_allowed;
        if allowed.is_empty() || allowed.iter().any(|net| net.contains(&peer)) {
            Ok(())
        } else {
            Err(Refusal::AddressDenied)
        }
    }

    /// A place for a request, to be held until it is answered. If there is none, the request is
    /// refused at once, without a queue.
    pub(super) fn enter(&self, peer: IpAddr) -> Result<OwnedSemaphorePermit, Refusal> {
        let place =
            Arc::clone(&self.places)
                .try_acquire_owned()
                .map_err(|_| Refusal::RateLimited {
                    retry_after: PLACE_RETRY,
                })?;
        if let Some(clients) = &self.clients {
            clients.count(peer)?;
        }
        Ok(place)
    }
}

/// The recent requests of each client.
///
/// Its memory is bounded: a client without requests for a second has its whole quota again, and is
/// removed. So there are only the clients of about one second, each of which has opened a
/// connection, and at most [`FORGET_INTERVAL`] more.
struct Clients {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    until_forget: AtomicU32,
}

impl Clients {
    fn new(requests_per_second_max: NonZeroU32) -> Self {
        Self {
            limiter: DefaultKeyedRateLimiter::keyed(Quota::per_second(requests_per_second_max)),
            clock: DefaultClock::default(),
            until_forget: AtomicU32::new(0),
        }
    }

    fn count(&self, peer: IpAddr) -> Result<(), Refusal> {
        let requests = self.until_forget.fetch_add(1, Ordering::Relaxed);
        if requests.is_multiple_of(FORGET_INTERVAL) {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(&server::client(peer))
            .map_err(|not_until| Refusal::RateLimited {
                retry_after: not_until.wait_time_from(self.clock.now()),
            })
    }
}

/// Turns `::ffff:192.0.2.0/120` into `192.0.2.0/24`, since peers are compared in that form.
fn unmapped(net: &IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(mapped) = net else { return *net };
    let v4 = mapped.addr().to_ipv4_mapped().and_then(|addr: Ipv4Addr| {
        let bits = mapped.prefix_len().checked_sub(MAPPED_BITS)?;
        Ipv4Net::new(addr, bits).ok()
    });
    v4.map_or(*net, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(config: Config) -> Limits {
        Limits::new(&config)
    }

    #[test]
    fn only_listed_addresses_are_let_in_in_whichever_form_they_come() {
        let allow = |list: &[&str]| {
            limits(Config {
                addresses_allowed: list.iter().map(|net| net.parse().unwrap()).collect(),
                ..Config::default()
            })
        };
        let listed = allow(&["192.0.2.0/24", "2001:db8::/32", "::ffff:198.51.100.7/128"]);
        let check = |limits: &Limits, peer: &str, expected: bool| {
            let checked = limits.check_address(peer.parse().unwrap());
            assert_eq!(checked.is_ok(), expected, "{peer}");
        };
        check(&listed, "192.0.2.255", true);
        check(&listed, "::ffff:192.0.2.1", true);
        check(&listed, "2001:db8:1::1", true);
        check(&listed, "198.51.100.7", true);
        check(&listed, "::ffff:198.51.100.7", true);
        check(&listed, "192.0.3.1", false);
        check(&listed, "::ffff:192.0.3.1", false);
        check(&listed, "2001:db9::1", false);
        check(&listed, "127.0.0.1", false);
        check(&allow(&[]), "127.0.0.1", true);
    }

    #[test]
    fn a_full_gateway_refuses_at_once_until_a_place_is_free() {
        let limits = limits(Config {
            requests_in_flight_max: 2,
            ..Config::default()
        });
        let peer = Ipv4Addr::LOCALHOST.into();
        let (first, _second) = (limits.enter(peer).unwrap(), limits.enter(peer).unwrap());
        assert!(matches!(
            limits.enter(peer),
            Err(Refusal::RateLimited { .. })
        ));
        drop(first);
        assert!(limits.enter(peer).is_ok());
    }

    #[test]
    fn a_client_over_its_rate_is_refused_and_others_are_not() {
        let limits = limits(Config {
            client_requests_per_second_max: NonZeroU32::new(2),
            ..Config::default()
        });
        let enter = |peer: &str| limits.enter(peer.parse().unwrap()).map(drop);
        let refused = (0..100).filter(|_| enter("192.0.2.1").is_err()).count();
        assert!(refused > 90, "{refused}");
        assert!(matches!(
            enter("::ffff:192.0.2.1"),
            Err(Refusal::RateLimited { retry_after }) if retry_after <= Duration::from_secs(1)
        ));
        assert_eq!(enter("192.0.2.2"), Ok(()));
    }

    #[test]
    fn an_ipv6_host_cannot_pass_for_many_clients() {
        let client = |peer: &str| server::client(peer.parse().unwrap()).to_string();
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(client("192.0.2.1"), "192.0.2.1");
    }
}
