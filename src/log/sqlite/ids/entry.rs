//! What a run says of an event: the beginning of its id, and its place.

use crate::event::{EventId, Sequence};

/// Bytes of a packed entry: 8 of the id, 6 of the sequence.
pub(super) const ENTRY_BYTES: usize = 14;

/// The first 8 bytes of an id. It sorts as they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) u64);

/// Says where the events are whose ids begin with the key. Only the row says whether it is one of
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) sequence: Sequence,
}

impl Key {
    pub(super) fn of(id: EventId) -> Self {
        Self(
            id.0.first_chunk()
                .map_or(0, |bytes| u64::from_be_bytes(*bytes)),
        )
    }
}

impl Entry {
    pub(super) fn packed(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.key.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sequence.0.to_be_bytes()[2..]);
        bytes
    }

    pub(super) fn unpacked(bytes: [u8; ENTRY_BYTES]) -> Self {
        let mut sequence = [0; 8];
        sequence[2..].copy_from_slice(&bytes[8..]);
        Self {
            key: Key(bytes
                .first_chunk()
                .map_or(0, |key| u64::from_be_bytes(*key))),
            sequence: Sequence(u64::from_be_bytes(sequence)),
        }
    }
}

/// Packed entries.
pub(super) fn all(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
    entries.iter().map(|entry| Entry::unpacked(*entry))
}

/// The entries of a part that have this key. `bytes` are packed entries in their order.
pub(super) fn with_key(bytes: &[u8], key: Key) -> impl Iterator<Item = Sequence> {
    let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
    let from = entries.partition_point(|entry| Entry::unpacked(*entry).key < key);
    let behind = entries[from..].iter().map(|entry| Entry::unpacked(*entry));
    behind
        .take_while(move |entry| entry.key == key)
        .map(|entry| entry.sequence)
}

/// Whether entries with this key may be in the part behind this one, too.
pub(super) fn goes_on(bytes: &[u8], key: Key) -> bool {
    let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
    let last = entries.last();
    last.is_none_or(|last| Entry::unpacked(*last).key <= key)
}
