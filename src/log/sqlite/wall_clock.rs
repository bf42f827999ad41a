//! The time of day, as far as it can be believed: events must not be removed because this
//! machine's clock was once wrong.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// A clock that differs by more from the time that has really passed has jumped.
const JUMP: SignedDuration = SignedDuration::from_hours(24);
/// How long a clock must run on after a jump before it is believed again.
const TRIAL: Duration = Duration::from_secs(60 * 60);

pub(super) struct WallClock {
    /// The time of day at a moment, from which it should run on.
    anchor: (Timestamp, Instant),
    /// When it can be believed.
    believed_from: Instant,
    trial: Duration,
}

impl WallClock {
    /// Begins with a time of day. `is_odd` says that it does not go with what is in the log: then
    /// it is believed only after a trial, which is not longer than `trial_max`.
    pub(super) fn new(now: (Timestamp, Instant), is_odd: bool, trial_max: Duration) -> Self {
        let trial = TRIAL.min(trial_max);
        Self {
            anchor: now,
            believed_from: if is_odd { now.1 + trial } else { now.1 },
            trial,
        }
    }

    /// The time of day. None while it is not believed.
    pub(super) fn time(&mut self, now: (Timestamp, Instant)) -> Option<Timestamp> {
        let (time, moment) = now;
        let passed = moment.saturating_duration_since(self.anchor.1);
        let expected = self
            .anchor
            .0
            .saturating_add(passed)
            .unwrap_or(self.anchor.0);
        if time.duration_since(expected).abs() > JUMP {
            tracing::warn!(
                %time,
                %expected,
                "the clock of this machine has jumped; no event is removed for its age for {} s",
                self.trial.as_secs()
            );
            self.believed_from = moment + self.trial;
            self.anchor = now;
        }
        (moment >= self.believed_from).then_some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    #[test]
    fn a_clock_that_jumps_is_believed_after_it_has_run_on_for_an_hour() {
        let start: Timestamp = "2026-04-27T12:00:00Z".parse().unwrap();
        let began = Instant::now();
        let at = |wall: i64, passed: u64| {
            let wall = SignedDuration::from_secs(wall);
            (start + wall, began + Duration::from_secs(passed))
        };
        let is_believed = |clock: &mut WallClock, wall, passed| {
            let now = at(wall, passed);
            let time = clock.time(now);
            assert!(time.is_none_or(|time| time == now.0));
            time.is_some()
        };
        let month = Duration::from_secs(30 * DAY);
        let mut clock = WallClock::new(at(0, 0), false, month);
        assert!(is_believed(&mut clock, 0, 0));
        assert!(is_believed(&mut clock, 60, 60));
        // Half a day is what a machine's clock may be wrong by.
        assert!(is_believed(&mut clock, 43_260, 60));
        let years = 50 * 365 * DAY as i64;
        assert!(!is_believed(&mut clock, years, 61));
        assert!(!is_believed(&mut clock, years + 3_599, 3_660));
        // It goes back, which is a jump, too.
        assert!(!is_believed(&mut clock, 3_601, 3_662));
        assert!(!is_believed(&mut clock, 7_200, 7_261));
        assert!(is_believed(&mut clock, 7_201, 7_262));

        let mut odd = WallClock::new(at(years, 0), true, month);
        assert!(!is_believed(&mut odd, years + 3_599, 3_599));
        assert!(is_believed(&mut odd, years + 3_600, 3_600));
        let mut short = WallClock::new(at(years, 0), true, Duration::from_secs(2));
        assert!(!is_believed(&mut short, years + 1, 1));
        assert!(is_believed(&mut short, years + 2, 2));
    }
}
