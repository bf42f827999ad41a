use super::frame::FRAME_BYTES;

/// Bounds of the fan-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Open subscriptions; one more is refused.
    pub subscribers_max: usize,
    /// Bytes that wait for one subscriber; beyond it the log serves. At least [`QUEUE_BYTES_MIN`].
    pub queue_bytes_max: usize,
    /// Bytes that wait for all subscribers together; what they share counts once. Beyond it the
    /// log serves everybody who has not taken everything at once.
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
