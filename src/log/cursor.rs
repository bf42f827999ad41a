//! Cursors: a place in the log as a client keeps it.
//!
//! Opaque, 36 URL-safe characters, valid for as long as the log lives:
//!
//! ```text
//! version 1 │ epoch 8 │ sequence 8 (big-endian) │ id tag 6 │ check 4     bytes
//!
//! then base64url without padding
//! ```
//!
//! The epoch differs for each new log. Sequence and id tag differ for a log that was rewound or
//! restored from a copy. The check finds cursors that were cut or mistyped. It needs no secret,
//! since a cursor gives no rights. A cursor does not depend on filter or view.

use crate::{
    event::{Epoch, Position, Sequence},
    sealed::{self, array},
};

const VERSION: u8 = 1;
const BODY_BYTES: usize = 23;

/// A cursor that was read from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    epoch_tag: [u8; 8],
    /// The last event that it covers.
    pub sequence: Sequence,
    /// The first bytes of that event's id.
    pub id_tag: [u8; 6],
}

/// A text that is not a cursor.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor of a verbex-gateway")]
pub struct Malformed;

impl Cursor {
    /// Whether the log of this epoch made the cursor.
    #[must_use]
    pub fn is_of(&self, epoch: Epoch) -> bool {
        self.epoch_tag == epoch_tag(epoch)
    }

    /// The place that it marks. The time of the event there is not known.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            sequence: self.sequence,
            id_tag: self.id_tag,
            receive_time: None,
        }
    }

    /// Reads what [`encode`] wrote.
    ///
    /// # Errors
    /// If the text is anything else.
    pub fn decode(text: &str) -> Result<Self, Malformed> {
        let body: [u8; BODY_BYTES] = sealed::open(text).ok_or(Malformed)?;
        if body[0] != VERSION {
            return Err(Malformed);
        }
        Ok(Self {
            epoch_tag: array(&body[1..9]),
            sequence: Sequence(u64::from_be_bytes(array(&body[9..17]))),
            id_tag: array(&body[17..23]),
        })
    }
}

/// The cursor of a place in the log of this epoch.
#[must_use]
pub fn encode(epoch: Epoch, position: &Position) -> String {
    let mut body = [0; BODY_BYTES];
    body[0] = VERSION;
    body[1..9].copy_from_slice(&epoch_tag(epoch));
    body[9..17].copy_from_slice(&position.sequence.0.to_be_bytes());
    body[17..23].copy_from_slice(&position.id_tag);
    sealed::seal(&body)
}

fn epoch_tag(epoch: Epoch) -> [u8; 8] {
    array(&epoch.0[..8])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_survives_its_text(epoch: [u8; 16], sequence: u64, id_tag: [u8; 6]) {
            let epoch = Epoch(epoch);
            let position = Position { sequence: Sequence(sequence), id_tag, receive_time: None };
            let text = encode(epoch, &position);
            let is_safe = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            prop_assert!(text.len() <= 64 && text.bytes().all(is_safe));
            let cursor = Cursor::decode(&text).unwrap();
            prop_assert!(cursor.is_of(epoch));
            prop_assert_eq!((cursor.sequence, cursor.id_tag), (position.sequence, position.id_tag));
        }

        #[test]
        fn a_changed_cursor_is_refused(at in 0usize..36, to in "[A-Za-z0-9_-]") {
            let text = encode(Epoch([3; 16]), &Position::ORIGIN);
            let mut changed = text.clone();
            changed.replace_range(at..=at, &to);
            prop_assert_eq!(Cursor::decode(&changed).is_ok(), changed == text);
        }

        #[test]
        fn any_other_text_is_refused(text: String) {
            prop_assert_eq!(Cursor::decode(&text), Err(Malformed));
        }
    }

    #[test]
    fn a_cursor_that_was_given_away_is_read_for_ever() {
        let mut epoch = [0; 16];
        epoch[..8].copy_from_slice(&[0xdd, 0x49, 0x7e, 0x1b, 0x82, 0x2d, 0xdc, 0x0b]);
        let cursor = Cursor::decode("Ad1JfhuCLdwLAAAAAAAAAAThd10lAvzmAej9").unwrap();
        assert!(cursor.is_of(Epoch(epoch)));
        assert_eq!(cursor.sequence, Sequence(4));
        assert_eq!(cursor.id_tag, [0xe1, 0x77, 0x5d, 0x25, 0x02, 0xfc]);
    }

    #[test]
    fn a_cursor_of_another_epoch_is_told_apart() {
        let cursor = Cursor::decode(&encode(Epoch([1; 16]), &Position::ORIGIN)).unwrap();
        assert!(!cursor.is_of(Epoch([2; 16])));
    }
}
