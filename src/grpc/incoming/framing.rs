//! Finds where messages begin and end in the bytes of a request.

/// How far a request has come within a message: a flag, four bytes of length, and the content.
#[derive(Debug, Default)]
pub(super) struct Framing {
    head: Vec<u8>,
    /// Bytes of the content that are still missing, once the length is known.
    left: usize,
    /// Bytes of the incomplete message that have arrived.
    pub unfinished: usize,
}

impl Framing {
    const HEAD_BYTES: usize = 5;

    pub(super) fn take(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let wanted = match self.left {
                0 => Self::HEAD_BYTES - self.head.len(),
                left => left,
            };
            let (now, rest) = data.split_at(wanted.min(data.len()));
            data = rest;
            self.unfinished += now.len();
            if self.left > 0 {
                self.left -= now.len();
            } else {
                self.head.extend_from_slice(now);
                let Ok([_, length @ ..]) = <[u8; Self::HEAD_BYTES]>::try_from(&self.head[..])
                else {
                    continue;
                };
                self.head.clear();
                self.left = u32::from_be_bytes(length) as usize;
            }
            if self.left == 0 {
                self.unfinished = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(bytes.len() + length, 7);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_unfinished_is_what_came_of_the_last_message(
            lengths in prop::collection::vec(0usize..40, 1..6),
            cut in 0usize..200,
            pieces in prop::collection::vec(1usize..20, 1..50),
        ) {
            let messages: Vec<Vec<u8>> = lengths.into_iter().map(message).collect();
            let all = messages.concat();
            let mut came = &all[..cut.min(all.len())];
            let mut expected = came.len();
            for message in &messages {
                if expected >= message.len() {
                    expected -= message.len();
                } else {
                    break;
                }
            }
            let mut framing = Framing::default();
            let mut pieces = pieces.into_iter().cycle();
            while !came.is_empty() {
                let (now, rest) = came.split_at(pieces.next().unwrap().min(came.len()));
                framing.take(now);
                came = rest;
            }
            prop_assert_eq!(framing.unfinished, expected);
        }
    }
}
