//! The bounds of the fan-out.

use super::frame::FRAME_BYTES;

/// Bounds of the fan-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The most open subscriptions; one more is refused.
    pub subscribers_max: usize,
    /// The most bytes that wait for one subscriber. Beyond that, it reads the log instead. At least
    /// [`QUEUE_BYTES_MIN`].
    pub queue_bytes_max: usize,
    /// The most bytes of live events that wait for all subscribers together; shared buffers count
    /// once. Beyond that, every subscriber whose queue is not empty reads the log instead. Those
    /// that read the log may hold half as much; beyond that, each holds one frame or message.
    pub queues_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            subscribers_max: 20_000,
            queue_bytes_max: 1024 * 1024,
            queues_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// The smallest queue. It holds two full frames.
pub(crate) const QUEUE_BYTES_MIN: usize = 64 * 1024;
const _: () = assert!(QUEUE_BYTES_MIN >= 2 * FRAME_BYTES);
