//! How long to wait before another attempt: exponential backoff with full jitter, so that clients
//! that were disconnected together do not reconnect together.

use std::time::Duration;

/// The longest wait after the first failure. It doubles with each further failure in a row.
pub const FIRST: Duration = Duration::from_millis(250);
/// The longest wait after any number of failures.
pub const LONGEST: Duration = Duration::from_secs(30);

/// The wait after a failure, from zero to the longest one. `attempt` is the number of failures in a
/// row before this one. `random`, from 0 to 1, chooses the wait; it is clamped to that range.
#[must_use]
pub fn delay(attempt: u32, random: f64) -> Duration {
    let longest = FIRST
        .saturating_mul(2u32.saturating_pow(attempt))
        .min(LONGEST);
    longest.mul_f64(random.clamp(0.0, 1.0))
}

/// The wait with jitter, and at least as long as the server asks for.
pub(crate) fn pause(attempt: u32, asked: Option<Duration>) -> Duration {
    delay(attempt, rand::random()).max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_doubles_up_to_a_bound() {
        let longest: Vec<u128> = [0, 1, 2, 6, 7, 8, u32::MAX]
            .map(|attempt| delay(attempt, 1.0).as_millis())
            .into();
        assert_eq!(longest, [250, 500, 1_000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn the_jitter_is_full() {
        assert_eq!(delay(3, 0.0), Duration::ZERO);
        assert_eq!(delay(3, 0.5), Duration::from_secs(1));
        assert_eq!(delay(3, 7.0), Duration::from_secs(2));
    }
}
