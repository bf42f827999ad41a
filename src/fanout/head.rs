//! How far the router has come, and when. The lag of subscribers is measured against it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::event::{Position, Sequence};

/// How far the router has come. It moves after the frames up to there are in the queues.
pub(super) struct Head {
    way: Mutex<Way>,
    pub(super) available: AtomicBool,
}

struct Way {
    position: Position,
    /// Sequence and receive time of events that were routed, [`MILESTONE_TIME`] apart or more,
    /// oldest first.
    milestones: VecDeque<(Sequence, Timestamp)>,
}

/// The precision of the times.
const MILESTONE_TIME: SignedDuration = SignedDuration::from_secs(1);
/// Enough for the times of at least the last hour.
const MILESTONES_MAX: usize = 4096;

impl Head {
    pub(super) fn new(position: Position, available: bool) -> Self {
        let way = Way {
            position,
            milestones: VecDeque::new(),
        };
        Self {
            way: Mutex::new(way),
            available: AtomicBool::new(available),
        }
    }

    pub(super) fn position(&self) -> Position {
        self.lock().position
    }

    pub(super) fn advance(&self, position: Position) {
        let mut way = self.lock();
        way.position = position;
        let milestones = &mut way.milestones;
        let Some(time) = position.receive_time else {
            return;
        };
        let newest = milestones.back().map(|(_, newest)| *newest);
        if newest.is_none_or(|newest| time.duration_since(newest) >= MILESTONE_TIME) {
            if milestones.len() == MILESTONES_MAX {
                milestones.pop_front();
            }
            milestones.push_back((position.sequence, time));
        }
    }

    /// How long the first event after `place` has been in the log; zero if there is none. If its
    /// time is not known, because it was routed before the start or long ago, `place_time` is used
    /// instead: the time of the event at `place`.
    pub(super) fn lag(
        &self,
        place: Sequence,
        place_time: Option<Timestamp>,
        now: Timestamp,
    ) -> Duration {
        let way = self.lock();
        if place >= way.position.sequence {
            return Duration::ZERO;
        }
        let missing = place.next();
        let later = way
            .milestones
            .partition_point(|(sequence, _)| *sequence <= missing);
        let milestone = later
            .checked_sub(1)
            .and_then(|last| way.milestones.get(last));
        let first = way.milestones.front();
        let came = milestone.or(first.filter(|_| place_time.is_none()));
        let came = came.map(|(_, time)| *time).or(place_time);
        let lag = came.map(|came| now.duration_since(came));
        // If the clock was set back, the lag is zero.
        lag.and_then(|lag| Duration::try_from(lag).ok())
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Way> {
        // No code panics while it holds the lock.
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventId;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn position(sequence: u64, seconds: i64) -> Position {
        Position::of(Sequence(sequence), EventId([7; 16]), at(seconds))
    }

    #[test]
    fn lag_is_the_age_of_the_first_event_that_is_missing() {
        let head = Head::new(position(10, 0), true);
        let lag = |place: u64, came: i64, now: i64| {
            head.lag(Sequence(place), Some(at(came)), at(now)).as_secs()
        };
        assert_eq!(lag(10, 0, 5000), 0);
        // After a quiet time, the lag is that of the missing event, not of the event before it.
        head.advance(position(11, 7200));
        assert_eq!(lag(10, 0, 7200), 0);
        assert_eq!(lag(10, 0, 7230), 30);
        head.advance(position(12, 7260));
        head.advance(position(13, 7260));
        assert_eq!(lag(11, 7200, 7290), 30);
        assert_eq!(lag(12, 7260, 7290), 30);
        assert_eq!(lag(13, 7260, 9999), 0);
        // Of events before the start, only the time of the place itself is known.
        assert_eq!(lag(4, -600, 7200), 7800);
        assert_eq!(head.lag(Sequence(0), None, at(7300)).as_secs(), 100);
        // The clock was set back.
        assert_eq!(lag(10, 0, 100), 0);
    }

    #[test]
    fn the_memory_of_it_is_bounded() {
        let head = Head::new(Position::ORIGIN, true);
        for number in 1..=10_000_u32 {
            head.advance(position(number.into(), i64::from(number) / 2));
        }
        let milestones = head.lock().milestones.len();
        assert_eq!(milestones, MILESTONES_MAX);
        let lag = head.lag(Sequence(9_000), None, at(5_000));
        assert_eq!(lag.as_secs(), 500);
    }
}
