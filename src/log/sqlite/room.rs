//! The free space on the log's disk: some of it is left for removing events, and for serving.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::file::LogFile;

/// How often the disk is asked while events come.
const INTERVAL: Duration = Duration::from_millis(250);
/// Events are taken again once so much more than the least is free, as a share of the least.
/// Without it, each group would use up what the refusal of another has saved.
const MARGIN_SHARE: u64 = 16;

pub(super) struct Room {
    free_bytes_min: u64,
    looked_at: Option<Instant>,
    /// Why the log takes no events now.
    shortage: Option<Arc<str>>,
}

impl Room {
    pub(super) fn new(free_bytes_min: u64) -> Self {
        Self {
            free_bytes_min,
            looked_at: None,
            shortage: None,
        }
    }

    /// Why the log takes no events now, if it takes none.
    pub(super) fn shortage(&self) -> Option<Arc<str>> {
        self.shortage.clone()
    }

    /// Asks the disk, if it was not asked a moment ago. Returns whether that changed anything.
    pub(super) fn look(&mut self, file: &LogFile) -> bool {
        let is_recent = |at: Instant| at.elapsed() < INTERVAL;
        if self.free_bytes_min == 0 || self.looked_at.is_some_and(is_recent) {
            return false;
        }
        self.looked_at = Some(Instant::now());
        // A disk that cannot say it shows by itself whether it takes events.
        file.disk_free().is_ok_and(|free| self.found(free))
    }

    fn found(&mut self, free: u64) -> bool {
        let least = self.free_bytes_min;
        let again = least.saturating_add(least / MARGIN_SHARE);
        match self.shortage {
            None if free < least => {
                let reason = format!(
                    "only {free} bytes are free on the disk of the log, and \
                     log.disk_free_bytes_min is {least}"
                );
                tracing::error!(
                    "the log takes no events, but is served: {reason}; it takes events again when \
                     {again} bytes are free"
                );
                self.shortage = Some(reason.into());
                true
            }
            Some(_) if free >= again => {
                tracing::info!("the log takes events again: {free} bytes are free on its disk");
                self.shortage = None;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_short_below_the_least_and_again_enough_a_little_above_it() {
        let mut room = Room::new(1600);
        let mut seen = Vec::new();
        for free in [1600, 1599, 1600, 1699, 1700, 1600, 0] {
            let changed = room.found(free);
            seen.push((changed, room.shortage().is_some()));
        }
        let expected = [
            (false, false),
            (true, true),
            (false, true),
            (false, true),
            (true, false),
            (false, false),
            (true, true),
        ];
        assert_eq!(seen, expected);
    }
}
