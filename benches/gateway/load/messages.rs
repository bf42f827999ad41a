//! Counts gRPC messages in a stream of bytes without looking into them.

/// A `Progress` is shorter, an event longer, compressed or not. Progresses are no deliveries.
const EVENT_BYTES_MIN: usize = 120;
/// One byte for compression, four for the length.
const PREFIX_BYTES: usize = 5;

/// Where a stream stands.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// Of the message that has begun.
    length: usize,
    bytes_left: usize,
}

impl Messages {
    /// Takes the next bytes, and returns how many events end in them.
    pub(crate) fn take(&mut self, mut chunk: &[u8]) -> u64 {
        let mut events = 0;
        while !chunk.is_empty() {
            if self.prefix_bytes < PREFIX_BYTES {
                let part = chunk.len().min(PREFIX_BYTES - self.prefix_bytes);
                self.prefix[self.prefix_bytes..][..part].copy_from_slice(&chunk[..part]);
                self.prefix_bytes += part;
                chunk = &chunk[part..];
                if self.prefix_bytes < PREFIX_BYTES {
                    break;
                }
                let [_, length @ ..] = self.prefix;
                self.length = u32::from_be_bytes(length) as usize;
                self.bytes_left = self.length;
            }
            let part = chunk.len().min(self.bytes_left);
            self.bytes_left -= part;
            chunk = &chunk[part..];
            if self.bytes_left == 0 {
                self.prefix_bytes = 0;
                events += u64::from(self.length >= EVENT_BYTES_MIN);
            }
        }
        events
    }
}
