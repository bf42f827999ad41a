//! Detects requests that the HTTP/2 library refuses, in the frames that it writes. The library does
//! not report them.

use http::StatusCode;

/// The length of a frame's header: length, type, flags, stream (RFC 9113, section 4.1).
const HEAD_BYTES: usize = 9;
/// Enough of a payload for the error code of RST_STREAM and GOAWAY.
const KEPT_BYTES: usize = 8;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;

/// Reads the frames that one connection sends.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    payload: [u8; KEPT_BYTES],
    payload_bytes: usize,
    /// The last stream that was answered without a body. A reset of it belongs to that answer.
    refused: [u8; 4],
}

impl Frames {
    /// Reads bytes that are sent. Calls `refused` for each request that the library refuses in
    /// them.
    pub(super) fn watch(&mut self, mut bytes: &[u8], mut refused: impl FnMut(StatusCode)) {
        while !bytes.is_empty() {
            if self.head_bytes < HEAD_BYTES {
                let taken = bytes.len().min(HEAD_BYTES - self.head_bytes);
                self.head[self.head_bytes..][..taken].copy_from_slice(&bytes[..taken]);
                self.head_bytes += taken;
                bytes = &bytes[taken..];
                if self.head_bytes < HEAD_BYTES {
                    return;
                }
            }
            let [high, middle, low, ..] = self.head;
            let length = u32::from_be_bytes([0, high, middle, low]) as usize;
            let taken = bytes.len().min(length - self.payload_bytes);
            if let Some(room) = self.payload.get_mut(self.payload_bytes..) {
                let kept = taken.min(room.len());
                room[..kept].copy_from_slice(&bytes[..kept]);
            }
            self.payload_bytes += taken;
            bytes = &bytes[taken..];
            if self.payload_bytes == length {
                if let Some(status) = self.refusal(length) {
                    refused(status);
                }
                (self.head_bytes, self.payload_bytes) = (0, 0);
            }
        }
    }

    /// The refusal in a whole frame, if it is one.
    fn refusal(&mut self, length: usize) -> Option<StatusCode> {
        let [_, _, _, kind, flags, stream @ ..] = self.head;
        let [one @ .., _, _, _, _] = self.payload;
        let [_, _, _, _, other @ ..] = self.payload;
        match kind {
            // The doors' own answers have a body. The library answers only too large heads, without
            // one.
            HEADERS if flags & END_STREAM != 0 => {
                self.refused = stream;
                Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
            }
            RST_STREAM if length >= 4 && stream != self.refused => {
                (u32::from_be_bytes(one) == PROTOCOL_ERROR).then_some(StatusCode::BAD_REQUEST)
            }
            GOAWAY if length >= 8 => {
                (u32::from_be_bytes(other) != NO_ERROR).then_some(StatusCode::BAD_REQUEST)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    #[test]
    fn what_the_library_refuses_is_seen_however_the_bytes_are_cut() {
        const DATA: u8 = 0;
        const SETTINGS: u8 = 4;
        let error = |code: u32| code.to_be_bytes();
        let goaway = |code: u32| [[0, 0, 0, 9], code.to_be_bytes()].concat();
        let frames = [
            frame(SETTINGS, 0, 0, &[0; 36]),
            frame(SETTINGS, 1, 0, &[]),
            // An answer of the door itself.
            frame(HEADERS, 4, 1, &[7; 50]),
            frame(DATA, 1, 1, &[1; 3000]),
            // The refusal of a head that is too large, and the reset that belongs to it.
            frame(HEADERS, 5, 3, &[7; 20]),
            frame(RST_STREAM, 0, 3, &error(PROTOCOL_ERROR)),
            // The refusal of an invalid request.
            frame(RST_STREAM, 0, 5, &error(PROTOCOL_ERROR)),
            // Resets without a refusal: the door needs no more of the body, or the client
            // cancelled.
            frame(RST_STREAM, 0, 7, &error(NO_ERROR)),
            frame(RST_STREAM, 0, 9, &error(8)),
            frame(GOAWAY, 0, 0, &goaway(NO_ERROR)),
            frame(GOAWAY, 0, 0, &goaway(11)),
        ]
        .concat();
        for size in [1, 2, 7, 9, 10, 1000, frames.len()] {
            let mut seen = Vec::new();
            let mut watched = Frames::default();
            for piece in frames.chunks(size) {
                watched.watch(piece, |status| seen.push(status.as_u16()));
            }
            assert_eq!(seen, [431, 400, 400], "in pieces of {size}");
        }
    }
}
