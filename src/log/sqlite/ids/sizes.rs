//! How much index work is done at once.

pub(super) struct Sizes {
    /// Events in a batch.
    pub(super) batch: usize,
    /// The most events in one list.
    pub(super) list: usize,
    /// Runs that are merged into one.
    pub(super) fan: usize,
    /// The first tier that is not merged any more.
    pub(super) last_tier: u32,
}

/// Tests have small ones, so that a few events make runs of all tiers, and many lists.
pub(super) const SIZES: Sizes = match cfg!(test) {
    true => Sizes {
        batch: 16,
        list: 3,
        fan: 2,
        last_tier: 3,
    },
    false => Sizes {
        batch: 16_384,
        list: 200,
        fan: 8,
        last_tier: 3,
    },
};
