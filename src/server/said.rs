//! A line of the log that is said now and then, however often there is reason for it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long it is not said again.
const PAUSE: Duration = Duration::from_secs(60);

/// When a line was said last, and how often it was left out since.
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<(Option<Instant>, u64)>);

impl Said {
    /// Whether to say it now; then with how many were left out before.
    pub(super) fn again(&self) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, left_out) = &mut *said;
        if last.is_some_and(|last| last.elapsed() < PAUSE) {
            *left_out += 1;
            return None;
        }
        *last = Some(Instant::now());
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_said_once_in_a_while_with_the_number_of_those_left_out() {
        let said = Said::default();
        assert_eq!(said.again(), Some(0));
        assert_eq!((said.again(), said.again()), (None, None));
        let mut inside = said.0.lock().unwrap();
        inside.0 = inside.0.and_then(|last| last.checked_sub(PAUSE));
        drop(inside);
        assert_eq!(said.again(), Some(2));
    }
}
