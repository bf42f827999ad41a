use super::frame::{Frame, Run};
use crate::event::{Position, Sequence};

/// The events that one class gets of a stretch of the log.
#[derive(Debug)]
pub(super) struct Segment {
    after: Sequence,
    covered: Position,
    run: Run,
    /// See [`Reads::erasures`](super::catchup::Reads::erasures).
    erasures: u64,
}

impl Segment {
    /// Events that were found after `after` and up to `covered`.
    pub(super) fn new(after: Sequence, covered: Position, run: Run, erasures: u64) -> Self {
        Self {
            after,
            covered,
            run,
            erasures,
        }
    }

    /// Whether it helps a subscriber that has covered `after`. It does not, if events were erased
    /// since it was read.
    pub(super) fn helps(&self, after: Sequence, erasures: u64) -> bool {
        self.erasures == erasures && self.after <= after && after < self.covered.sequence
    }

    /// Whether it has nothing to send between two places.
    pub(super) fn is_empty(&self, after: Sequence, through: Position) -> bool {
        self.cut(after, through).0.next().is_none()
    }

    /// The frames after `after` and up to `through`, and the place that they cover.
    pub(super) fn cut(
        &self,
        after: Sequence,
        through: Position,
    ) -> (impl Iterator<Item = Frame>, Position) {
        let covered = if self.covered.sequence < through.sequence {
            self.covered
        } else {
            through
        };
        (self.run.frames(after, covered.sequence), covered)
    }
}
