//! Retention removes events from a running log: a subscriber that has not got them ends, or gets
//! one gap, or begins later.

use super::*;
use crate::{
    event::Sequence,
    log::{Followed, Follower, Publisher},
};

/// So large that one read of the log returns three events.
const LARGE_BYTES: usize = 50_000;

impl Rig {
    /// Removes events as retention does: through another connection.
    fn remove(&self, through: u64) {
        log::trim(&self.dir.path().join("events.db"), through);
    }

    async fn append_large(&self, ids: std::ops::RangeInclusive<u8>) {
        for id in ids {
            let mut new = new_event(id, "a");
            new.event.status = "x".repeat(LARGE_BYTES);
            self.appender.append(new).await.unwrap();
        }
    }

    /// The cursor of the first event.
    async fn first_cursor(&self) -> Cursor {
        let mut reader = self
            .subscribe(None, Start::Past(Past::Earliest))
            .await
            .unwrap();
        loop {
            let message = reader.next().await.unwrap();
            if let Some(Response::Event(_)) = message.response {
                return Cursor::decode(&message.cursor).unwrap();
            }
        }
    }
}

/// What a client got.
#[derive(Debug, Default, PartialEq)]
struct Got {
    events: Vec<u64>,
    /// The place after each gap.
    gaps: Vec<u64>,
    end: Option<EndReason>,
}

/// Reads up to an event, or to the end.
async fn read(client: &mut Client, through: u64) -> Got {
    let mut got = Got::default();
    while got.events.last().is_none_or(|&last| last < through) {
        match client.next().await {
            Ok(message) => match message.response.unwrap() {
                Response::Event(event) => got.events.push(event.sequence),
                Response::Gap(_) => {
                    let behind = Cursor::decode(&message.cursor).unwrap();
                    got.gaps.push(behind.sequence.0);
                }
                Response::Progress(_) => {}
            },
            Err(reason) => {
                got.end = Some(reason);
                break;
            }
        }
    }
    got
}

/// The place behind which the log goes on.
fn expired_before(got: &Got) -> Option<u64> {
    match got.end {
        Some(EndReason::Expired(earliest)) => Some(earliest.before.sequence.0),
        _ => None,
    }
}

#[tokio::test]
async fn whoever_reads_the_log_and_is_overtaken_ends_or_gets_one_gap_or_moves() {
    let mut rig = Rig::new(roomy());
    rig.append(&["a"; 9]).await;
    let after = Start::Past(Past::After(rig.first_cursor().await));
    let start = Start::Past(Past::Earliest);
    let mut ends = rig.subscribe(None, after).await.unwrap();
    let mut moves = rig.subscribe(None, start).await.unwrap();
    rig.remove(6);
    let got = read(&mut ends, 10).await;
    assert_eq!((expired_before(&got), got.events), (Some(6), vec![]));
    drop(ends);

    let got = read(&mut moves, 9).await;
    assert_eq!((got.events, got.gaps), (vec![7, 8, 9], vec![]));
    drop(moves);

    let after = Start::Past(Past::After(rig.first_cursor().await));
    let mut goes_on = rig
        .subscribe_with(None, after, ExpiredAction::Earliest)
        .await
        .unwrap();
    rig.remove(8);
    rig.append(&["a"]).await;
    let got = read(&mut goes_on, 10).await;
    assert_eq!((got.events, got.gaps), (vec![9, 10], vec![8]));
    rig.append(&["a"]).await;
    let got = read(&mut goes_on, 11).await;
    assert_eq!((got.events, got.gaps), (vec![11], vec![]));
}

#[tokio::test]
async fn whoever_is_overtaken_between_two_reads_has_all_that_was_read_before() {
    for action in [ExpiredAction::Fail, ExpiredAction::Earliest] {
        let rig = Rig::new(roomy());
        rig.append_large(1..=20).await;
        let start = Start::Past(Past::Earliest);
        let mut client = rig.subscribe_with(None, start, action).await.unwrap();
        let mut got = read(&mut client, 1).await;
        // The segment that is sent and the one that is read ahead have at most six events.
        rig.remove(18);
        let rest = read(&mut client, 20).await;
        got.events.extend(&rest.events);
        let before: Vec<u64> = (1..=18)
            .take_while(|event| got.events.contains(event))
            .collect();
        assert!(before.len() <= 6, "{before:?}");
        if action == ExpiredAction::Fail {
            assert_eq!(expired_before(&rest), Some(18));
            assert_eq!(got.events, before);
        } else {
            assert_eq!((rest.gaps, rest.end), (vec![18], None));
            assert_eq!(got.events, [before, vec![19, 20]].concat());
        }
    }
}

/// A log whose router learns of groups only when the test says so.
struct Late {
    rig: Rig,
    committed: Follower,
    publisher: Publisher,
}

impl Late {
    fn new() -> Self {
        let mut ends = None;
        let rig = Rig::following(roomy(), |log| {
            let (publisher, followers) = log::followers(log.reader.clone(), *log.tail.borrow());
            ends = Some((log.followers.from(Sequence::ZERO), publisher));
            followers
        });
        let (committed, publisher) = ends.unwrap();
        Self {
            rig,
            committed,
            publisher,
        }
    }

    /// Tells the router of the newest group, and of no other.
    async fn publish(&mut self) {
        let last = self.rig.last();
        loop {
            match self.committed.next().await {
                Some(Followed::Group(group)) if group.last().unwrap().sequence.0 == last => {
                    return self.publisher.committed(group);
                }
                Some(_) => {}
                None => panic!("the log is open"),
            }
        }
    }
}

#[tokio::test]
async fn live_subscribers_meet_once_what_was_removed_before_it_was_routed() {
    let mut late = Late::new();
    let live = async |action| {
        let subscribed = late.rig.subscribe_with(None, Start::Latest, action).await;
        let mut client = subscribed.unwrap();
        client.next().await.unwrap();
        client
    };
    let mut ends = live(ExpiredAction::Fail).await;
    let mut goes_on = live(ExpiredAction::Earliest).await;

    for _ in 0..5 {
        late.rig.append(&["a"]).await;
    }
    late.rig.remove(4);
    late.publish().await;
    let got = read(&mut ends, 5).await;
    assert_eq!((expired_before(&got), got.events), (Some(4), vec![]));
    drop(ends);
    let got = read(&mut goes_on, 5).await;
    assert_eq!((got.events, got.gaps), (vec![5], vec![4]));
    late.rig.append(&["a"]).await;
    late.publish().await;
    let got = read(&mut goes_on, 6).await;
    assert_eq!((got.events, got.gaps), (vec![6], vec![]));
}

#[tokio::test]
async fn who_is_live_since_the_start_and_has_nothing_moves_over_what_was_not_routed() {
    let mut late = Late::new();
    let start = Start::Past(Past::Earliest);
    let mut client = late.rig.subscribe(None, start).await.unwrap();
    client.next().await.unwrap();
    for _ in 0..5 {
        late.rig.append(&["a"]).await;
    }
    late.rig.remove(4);
    late.publish().await;
    let got = read(&mut client, 5).await;
    assert_eq!((got.events, got.gaps, got.end), (vec![5], vec![], None));
}

#[tokio::test]
async fn the_head_moves_when_everything_is_removed_before_it_is_routed() {
    let mut late = Late::new();
    for _ in 0..5 {
        late.rig.append(&["a"]).await;
    }
    late.rig.remove(5);
    late.publish().await;
    let subscribed = late.rig.subscribe(None, Start::Latest).await;
    let first = subscribed.unwrap().next().await.unwrap();
    assert_eq!(Cursor::decode(&first.cursor).unwrap().sequence.0, 5);
}
