//! Frames: whole gRPC messages in one buffer, made once for all subscribers that get the same.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;

use crate::event::{Position, Sequence};

/// The size of a frame. It is small so that one stream does not occupy a shared connection for
/// long. A larger message is a frame of its own. docs/performance.md has the measurements.
pub(super) const FRAME_BYTES: usize = 32 * 1024;

/// Messages that are sent in one piece, and the place that the stream has covered after them.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub bytes: Bytes,
    /// How many events the frame has.
    pub events: u32,
    pub end: Position,
}

/// The messages of events in one buffer, in order.
#[derive(Clone, Debug)]
pub(super) struct Run {
    bytes: Bytes,
    /// Each message's event, and where it ends in the buffer.
    ends: Vec<(Position, usize)>,
}

impl Run {
    /// Joins messages. The buffer of a single message is shared, not copied.
    pub(super) fn new(messages: &[(Position, Bytes)], memory: &Memory) -> Self {
        let mut ends = Vec::with_capacity(messages.len());
        let mut end = 0;
        for (position, message) in messages {
            end += message.len();
            ends.push((*position, end));
        }
        let bytes = match messages {
            [(_, single)] => single.clone(),
            _ => {
                let mut bytes = Vec::with_capacity(end);
                messages
                    .iter()
                    .for_each(|(_, message)| bytes.extend_from_slice(message));
                memory.count(bytes)
            }
        };
        Self { bytes, ends }
    }

    /// The messages after one place and up to another, in frames that share this buffer.
    pub(super) fn frames(&self, after: Sequence, through: Sequence) -> impl Iterator<Item = Frame> {
        let mut next = self
            .ends
            .partition_point(|(position, _)| position.sequence <= after);
        let stop = self
            .ends
            .partition_point(|(position, _)| position.sequence <= through);
        std::iter::from_fn(move || {
            if next >= stop {
                return None;
            }
            let first = next;
            let start = if first == 0 {
                0
            } else {
                self.ends[first - 1].1
            };
            next += 1;
            while next < stop && self.ends[next].1 - start <= FRAME_BYTES {
                next += 1;
            }
            let (end, stop_byte) = self.ends[next - 1];
            Some(Frame {
                bytes: self.bytes.slice(start..stop_byte),
                events: (next - first) as u32,
                end,
            })
        })
    }
}

/// Bytes of shared buffers in use: in queues, or on their way through HTTP/2. A buffer counts once,
/// until the last of its users drops it.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<AtomicUsize>);

impl Memory {
    /// Counts a buffer while it is in use.
    pub(super) fn count(&self, bytes: Vec<u8>) -> Bytes {
        self.0.fetch_add(bytes.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted {
            bytes,
            memory: self.clone(),
        })
    }

    pub(super) fn in_use(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted {
    bytes: Vec<u8>,
    memory: Memory,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.memory.0.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(sizes: &[usize], memory: &Memory) -> (Run, Vec<Bytes>) {
        let messages: Vec<(Position, Bytes)> = sizes
            .iter()
            .zip(1..)
            .map(|(&size, sequence)| {
                let position = Position {
                    sequence: Sequence(sequence),
                    ..Position::ORIGIN
                };
                (position, Bytes::from(vec![sequence as u8; size]))
            })
            .collect();
        let run = Run::new(&messages, memory);
        (run, messages.into_iter().map(|(_, bytes)| bytes).collect())
    }

    proptest! {
        #[test]
        fn frames_are_the_messages_of_the_stretch_in_order_and_cut_where_they_get_large(
            sizes in prop::collection::vec(1usize..20_000, 0..20),
            after in 0u64..22,
            through in 0u64..22,
        ) {
            let (run, messages) = run(&sizes, &Memory::default());
            let frames: Vec<Frame> = run.frames(Sequence(after), Sequence(through)).collect();
            let within = |sequence: u64| sequence.min(sizes.len() as u64) as usize;
            let stretch = within(after)..within(through).max(within(after));
            let expected: Vec<u8> = messages[stretch.clone()].concat();
            prop_assert_eq!(
                frames.iter().flat_map(|frame| frame.bytes.to_vec()).collect::<Vec<u8>>(),
                expected,
            );
            prop_assert_eq!(
                frames.iter().map(|frame| frame.events as usize).sum::<usize>(),
                stretch.len(),
            );
            let fits = |frame: &Frame| frame.bytes.len() <= FRAME_BYTES || frame.events == 1;
            prop_assert!(frames.iter().all(fits));
            if let Some(last) = frames.last() {
                prop_assert_eq!(last.end.sequence.0 as usize, stretch.end);
            }
        }
    }

    #[test]
    fn a_shared_buffer_counts_once_and_until_the_last_has_let_go() {
        let memory = Memory::default();
        let (run, _) = run(&[100, 200], &memory);
        let frames: Vec<Frame> = run.frames(Sequence::ZERO, Sequence(9)).collect();
        let shared = frames.clone();
        assert_eq!(memory.in_use(), 300);
        drop((run, frames));
        assert_eq!(memory.in_use(), 300);
        drop(shared);
        assert_eq!(memory.in_use(), 0);
    }
}
