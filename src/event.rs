//! Types that all rooms share: an event before and after it became durable.
//!
//! No I/O, no locks, no clocks.

mod keys;

use std::{fmt, mem, str::FromStr, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;

pub(crate) use keys::{ByTextKey, EVENT_TYPES, Keys, TextKey};

use crate::proto;

/// Place of an event in the log. The first event has 1; 0 is the place before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The place right after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Id of an event, the same for every delivery of it. Written as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId(pub [u8; 16]);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// A text that is not 32 lower-case hex digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id is 32 lower-case hex digits")]
pub struct MalformedEventId;

impl FromStr for EventId {
    type Err = MalformedEventId;

    fn from_str(text: &str) -> Result<Self, MalformedEventId> {
        from_hex(text).map(Self).ok_or(MalformedEventId)
    }
}

/// Identity of a log, random and made with it. A cursor is valid only for one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub [u8; 16]);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// A place in the log. Everything up to and including `sequence` is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last event that is covered; [`Sequence::ZERO`] if none is.
    pub sequence: Sequence,
    /// The first bytes of that event's id. They show that it is still the same event: a log that
    /// was rewound or restored may have another one here. Zeroes at the origin.
    pub id_tag: [u8; 6],
    /// That event's receive time; none at the origin.
    pub receive_time: Option<Timestamp>,
}

impl Position {
    /// Before the first event.
    pub const ORIGIN: Self = Self {
        sequence: Sequence::ZERO,
        id_tag: [0; 6],
        receive_time: None,
    };

    /// Right behind the event with this sequence, id and receive time.
    #[must_use]
    pub fn of(sequence: Sequence, id: EventId, receive_time: Timestamp) -> Self {
        let mut id_tag = [0; 6];
        id_tag.copy_from_slice(&id.0[..6]);
        Self {
            sequence,
            id_tag,
            receive_time: Some(receive_time),
        }
    }
}

/// A webhook as it came: the unchanged body, and the headers that the gateway keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw {
    /// The body: a JSON object in UTF-8.
    pub json: Bytes,
    /// `x-webhook-*`, `user-agent` and `content-type`, with lower-case names, sorted by name.
    pub headers: Vec<(String, String)>,
}

/// An event that is not durable yet.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The same for every delivery of the same event.
    pub id: EventId,
    /// The event in `EVENT_VIEW_STANDARD`, with the time at which the door received it and without
    /// a sequence.
    pub event: proto::Event,
    /// Whether Verbex gave `event.event_time`. If not, that time follows the receive time.
    pub event_time_given: bool,
    /// The webhook that it was made from.
    pub raw: Raw,
}

impl NewEvent {
    /// Encodes all that does not depend on the event's place.
    #[must_use]
    pub fn encode(mut self) -> EncodedEvent {
        let event_time = self.event.event_time.take();
        let event_time = event_time.filter(|_| self.event_time_given);
        let receive_time = self.event.receive_time.take();
        self.event.event_time = event_time;
        let mut encoded = Vec::with_capacity(self.event.encoded_len() + PLACE_BYTES_MAX);
        self.event.encode_raw(&mut encoded);
        EncodedEvent {
            id: self.id,
            trace_id: mem::take(&mut self.event.trace_id),
            keys: Keys::of(self.event),
            event_time,
            receive_time,
            encoded,
            raw: self.raw,
        }
    }

    /// [`Self::encode`] and [`EncodedEvent::place`].
    #[must_use]
    pub fn place(self, sequence: Sequence, receive_time: Timestamp) -> StoredEvent {
        self.encode().place(sequence, receive_time)
    }
}

/// The most bytes that a sequence and two times take in a message.
const PLACE_BYTES_MAX: usize = 11 + 2 * 19;

/// A new event, encoded but for its place.
#[derive(Clone, Debug)]
pub struct EncodedEvent {
    /// The same for every delivery of the same event.
    pub id: EventId,
    /// The values that filters and scopes compare.
    pub keys: Keys,
    /// `Event.trace_id`.
    pub trace_id: String,
    /// When Verbex says that it happened, if it says so.
    pub event_time: Option<prost_types::Timestamp>,
    /// When the door received it.
    pub receive_time: Option<prost_types::Timestamp>,
    /// The event in `EVENT_VIEW_STANDARD`, without what [`Self::place`] adds.
    encoded: Vec<u8>,
    /// The webhook that it was made from.
    pub raw: Raw,
}

impl EncodedEvent {
    /// The bytes of the body and of the encoding.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.raw.json.len() + self.encoded.len()
    }

    /// Gives the event its place: `sequence`, and a receive time that is not before that of the
    /// previous event.
    #[must_use]
    pub fn place(mut self, sequence: Sequence, receive_time: Timestamp) -> StoredEvent {
        let receive = timestamp(receive_time);
        // In protobuf, two encoded messages one after the other decode as both merged.
        let place = proto::Event {
            sequence: sequence.0,
            event_time: self.event_time.is_none().then_some(receive),
            receive_time: Some(receive),
            ..proto::Event::default()
        };
        place.encode_raw(&mut self.encoded);
        StoredEvent {
            sequence,
            id: self.id,
            receive_time,
            keys: self.keys,
            encoded: self.encoded.into(),
            raw: Some(self.raw),
        }
    }
}

/// A durable event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the log.
    pub sequence: Sequence,
    /// The same for every delivery of the same event.
    pub id: EventId,
    /// When the gateway took it; never decreases along `sequence`, except where an operator has set
    /// a wrong clock right.
    pub receive_time: Timestamp,
    /// The values that filters and scopes compare.
    pub keys: Keys,
    /// A complete `verbex.gateway.v1.Event` in `EVENT_VIEW_STANDARD`, encoded.
    pub encoded: Bytes,
    /// The webhook that it was made from. None if the query did not ask for it.
    pub raw: Option<Raw>,
}

impl StoredEvent {
    /// The place right behind this event.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::of(self.sequence, self.id, self.receive_time)
    }
}

/// Events that became durable together, in order.
pub type Group = Arc<[StoredEvent]>;

/// A time as a protobuf message.
#[must_use]
pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    // Nanoseconds count forward from the second in protobuf, towards zero in jiff.
    let nanos = time.as_nanosecond();
    prost_types::Timestamp {
        seconds: i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or_default(),
        nanos: i32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or_default(),
    }
}

/// Lower-case hex digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that these lower-case hex digits stand for.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8; 16]) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    f.write_str(str::from_utf8(&text).unwrap_or_default())
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_survives_its_text_and_refuses_any_other() {
        let id = EventId(*b"\x00\x01\x7f\x80\xff0123456789a");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "00",
            &"A".repeat(32),
            &"g".repeat(32),
            &"0".repeat(33),
            "é",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(MalformedEventId), "{text}");
        }
    }

    #[test]
    fn a_time_before_1970_has_nanoseconds_that_count_forward() {
        let time: Timestamp = "1969-12-31T23:59:59.25Z".parse().unwrap();
        let expected = prost_types::Timestamp {
            seconds: -1,
            nanos: 250_000_000,
        };
        assert_eq!(timestamp(time), expected);
    }

    #[test]
    fn a_placed_event_carries_its_sequence_and_its_times() {
        let receive_time: Timestamp = "2026-04-27T12:00:00Z".parse().unwrap();
        let event = NewEvent {
            id: EventId([7; 16]),
            event: proto::Event::default(),
            event_time_given: false,
            raw: Raw::default(),
        };
        let stored = event.place(Sequence(3), receive_time);
        let decoded = proto::Event::decode(stored.encoded).unwrap();
        assert_eq!(decoded.sequence, 3);
        assert_eq!(decoded.event_time, Some(timestamp(receive_time)));
        assert_eq!(decoded.receive_time, decoded.event_time);
    }
}
