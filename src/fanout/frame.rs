//! Frames: `SubscribeResponse`s as ready gRPC messages, made once and shared by all who get the same.

use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};

use crate::{
    event::{Epoch, Position, StoredEvent, timestamp},
    log::{Earliest, cursor},
    proto::{Gap, Progress, SubscribeResponse, SubscriptionState, subscribe_response::Response},
};

/// Where a frame is cut when another message would make it larger, so that one stream does not hold a connection that others
/// share for long. A single larger message is a frame of its own.
pub(super) const FRAME_BYTES: usize = 32 * 1024;

/// One byte for compression, four for the length: the gRPC message prefix (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

const CURSOR_FIELD: u32 = 1;
const EVENT_FIELD: u32 = 2;

/// Whole gRPC messages, and where a stream stands that has sent them.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The messages.
    pub bytes: Bytes,
    /// Events among them.
    pub events: u32,
    /// The place that the last of them covers.
    pub end: Position,
}

/// One event as a message.
pub(super) fn event_message(epoch: Epoch, event: &StoredEvent, rendered: &Bytes) -> Bytes {
    let cursor = cursor::encode(epoch, &event.position());
    let fields = [(CURSOR_FIELD, cursor.as_bytes()), (EVENT_FIELD, rendered)];
    let length: usize = fields
        .iter()
        .map(|(_, bytes)| 1 + encoded_len_varint(bytes.len() as u64) + bytes.len())
        .sum();

    let mut message = BytesMut::with_capacity(PREFIX_BYTES + length);
    put_prefix(&mut message, length);
    for (field, bytes) in fields {
        encode_key(field, WireType::LengthDelimited, &mut message);
        encode_varint(bytes.len() as u64, &mut message);
        message.put_slice(bytes);
    }
    message.freeze()
}

/// Joins messages into frames, in order.
pub(super) fn join<'a>(messages: impl Iterator<Item = (Position, &'a Bytes)>) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut run: Vec<&Bytes> = Vec::new();
    let mut run_bytes = 0;
    let mut run_end = Position::ORIGIN;
    for (end, message) in messages {
        if !run.is_empty() && run_bytes + message.len() > FRAME_BYTES {
            frames.push(concatenate(&run, run_bytes, run_end));
            run.clear();
            run_bytes = 0;
        }
        run.push(message);
        run_bytes += message.len();
        run_end = end;
    }
    if !run.is_empty() {
        frames.push(concatenate(&run, run_bytes, run_end));
    }
    frames
}

/// A sign of life at `position`.
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
    message(epoch, position, Response::Progress(progress))
}

/// A hole before `earliest`.
pub(super) fn gap(epoch: Epoch, earliest: &Earliest) -> Bytes {
    let gap = Gap {
        earliest_time: earliest.time.map(timestamp),
    };
    message(epoch, &earliest.before, Response::Gap(gap))
}

fn message(epoch: Epoch, position: &Position, response: Response) -> Bytes {
    let response = SubscribeResponse {
        cursor: cursor::encode(epoch, position),
        response: Some(response),
    };
    let length = response.encoded_len();
    let mut message = BytesMut::with_capacity(PREFIX_BYTES + length);
    put_prefix(&mut message, length);
    response.encode_raw(&mut message);
    message.freeze()
}

fn put_prefix(message: &mut BytesMut, length: usize) {
    message.put_u8(0); // not compressed
    // An event stays under 4 MiB, see `webhook::BODY_BYTES_MAX`.
    message.put_u32(length as u32);
}

fn concatenate(run: &[&Bytes], run_bytes: usize, end: Position) -> Frame {
    let bytes = match run {
        [single] => (*single).clone(),
        _ => {
            let mut bytes = BytesMut::with_capacity(run_bytes);
            run.iter().for_each(|message| bytes.put_slice(message));
            bytes.freeze()
        }
    };
    Frame {
        bytes,
        events: run.len() as u32,
        end,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        event::{EventId, Sequence},
        proto::{Event, EventType},
    };

    fn stored(sequence: u64, text: &str) -> StoredEvent {
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
            keys: crate::event::Keys::default(),
            encoded: event.encode_to_vec().into(),
            raw: None,
        }
    }

    proptest! {
        #[test]
        fn a_framed_event_has_the_bytes_that_prost_writes(sequence: u64, text in ".{0,300}") {
            let epoch = Epoch([5; 16]);
            let event = stored(sequence, &text);
            let framed = event_message(epoch, &event, &event.encoded);
            let expected = SubscribeResponse {
                cursor: cursor::encode(epoch, &event.position()),
                response: Some(Response::Event(Event::decode(event.encoded.clone()).unwrap())),
            };
            prop_assert_eq!(&framed[PREFIX_BYTES..], &expected.encode_to_vec()[..]);
            prop_assert_eq!(&framed[..PREFIX_BYTES], &[&[0], &(expected.encoded_len() as u32).to_be_bytes()[..]].concat()[..]);
        }

        #[test]
        fn joining_keeps_every_message_in_order_and_cuts_frames(sizes in prop::collection::vec(1usize..20_000, 0..20)) {
            let messages: Vec<(Position, Bytes)> = sizes.iter().enumerate().map(|(i, &size)| {
                (Position { sequence: Sequence(i as u64 + 1), ..Position::ORIGIN }, Bytes::from(vec![i as u8; size]))
            }).collect();
            let frames = join(messages.iter().map(|(end, message)| (*end, message)));
            let joined: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes.to_vec()).collect();
            prop_assert_eq!(joined, messages.iter().flat_map(|(_, message)| message.to_vec()).collect::<Vec<u8>>());
            prop_assert_eq!(frames.iter().map(|frame| frame.events as usize).sum::<usize>(), sizes.len());
            prop_assert!(frames.iter().all(|frame| frame.bytes.len() <= FRAME_BYTES || frame.events == 1));
            prop_assert_eq!(frames.last().map(|frame| frame.end.sequence.0), messages.last().map(|_| sizes.len() as u64));
        }
    }
}
