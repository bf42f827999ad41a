//! What it is about.

use crate::{
    event::{EventId, Sequence, StoredEvent},
    log::sqlite::faults::Faults,
};

/// How often SQLite asks whether it should stop, in steps of its virtual machine.
pub(super) const STEPS: i32 = 2_000;

/// Makes the id of an event anew from its body, with the log's key. None if that is impossible.
pub(crate) type Identify<'i> = &'i dyn Fn(&[u8; 32], &StoredEvent) -> Option<EventId>;

/// What was read, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub faults: Faults,
    /// Events that are whole.
    pub events: u64,
    /// Those of them that had no checksum yet.
    pub unchecked: u64,
    pub latest: Sequence,
    /// Pages that hold nothing and will not be used again, and the size of one.
    pub lost_pages: u64,
    pub page_bytes: u64,
}
