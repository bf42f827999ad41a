//! Followers: each gets every event once and in order, or learns that it was removed.

use std::{task::Poll, time::Duration};

use futures_util::{future::join_all, poll};
use proptest::{collection::vec, prelude::*};
use tokio::time::timeout;

use super::*;
use crate::log::{Followed, Follower, ReadError, followers};

/// More groups than the log keeps for a slow follower.
const MANY: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(30);

async fn next(follower: &mut Follower) -> Option<Followed> {
    let next = timeout(PATIENCE, follower.next()).await;
    next.expect("something comes in time")
}

/// The sequences that come, up to this one.
async fn take(follower: &mut Follower, through: u64) -> Vec<u64> {
    let mut sequences: Vec<u64> = Vec::new();
    while sequences.last() < Some(&through) {
        match next(follower).await {
            Some(Followed::Group(group)) => {
                assert!(!group.is_empty());
                sequences.extend(group.iter().map(|event| event.sequence.0));
            }
            // A file that is hidden for a test may be noticed.
            Some(Followed::Available(_)) => {}
            other => panic!("{other:?} after {sequences:?}"),
        }
    }
    sequences
}

fn numbers(first: u64, last: u64) -> Vec<u64> {
    (first..=last).collect()
}

pub(crate) async fn whoever_follows_from_any_place_gets_all_that_comes_behind<B: Backend>() {
    let home = B::new();
    let log = home.open();
    fill(&log, 1..=10).await;
    let mut followers = [0, 4, 10].map(|after| (after, log.followers.from(Sequence(after))));
    fill(&log, 11..=12).await;
    for (after, follower) in &mut followers {
        assert_eq!(take(follower, 12).await, numbers(*after + 1, 12));
        assert!(poll!(Box::pin(follower.next())).is_pending());
    }
    fill(&log, [13]).await;
    for (_, follower) in &mut followers {
        assert_eq!(take(follower, 13).await, [13]);
    }
}

pub(crate) async fn a_place_within_a_group_is_begun_in_the_middle_of_it<B: Backend>() {
    let home = B::new();
    let log = home.open();
    let (publisher, followers) = followers(log.reader.clone(), *log.tail.borrow());
    fill(&log, 1..=4).await;
    let all = match log.followers.from(Sequence::ZERO).next().await {
        Some(Followed::Group(group)) => group,
        other => panic!("{other:?}"),
    };
    let mut begun = [0, 1, 3, 4].map(|after| (after, followers.from(Sequence(after))));
    publisher.committed(all.clone());
    for (after, follower) in &mut begun {
        let left = follower.next_through(Sequence(4)).await.unwrap();
        let expected = (*after < 4).then(|| Followed::Group(all[*after as usize..].into()));
        assert_eq!(left, expected);
    }
}

pub(crate) async fn a_slow_follower_reads_what_the_broadcast_has_lost_and_holds_up_nobody<
    B: Backend,
>() {
    let home = B::new();
    let log = home.open();
    let mut slow = log.followers.from(Sequence::ZERO);
    let mut router = log.followers.from(Sequence::ZERO).urgent();
    let count = MANY;
    for number in 1..=count {
        fill(&log, [number]).await;
        let group = router.waiting().expect("the group is there without a read");
        assert_eq!(group[0].sequence.0, number);
    }
    assert_eq!(slow.waiting(), None, "the first groups are gone");
    assert_eq!(take(&mut slow, count).await, numbers(1, count));
    // The follower is up to date again, and needs no more reads.
    fill(&log, [count + 1]).await;
    assert!(slow.waiting().is_some());
}

pub(crate) async fn what_retention_removes_from_a_running_log_is_told_and_passed<B: Backend>() {
    let home = B::new();
    let log = home.open();
    fill(&log, 1..=10).await;
    let mut follower = log.followers.from(Sequence(2));
    home.trim(5);
    let Some(Followed::Removed(earliest)) = next(&mut follower).await else {
        panic!("it began behind 2, and 3 is gone");
    };
    assert_eq!(earliest.before.sequence, Sequence(5));
    assert_eq!(take(&mut follower, 10).await, numbers(6, 10));
    // A follower that begins after the removed events is not told of them.
    let mut behind = log.followers.from(Sequence(5));
    assert_eq!(take(&mut behind, 10).await, numbers(6, 10));

    // If all events are removed and more come:
    let mut late = log.followers.from(Sequence(7));
    home.trim(10);
    let Some(Followed::Removed(earliest)) = next(&mut late).await else {
        panic!("8 is gone");
    };
    assert_eq!(earliest.before.sequence, Sequence(10));
    fill(&log, [11]).await;
    assert_eq!(take(&mut late, 11).await, [11]);
    assert_eq!(take(&mut follower, 11).await, [11]);
}

pub(crate) async fn a_group_that_is_on_its_way_is_yielded_though_retention_has_removed_it<
    B: Backend,
>() {
    let home = B::new();
    let log = home.open();
    let mut follower = log.followers.from(Sequence::ZERO);
    fill(&log, 1..=3).await;
    home.trim(3);
    assert_eq!(take(&mut follower, 3).await, [1, 2, 3]);
}

pub(crate) async fn while_the_file_cannot_be_read_a_follower_waits_and_then_goes_on<B: Backend>() {
    let home = B::new();
    let log = home.open();
    fill(&log, 1..=5).await;
    let mut follower = log.followers.from(Sequence(1));
    let hidden = home.hide();
    let read = follower.next_through(Sequence(5)).await;
    assert!(matches!(read, Err(ReadError::Unavailable(_))), "{read:?}");
    drop(hidden);
    assert_eq!(take(&mut follower, 5).await, numbers(2, 5));
}

pub(crate) async fn whether_the_log_takes_events_is_told_also_to_who_waits_for_the_file<
    B: Backend,
>() {
    let home = B::new();
    let log = home.open();
    fill(&log, 1..=5).await;
    let (publisher, followers) = followers(log.reader.clone(), *log.tail.borrow());
    let mut up_to_date = followers.from(Sequence(5));
    let mut behind = followers.from(Sequence(1));
    let hidden = home.hide();
    let read = behind.next_through(Sequence(5)).await;
    assert!(matches!(read, Err(ReadError::Unavailable(_))), "{read:?}");
    publisher.available(false);
    for follower in [&mut up_to_date, &mut behind] {
        assert_eq!(next(follower).await, Some(Followed::Available(false)));
    }
    drop(hidden);
    assert_eq!(take(&mut behind, 5).await, numbers(2, 5));
}

pub(crate) async fn a_closed_log_ends_its_followers_and_the_next_run_goes_on<B: Backend>() {
    let home = B::new();
    let log = home.open();
    let mut up_to_date = log.followers.from(Sequence::ZERO);
    fill(&log, 1..=3).await;
    let mut behind = log.followers.from(Sequence::ZERO);
    log.appender.finish().await;
    for follower in [&mut up_to_date, &mut behind] {
        assert_eq!(take(follower, 3).await, [1, 2, 3]);
        assert_eq!(next(follower).await, None);
    }
    let log = home.open();
    let mut follower = log.followers.from(Sequence(2));
    fill(&log, [4]).await;
    assert_eq!(take(&mut follower, 4).await, [3, 4]);
}

pub(crate) async fn what_became_durable_without_a_group_is_read_once_the_tail_moves<B: Backend>() {
    let home = B::new();
    let log = home.open();
    let (publisher, followers) = followers(log.reader.clone(), *log.tail.borrow());
    let mut follower = followers.from(Sequence::ZERO);
    fill(&log, 1..=2).await;
    assert!(poll!(Box::pin(follower.next())).is_pending());
    publisher.moved(*log.tail.borrow());
    assert_eq!(take(&mut follower, 2).await, [1, 2]);
}

#[derive(Clone, Debug)]
enum Act {
    /// Appends this many events at the same time, or one after the other.
    Append(usize),
    Burst(usize),
    /// Removes up to this share of the events, in percent.
    Trim(u64),
    Restart,
    /// A follower begins this far into the log, in percent.
    Begin(u64, bool),
    /// A follower takes this many items, each after this many calls that are dropped.
    Take(usize, usize, usize),
    /// Drains a follower, as the router does before it obeys commands.
    Drain(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..20usize).prop_map(Act::Append),
        2 => (1..100usize).prop_map(Act::Burst),
        2 => (0..=100u64).prop_map(Act::Trim),
        1 => Just(Act::Restart),
        2 => (0..=100u64, any::<bool>()).prop_map(|(at, urgent)| Act::Begin(at, urgent)),
        5 => (any::<usize>(), 1..30usize, 0..3usize)
            .prop_map(|(who, count, dropped)| Act::Take(who, count, dropped)),
        2 => any::<usize>().prop_map(Act::Drain),
    ]
}

/// A follower, compared with a list in memory.
struct Story {
    follower: Follower,
    position: u64,
}

/// The log as a list: events with sequences from 1 on, and how many were removed.
#[derive(Default)]
struct Model {
    ids: Vec<EventId>,
    removed: u64,
}

impl Story {
    fn hold(&mut self, followed: &Followed, model: &Model) {
        match followed {
            Followed::Group(group) => {
                assert!(!group.is_empty());
                for event in group.iter() {
                    self.position += 1;
                    assert_eq!(event.sequence.0, self.position, "in order, with no hole");
                    assert_eq!(event.id, model.ids[self.position as usize - 1]);
                    assert!(event.raw.is_some(), "whole");
                }
            }
            Followed::Removed(earliest) => {
                let before = earliest.before.sequence.0;
                assert!(before > self.position, "it was there");
                assert!(before <= model.removed, "only what is gone is passed");
                self.position = before;
            }
            Followed::Available(_) | Followed::Damaged(_) => {
                panic!("nothing is wrong with the disk")
            }
        }
    }
}

async fn play<B: Backend>(acts: Vec<Act>) {
    let home = B::new();
    let mut log = home.open();
    let mut model = Model::default();
    let mut stories: Vec<Story> = Vec::new();
    for act in acts {
        let count = stories.len().max(1);
        let length = model.ids.len() as u64;
        match act {
            Act::Append(count) => {
                let appends = (length + 1..=length + count as u64).map(|number| {
                    let appended = log.appender.append(event(number));
                    async move { appended.await.unwrap() }
                });
                let mut appended = join_all(appends).await;
                appended.sort_unstable_by_key(|appended| appended.sequence.0);
                model
                    .ids
                    .extend(appended.iter().map(|appended| appended.id));
            }
            Act::Burst(count) => {
                let numbers = length + 1..=length + count as u64;
                model
                    .ids
                    .extend(numbers.clone().map(|number| event(number).id));
                fill(&log, numbers).await;
            }
            Act::Trim(percent) => {
                let through = model.removed + (length - model.removed) * percent / 100;
                home.trim(through);
                model.removed = through;
            }
            Act::Restart => {
                log.appender.finish().await;
                for story in &mut stories {
                    while let Some(followed) = next(&mut story.follower).await {
                        story.hold(&followed, &model);
                    }
                    assert_eq!(story.position, length, "closed behind its last event");
                }
                log = home.open();
                for story in &mut stories {
                    story.follower = log.followers.from(Sequence(story.position));
                }
            }
            Act::Begin(percent, urgent) => {
                let position = length * percent / 100;
                let follower = log.followers.from(Sequence(position));
                let follower = if urgent { follower.urgent() } else { follower };
                stories.push(Story { follower, position });
            }
            Act::Take(who, items, dropped) => {
                let Some(story) = stories.get_mut(who % count) else {
                    continue;
                };
                for _ in 0..items {
                    if story.position >= length {
                        break;
                    }
                    for _ in 0..dropped {
                        if let Poll::Ready(followed) = poll!(Box::pin(story.follower.next())) {
                            story.hold(&followed.unwrap(), &model);
                        }
                        tokio::task::yield_now().await;
                    }
                    if story.position < length {
                        let followed = next(&mut story.follower).await.unwrap();
                        story.hold(&followed, &model);
                    }
                }
            }
            Act::Drain(who) => {
                let Some(story) = stories.get_mut(who % count) else {
                    continue;
                };
                while let Some(followed) =
                    story.follower.next_through(Sequence(length)).await.unwrap()
                {
                    story.hold(&followed, &model);
                }
                assert!(story.position >= length);
            }
        }
    }
    for mut story in stories {
        while story.position < model.ids.len() as u64 {
            let followed = next(&mut story.follower).await.unwrap();
            story.hold(&followed, &model);
        }
    }
}

pub(crate) fn each_follower_gets_once_and_in_order_all_that_is_not_removed<B: Backend>() {
    property(24, &vec(act(), 0..40), play::<B>);
}
