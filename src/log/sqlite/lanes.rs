//! The order of reads: each read of the log stands in a lane, and each of the few threads serves
//! some of the lanes.
//!
//! | thread | serves |
//! |---|---|
//! | 1 | [`Lane::Now`] |
//! | 2 | [`Lane::Now`], then [`Lane::Near`] |
//! | 3 and 4 | [`Lane::Page`] and [`Lane::Far`] by turns, then [`Lane::Near`] |
//!
//! So a look-up waits only for look-ups. A short catch-up also waits for other short ones. Lists
//! and long catch-ups have at most two threads, and share them evenly. Within a lane, reads are
//! served in the order in which they came. A long search is many short reads
//! ([`SCAN_ROWS_MAX`](crate::log::SCAN_ROWS_MAX)), and each one goes to the end of its lane. So all
//! searches share the lane evenly.

use std::{
    array,
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

use crate::log::query::Lane;

/// The most reads that wait in one lane. When it is full, callers wait for a place, in order.
const LANE_READS_MAX: usize = 256;
const LANES: usize = 4;

/// The lanes that a thread serves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Serves {
    Now,
    NowAndNear,
    Scans,
}

pub(super) const THREADS: [Serves; 4] = [
    Serves::Now,
    Serves::NowAndNear,
    Serves::Scans,
    Serves::Scans,
];

/// The jobs that wait, by lane.
pub(super) struct Lanes<J> {
    // A std mutex: held to put a job in or take one out, never over an await.
    waiting: Mutex<Waiting<J>>,
    came: Condvar,
    places: [Semaphore; LANES],
}

struct Waiting<J> {
    lanes: [VecDeque<J>; LANES],
    /// Whether it is the turn of lists, and not of catch-ups.
    pages_next: bool,
    closed: bool,
}

impl<J> Lanes<J> {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                lanes: array::from_fn(|_| VecDeque::new()),
                pages_next: false,
                closed: false,
            }),
            came: Condvar::new(),
            places: array::from_fn(|_| Semaphore::new(LANE_READS_MAX)),
        }
    }

    /// Puts a job at the end of its lane, once there is a place.
    pub(super) async fn put(&self, lane: Lane, job: J) {
        // The semaphore is never closed. The place is given back when the job is taken.
        if let Ok(place) = self.places[lane as usize].acquire().await {
            place.forget();
        }
        self.lock().lanes[lane as usize].push_back(job);
        self.came.notify_all();
    }

    /// Waits for the next job of a thread; none once the lanes are closed.
    pub(super) fn take(&self, serves: Serves) -> Option<J> {
        let mut waiting = self.lock();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some((lane, job)) = waiting.pick(serves) {
                self.places[lane as usize].add_permits(1);
                return Some(job);
            }
            let woken = self.came.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the threads, and drops the jobs that wait.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        let left = std::mem::replace(&mut waiting.lanes, array::from_fn(|_| VecDeque::new()));
        drop(waiting);
        self.came.notify_all();
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<J>> {
        // No code panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> Waiting<J> {
    fn pick(&mut self, serves: Serves) -> Option<(Lane, J)> {
        let order: &[Lane] = match serves {
            Serves::Now => &[Lane::Now],
            Serves::NowAndNear => &[Lane::Now, Lane::Near],
            Serves::Scans if self.pages_next => &[Lane::Page, Lane::Far, Lane::Near],
            Serves::Scans => &[Lane::Far, Lane::Page, Lane::Near],
        };
        let mut first = |lane: &Lane| Some((*lane, self.lanes[*lane as usize].pop_front()?));
        let picked = order.iter().find_map(&mut first)?;
        match picked.0 {
            Lane::Page => self.pages_next = false,
            Lane::Far => self.pages_next = true,
            Lane::Now | Lane::Near => {}
        }
        Some(picked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Lane; LANES] = [Lane::Now, Lane::Near, Lane::Page, Lane::Far];

    #[tokio::test]
    async fn each_thread_serves_its_lanes_in_its_order_and_each_lane_in_the_order_of_coming() {
        let check = async |serves: Serves, expected: &[&str]| {
            let lanes = Lanes::new();
            for number in 1..=3 {
                for lane in ALL {
                    lanes.put(lane, format!("{lane:?} {number}")).await;
                }
            }
            let mut taken = Vec::new();
            while let Some((_, job)) = lanes.lock().pick(serves) {
                taken.push(job);
            }
            assert_eq!(taken, expected, "{serves:?}");
        };
        check(Serves::Now, &["Now 1", "Now 2", "Now 3"]).await;
        let near = ["Now 1", "Now 2", "Now 3", "Near 1", "Near 2", "Near 3"];
        check(Serves::NowAndNear, &near).await;
        let scans = [
            "Far 1", "Page 1", "Far 2", "Page 2", "Far 3", "Page 3", "Near 1", "Near 2", "Near 3",
        ];
        check(Serves::Scans, &scans).await;
    }

    #[tokio::test]
    async fn a_full_lane_keeps_its_callers_waiting_and_no_others() {
        let lanes = Lanes::new();
        for _ in 0..LANE_READS_MAX {
            lanes.put(Lane::Far, ()).await;
        }
        let mut waits = Box::pin(lanes.put(Lane::Far, ()));
        assert!(futures_util::poll!(&mut waits).is_pending());
        lanes.put(Lane::Now, ()).await;
        assert!(lanes.take(Serves::Scans).is_some());
        waits.await;
    }

    #[tokio::test]
    async fn closed_lanes_end_their_threads() {
        let lanes = Lanes::new();
        lanes.put(Lane::Far, ()).await;
        lanes.close();
        assert!(
            THREADS
                .into_iter()
                .all(|serves| lanes.take(serves).is_none())
        );
    }
}
