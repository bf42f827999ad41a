//! The time of day, as far as it can be believed.
//!
//! Receive times never go back by themselves. So a clock that was once years ahead would leave all
//! later events in the future. A clock that jumps is not followed: time runs on from where it was,
//! until the clock comes back or an operator says that it is right.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// A clock that differs by more from the time that has really passed is not followed.
const JUMP: SignedDuration = SignedDuration::from_hours(24);
/// Counts the time in which the machine sleeps, too, where the system has such a clock.
#[cfg(target_os = "linux")]
const UPTIME: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const UPTIME: ClockId = ClockId::Monotonic;

/// What the machine's clock says, and the time since some moment that no clock changes.
pub(super) type Moment = (Timestamp, Duration);

pub(super) fn moment() -> Moment {
    let uptime = clock_gettime(UPTIME);
    let seconds = u64::try_from(uptime.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(uptime.tv_nsec).unwrap_or_default();
    (Timestamp::now(), Duration::new(seconds, nanos))
}

/// Whether a time that the log has lies too far in the future of a clock.
pub(super) fn is_future(time: Timestamp, clock: Timestamp) -> bool {
    time.duration_since(clock) > JUMP
}

pub(super) struct WallClock {
    /// A good time, from which the clock should run on.
    good: Moment,
    /// Whether the clock has been followed. Before that, nobody knows how long the log was closed.
    followed: bool,
    held: bool,
}

/// The time at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    /// The time that counts instead of the machine's clock, while that is not followed.
    pub(super) held: Option<Timestamp>,
    /// A time that has certainly come.
    pub(super) sure: Timestamp,
}

impl WallClock {
    /// Begins with what the log says: when its newest event was received. If it has none, the clock
    /// is followed whatever it says.
    pub(super) fn new(now: Moment, newest: Option<Timestamp>) -> Self {
        Self {
            good: (newest.unwrap_or(now.0), now.1),
            followed: newest.is_none(),
            held: false,
        }
    }

    pub(super) fn look(&mut self, now: Moment) -> Time {
        let (clock, uptime) = now;
        let passed = uptime.saturating_sub(self.good.1);
        let expected = self.good.0.saturating_add(passed).unwrap_or(self.good.0);
        let has_jumped = is_future(clock, expected);
        let is_odd = is_future(expected, clock) || has_jumped && self.followed;
        if is_odd != self.held {
            tell(is_odd, clock, expected);
            self.held = is_odd;
        } else if has_jumped && !self.followed {
            tracing::info!(
                %clock,
                newest = %expected,
                "by this machine's clock, the newest event was received more than a day ago"
            );
        }
        if is_odd {
            return Time {
                held: Some(expected),
                sure: clock.min(expected),
            };
        }
        self.good = now;
        self.followed = true;
        Time {
            held: None,
            sure: clock,
        }
    }
}

fn tell(is_odd: bool, clock: Timestamp, expected: Timestamp) {
    match is_odd {
        true => tracing::warn!(
            %clock,
            %expected,
            "this machine's clock is more than a day away from the time of the last event and what \
             has passed since; receive times run on from there until the clock comes back; if the \
             clock is right now, start once with --trust-clock"
        ),
        false => tracing::info!(%clock, "this machine's clock is followed again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60;
    const YEARS: i64 = 50 * 365 * DAY;

    /// Each row: what the clock says, what has passed, and the time that counts: none if that is
    /// the clock's. All in seconds after the start.
    type Row = (i64, u64, Option<i64>);

    fn judge(newest: Option<i64>, rows: &[Row]) {
        let start: Timestamp = "2026-04-27T12:00:00Z".parse().unwrap();
        let at = |seconds| start + SignedDuration::from_secs(seconds);
        let up = |seconds| Duration::from_secs(1_000 + seconds);
        let mut clock = WallClock::new((at(rows[0].0), up(0)), newest.map(at));
        for &(wall, passed, expected) in rows {
            let found = clock.look((at(wall), up(passed)));
            let sure = expected.map_or(wall, |expected| wall.min(expected));
            assert_eq!(
                found,
                Time {
                    held: expected.map(at),
                    sure: at(sure)
                },
                "{newest:?} {wall} {passed}"
            );
        }
    }

    #[test]
    fn a_clock_that_jumps_is_not_followed_until_it_comes_back() {
        judge(
            None,
            &[
                (0, 0, None),
                (60, 60, None),
                // Half a day is what a machine's clock may be wrong by.
                (DAY / 2, 60, None),
                (DAY / 2 + 2, 61, None),
                (YEARS, 62, Some(DAY / 2 + 3)),
                (YEARS + 3_600, 3_662, Some(DAY / 2 + 3_603)),
                // It comes back, and jumps into the past.
                (DAY / 2 + 3_700, 3_700, None),
                (-YEARS, 3_710, Some(DAY / 2 + 3_710)),
                (DAY / 2 + 3_720, 3_720, None),
                // A machine that sleeps has not jumped.
                (9 * DAY, 9 * DAY as u64, None),
            ],
        );
    }

    #[test]
    fn at_a_start_only_a_clock_before_the_newest_event_is_odd() {
        // The log was closed for a while.
        judge(Some(-40 * DAY), &[(0, 0, None), (YEARS, 1, Some(1))]);
        judge(Some(DAY / 2), &[(0, 0, None), (10, 10, None)]);
        // The clock was wrong, or is.
        judge(
            Some(YEARS),
            &[(0, 0, Some(YEARS)), (10, 10, Some(YEARS + 10))],
        );
        // A machine without a clock gets the time from the network.
        judge(
            Some(0),
            &[
                (-YEARS, 0, Some(0)),
                (-YEARS + 9, 9, Some(9)),
                (5 * DAY, 10, None),
                (YEARS, 11, Some(5 * DAY + 1)),
            ],
        );
    }
}
