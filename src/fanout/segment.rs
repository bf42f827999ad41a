use super::frame::{Frame, Run};
use crate::event::{Position, Sequence};

/// A stretch of the log as one class sees it.
#[derive(Debug)]
pub(super) struct Segment {
    after: Sequence,
    covered: Position,
    run: Run,
}

impl Segment {
    /// What was found after one place and up to another.
    pub(super) fn new(after: Sequence, covered: Position, run: Run) -> Self {
        Self {
            after,
            covered,
            run,
        }
    }

    /// Whether it brings a subscriber further that has come to `after`.
    pub(super) fn helps(&self, after: Sequence) -> bool {
        self.after <= after && after < self.covered.sequence
    }

    /// Whether it has nothing to send between two places.
    pub(super) fn is_empty(&self, after: Sequence, through: Position) -> bool {
        self.cut(after, through).0.next().is_none()
    }

    /// What it has after one place and up to another, and how far that goes.
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
