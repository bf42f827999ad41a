use std::net::Ipv4Addr;

use super::{super::metrics::Metrics, *};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Places whose new connections have no moment: they may have to give way at once.
fn places(connections: usize, of_client: usize) -> Arc<Places> {
    places_with(connections, of_client, Duration::ZERO)
}

fn places_with(connections: usize, of_client: usize, moment: Duration) -> Arc<Places> {
    let bounds = Bounds {
        connections,
        of_client,
        moment,
    };
    Arc::new(Places::new(bounds, Metrics::default().door("test")))
}

/// A connection as its task holds it.
struct Held {
    place: Arc<Place>,
    left: Receiver<Leave>,
}

impl Held {
    fn is_told_to_leave(&mut self) -> bool {
        self.left.try_recv().is_ok()
    }

    fn was_opened_earlier(&self, by: Duration) {
        let mut inner = self.place.places.lock();
        let connection = inner.open.get_mut(&self.place.id).unwrap();
        connection.since = connection.since.checked_sub(by).unwrap();
    }

    /// Begins a request and ends it.
    fn asks(&self) {
        drop(self.place.request());
    }
}

fn admit(places: &Arc<Places>, peer: IpAddr) -> Option<Held> {
    let Admission::Place(place, left) = places.admit(peer) else {
        return None;
    };
    place.seen();
    Some(Held { place, left })
}

/// Makes it look as if nothing has changed for a while.
fn stand_still(places: &Places) {
    let mut inner = places.lock();
    inner.idle.moved = None;
    for client in inner.clients.values_mut() {
        client.idle.moved = None;
    }
}

fn leaving(held: &mut [Held]) -> Vec<bool> {
    held.iter_mut().map(Held::is_told_to_leave).collect()
}

#[test]
fn the_idlest_gives_way_and_one_with_a_request_never() {
    let places = places(4, 4);
    let mut held: Vec<_> = (0..4).map(|_| admit(&places, HERE).unwrap()).collect();
    let busy = held[0].place.request();
    held[2].asks();
    held[1].asks();
    let silent = admit(&places, HERE).unwrap();
    assert_eq!(leaving(&mut held), [false, false, false, true]);
    silent.asks();
    let second = admit(&places, HERE).unwrap();
    assert_eq!(leaving(&mut held), [false, false, true, false]);
    second.asks();
    let _third = admit(&places, HERE).unwrap();
    assert_eq!(leaving(&mut held), [false, true, false, false]);
    drop(busy);
}

#[test]
fn a_new_connection_is_refused_only_if_all_others_are_busy() {
    let places = places(2, 2);
    let held: Vec<_> = (0..2).map(|_| admit(&places, HERE).unwrap()).collect();
    let requests: Vec<_> = held.iter().map(|held| held.place.request()).collect();
    assert!(matches!(places.admit(HERE), Admission::Later));
    stand_still(&places);
    assert!(matches!(places.admit(HERE), Admission::Never));
    drop(requests);
    assert!(admit(&places, HERE).is_some());
}

#[test]
fn many_that_come_at_once_have_a_moment_each_and_the_newest_waits_for_it() {
    let moment = Duration::from_secs(60);
    let places = places_with(4, 4, moment);
    let mut held: Vec<_> = (0..3).map(|_| admit(&places, HERE).unwrap()).collect();
    let Admission::Place(unseen, left) = places.admit(HERE) else {
        panic!("there is room")
    };
    held.push(Held {
        place: unseen,
        left,
    });
    let waits = || matches!(places.admit(HERE), Admission::Later);
    assert!(waits());
    let busy: Vec<_> = held[..3].iter().map(|held| held.place.request()).collect();
    stand_still(&places);
    assert!(waits(), "nobody has read yet what came on the last one");
    held[3].place.seen();
    assert!(waits());
    held[3].was_opened_earlier(moment);
    held[3].place.seen();
    assert!(waits(), "it has sent something");
    held[3].was_opened_earlier(moment);
    assert!(admit(&places, HERE).is_some());
    assert_eq!(leaving(&mut held), [false, false, false, true]);
    drop(busy);
}

#[test]
fn a_flood_of_silent_connections_pushes_out_only_silent_ones() {
    let places = places(16, 16);
    let mut useful: Vec<_> = (0..8).map(|_| admit(&places, HERE).unwrap()).collect();
    useful.iter().for_each(Held::asks);
    let flood: Vec<_> = (0..1_000).map(|_| admit(&places, HERE).unwrap()).collect();
    assert_eq!(leaving(&mut useful), [false; 8]);
    drop(flood);
}

#[test]
fn a_newcomer_has_a_moment_to_ask_though_the_others_ask_all_the_time() {
    let places = places_with(16, 16, Duration::from_secs(60));
    let asking: Vec<_> = (0..16).map(|_| admit(&places, HERE).unwrap()).collect();
    asking.iter().for_each(Held::asks);
    let mut newcomer = admit(&places, HERE).unwrap();
    let others: Vec<_> = (0..3).map(|_| admit(&places, HERE).unwrap()).collect();
    assert!(!newcomer.is_told_to_leave());
    drop(others);
}

#[test]
fn a_client_at_its_bound_gives_way_to_itself() {
    let places = places(8, 2);
    let other: IpAddr = "192.0.2.1".parse().unwrap();
    let mut neighbour = admit(&places, other).unwrap();
    let mut own: Vec<_> = (0..2).map(|_| admit(&places, HERE).unwrap()).collect();
    let _new = admit(&places, HERE).unwrap();
    assert_eq!(leaving(&mut own), [true, false]);
    let _busy = own[1].place.request();
    let _new = admit(&places, HERE).unwrap();
    let _busy_too = _new.place.request();
    stand_still(&places);
    assert!(matches!(places.admit(HERE), Admission::Never));
    assert!(!neighbour.is_told_to_leave());
}

#[test]
fn an_ipv6_host_cannot_pass_for_many_clients() {
    let places = places(8, 2);
    let hosts = ["2001:db8::1", "2001:db8::2:1", "2001:db8::3:2:1"];
    let mut held: Vec<_> = hosts
        .iter()
        .map(|host| admit(&places, host.parse().unwrap()).unwrap())
        .collect();
    assert_eq!(leaving(&mut held), [true, false, false]);
    assert_eq!(client("::ffff:127.0.0.1".parse().unwrap()), HERE);
}

#[test]
fn only_so_many_say_goodbye_at_the_same_time_and_none_comes_before_they_are_gone() {
    let places = places(64, 64);
    let mut held: Vec<_> = (0..67).map(|_| admit(&places, HERE).unwrap()).collect();
    assert!(places.has_descriptors());
    held.push(admit(&places, HERE).unwrap());
    assert!(!places.has_descriptors());
    let how: Vec<_> = held[..4]
        .iter_mut()
        .map(|held| held.left.try_recv().unwrap())
        .collect();
    let (gracefully, at_once) = (Leave::Gracefully, Leave::AtOnce);
    assert_eq!(how, [gracefully, gracefully, at_once, at_once]);
    held.drain(..4);
    assert!(places.has_descriptors());
    let _next = admit(&places, HERE).unwrap();
    assert_eq!(held[0].left.try_recv(), Ok(gracefully));
}

#[test]
fn a_request_is_stuck_once_two_looks_have_found_it() {
    let places = places(1, 1);
    let held = admit(&places, HERE).unwrap();
    let look = || held.place.look();
    assert!(matches!(look(), Standing::Idle { .. }));
    let first = held.place.request();
    assert_eq!(look(), Standing::Busy { stuck: false });
    let second = held.place.request();
    drop(first);
    assert_eq!(look(), Standing::Busy { stuck: false });
    assert_eq!(look(), Standing::Busy { stuck: true });
    drop(second);
    assert!(matches!(look(), Standing::Idle { .. }));
}

#[test]
fn nothing_is_remembered_of_connections_that_are_gone() {
    let places = places(4, 2);
    for round in 0..100_u8 {
        let peer = IpAddr::from([192, 0, 2, round % 8]);
        let Some(held) = admit(&places, peer) else {
            panic!("all are idle")
        };
        let request = held.place.request();
        if round % 3 == 0 {
            drop(held);
            drop(request);
        } else {
            drop(request);
        }
    }
    let inner = places.lock();
    assert!(inner.open.is_empty() && inner.clients.is_empty() && inner.leaving.is_empty());
    let idle = &inner.idle;
    assert!(idle.unseen == 0 && idle.silent.is_empty() && idle.rested.is_empty());
}
