//! A gRPC message: a `SubscribeResponse` with its prefix, compressed or not.

use std::io::Write;

use bytes::{BufMut, Bytes};
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};

use super::{frame::Memory, request::Encoding};
use crate::{
    event::{Epoch, Position, StoredEvent, timestamp},
    log::{Earliest, cursor},
    proto::{Gap, Progress, SubscribeResponse, SubscriptionState, subscribe_response::Response},
    view::{Redaction, View},
};

/// One byte for compression, four for the length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;
/// Smaller messages are not compressed: that would cost both sides more than it saves.
const COMPRESS_BYTES_MIN: usize = 1024;
/// The fastest levels. They shrink a transcript to about a third; higher levels hardly gain more.
const GZIP_LEVEL: Compression = Compression::fast();
const ZSTD_LEVEL: i32 = 1;

const CURSOR_FIELD: u32 = 1;
const EVENT_FIELD: u32 = 2;

/// The form in which events are sent. Classes of the same shape share messages, whatever they
/// select.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub view: View,
    pub redaction: Redaction,
    pub encoding: Encoding,
}

impl Shape {
    /// Whether messages of this shape have the raw body.
    pub(super) fn needs_raw(self) -> bool {
        self.view.needs_raw(self.redaction)
    }
}

/// Makes the messages of events in one shape. The compressor keeps its memory from message to
/// message.
pub(super) struct Encoder {
    epoch: Epoch,
    shape: Shape,
    compressor: Compressor,
    memory: Memory,
}

enum Compressor {
    None,
    Gzip,
    /// The context is large, so it is made for the first message that needs it.
    Zstd(Option<zstd::bulk::Compressor<'static>>),
}

impl Encoder {
    pub(super) fn new(epoch: Epoch, shape: Shape, memory: Memory) -> Self {
        let compressor = match shape.encoding {
            Encoding::Identity => Compressor::None,
            Encoding::Gzip => Compressor::Gzip,
            Encoding::Zstd => Compressor::Zstd(None),
        };
        Self {
            epoch,
            shape,
            compressor,
            memory,
        }
    }

    /// An event with its cursor.
    pub(super) fn event(&mut self, event: &StoredEvent) -> Result<Bytes, prost::DecodeError> {
        let rendered = self.shape.view.render(self.shape.redaction, event)?;
        let cursor = cursor::encode(self.epoch, &event.position());
        let fields = [
            (CURSOR_FIELD, cursor.as_bytes()),
            (EVENT_FIELD, &rendered[..]),
        ];
        let length = fields
            .iter()
            .map(|(_, bytes)| 1 + encoded_len_varint(bytes.len() as u64) + bytes.len())
            .sum();
        let message = self.message(length, |message| {
            for (field, bytes) in fields {
                encode_key(field, WireType::LengthDelimited, message);
                encode_varint(bytes.len() as u64, message);
                message.put_slice(bytes);
            }
        });
        Ok(self.memory.count(message))
    }

    fn message(&mut self, length: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let message = plain(length, write);
        if length < COMPRESS_BYTES_MIN {
            return message;
        }
        match self.compressor.compress(&message[PREFIX_BYTES..]) {
            Some(compressed) if compressed.len() < length => prefixed(true, &compressed),
            _ => message,
        }
    }
}

impl Compressor {
    /// None if there is no compressed form: then the message is sent as it is.
    fn compress(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::None => None,
            Self::Gzip => {
                let mut gzip = GzEncoder::new(Vec::with_capacity(message.len() / 2), GZIP_LEVEL);
                gzip.write_all(message).ok()?;
                gzip.finish().ok()
            }
            Self::Zstd(context) => {
                if context.is_none() {
                    *context = Some(zstd::bulk::Compressor::new(ZSTD_LEVEL).ok()?);
                }
                context.as_mut()?.compress(message).ok()
            }
        }
    }
}

/// A `Progress` at `position`.
pub(super) fn progress(
    epoch: Epoch,
    position: &Position,
    state: SubscriptionState,
    now: Timestamp,
) -> Bytes {
    let progress = Progress {
        server_time: Some(timestamp(now)),
        state: state.into(),
        position_time: position.receive_time.map(timestamp),
    };
    response(epoch, position, Response::Progress(progress))
}

/// A `Gap` that ends before `earliest`.
pub(super) fn gap(epoch: Epoch, earliest: &Earliest) -> Bytes {
    let gap = Gap {
        earliest_time: earliest.time.map(timestamp),
    };
    response(epoch, &earliest.before, Response::Gap(gap))
}

fn response(epoch: Epoch, position: &Position, response: Response) -> Bytes {
    let response = SubscribeResponse {
        cursor: cursor::encode(epoch, position),
        response: Some(response),
    };
    let message = plain(response.encoded_len(), |message| {
        response.encode_raw(message);
    });
    message.into()
}

fn plain(length: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = Vec::with_capacity(PREFIX_BYTES + length);
    put_prefix(&mut message, false, length);
    write(&mut message);
    message
}

fn prefixed(compressed: bool, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(PREFIX_BYTES + payload.len());
    put_prefix(&mut message, compressed, payload.len());
    message.put_slice(payload);
    message
}

fn put_prefix(message: &mut Vec<u8>, compressed: bool, length: usize) {
    message.put_u8(compressed.into());
    // An event stays under 4 MiB: see `webhook::BODY_BYTES_LIMIT`.
    message.put_u32(length as u32);
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        event::{EventId, Keys, Sequence},
        proto::{Event, EventType},
    };

    pub(in crate::fanout) fn stored(sequence: u64, text: &str) -> StoredEvent {
        let event = Event {
            sequence,
            call_id: text.into(),
            r#type: EventType::Other.into(),
            ..Event::default()
        };
        StoredEvent {
            sequence: Sequence(sequence),
            id: EventId([sequence as u8; 16]),
            receive_time: Timestamp::UNIX_EPOCH,
            keys: Keys::default(),
            encoded: event.encode_to_vec().into(),
            raw: None,
        }
    }

    fn encoder(epoch: Epoch, encoding: Encoding) -> Encoder {
        let shape = Shape {
            view: View::Standard,
            redaction: Redaction::default(),
            encoding,
        };
        Encoder::new(epoch, shape, Memory::default())
    }

    /// The payload of a message, and whether it came compressed.
    fn opened(encoding: Encoding, message: &[u8]) -> (bool, Vec<u8>) {
        let (prefix, payload) = message.split_at(PREFIX_BYTES);
        assert_eq!(prefix[1..], (payload.len() as u32).to_be_bytes());
        if prefix[0] == 0 {
            return (false, payload.to_vec());
        }
        let mut unpacked = Vec::new();
        match encoding {
            Encoding::Identity => panic!("nobody asked for compression"),
            Encoding::Gzip => {
                GzDecoder::new(payload).read_to_end(&mut unpacked).unwrap();
            }
            Encoding::Zstd => unpacked = zstd::bulk::decompress(payload, 8 << 20).unwrap(),
        }
        (true, unpacked)
    }

    proptest! {
        #[test]
        fn a_message_holds_the_bytes_that_prost_writes(
            sequence: u64,
            text in ".{0,2000}",
            times in 1usize..4,
        ) {
            let epoch = Epoch([5; 16]);
            let event = stored(sequence, &text.repeat(times));
            let expected = SubscribeResponse {
                cursor: cursor::encode(epoch, &event.position()),
                response: Some(Response::Event(Event::decode(event.encoded.clone()).unwrap())),
            };
            for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
                let message = encoder(epoch, encoding).event(&event).unwrap();
                prop_assert_eq!(opened(encoding, &message).1, expected.encode_to_vec());
            }
        }
    }

    #[test]
    fn only_what_shrinks_is_compressed() {
        let check = |encoding, text: &str, expected: bool| {
            let message = encoder(Epoch([5; 16]), encoding)
                .event(&stored(1, text))
                .unwrap();
            assert_eq!(opened(encoding, &message).0, expected, "{encoding:?}");
        };
        let long = "words that repeat ".repeat(200);
        check(Encoding::Identity, &long, false);
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            check(encoding, &long, true);
            check(encoding, "short", false);
        }
    }
}
