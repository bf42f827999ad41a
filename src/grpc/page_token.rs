//! Page tokens: where the next page begins, and which request it belongs to.
//!
//! ```text
//! version 1 │ request 8 │ epoch 8 │ snapshot sequence 8 │ snapshot id tag 6 │ at 8 │ check 4
//! ```
//!
//! The text is base64url without padding. A token gives no rights. `request` is a hash of the parts
//! that must stay the same from page to page: with another request the token is refused.

use prost::Message;

use super::status::{Failure, Violation};
use crate::{
    event::{Epoch, Position, Sequence},
    sealed::{self, array},
};

const VERSION: u8 = 1;
const BODY_BYTES: usize = 39;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageToken {
    /// The end of the log when the first page was read.
    pub snapshot: Position,
    /// The last place that the previous page looked at.
    pub at: u64,
}

/// The pages of one request to one log. Only this request accepts their tokens.
pub(super) struct Pages {
    request: [u8; 8],
    epoch: [u8; 8],
}

impl Pages {
    /// `request` must have its page size and token cleared, and its filter in canonical form.
    pub(super) fn of(method: &str, request: &impl Message, epoch: Epoch) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(method.as_bytes())
            .update(&[0])
            .update(&request.encode_to_vec());
        Self {
            request: array(&hasher.finalize().as_bytes()[..8]),
            epoch: array(&epoch.0[..8]),
        }
    }

    pub(super) fn encode(&self, token: &PageToken) -> String {
        let mut body = Vec::with_capacity(BODY_BYTES);
        body.push(VERSION);
        body.extend(self.request);
        body.extend(self.epoch);
        body.extend(token.snapshot.sequence.0.to_be_bytes());
        body.extend(token.snapshot.id_tag);
        body.extend(token.at.to_be_bytes());
        sealed::seal(&body)
    }

    /// Reads a token. The empty text asks for the first page.
    pub(super) fn decode(&self, text: &str) -> Result<Option<PageToken>, Failure> {
        if text.is_empty() {
            return Ok(None);
        }
        let refuse = |description: &str| {
            Failure::InvalidRequest(vec![Violation {
                field: "page_token".into(),
                description: description.into(),
            }])
        };
        let body: [u8; BODY_BYTES] = sealed::open(text)
            .filter(|body: &[u8; BODY_BYTES]| body[0] == VERSION)
            .ok_or_else(|| refuse("is not a page token"))?;
        if body[1..9] != self.request || body[9..17] != self.epoch {
            return Err(refuse(
                "came from another request; all but page_size must stay the same from page to page",
            ));
        }
        let snapshot = Position {
            sequence: Sequence(u64::from_be_bytes(array(&body[17..25]))),
            id_tag: array(&body[25..31]),
            receive_time: None,
        };
        Ok(Some(PageToken {
            snapshot,
            at: u64::from_be_bytes(array(&body[31..39])),
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::ListEventsRequest;

    fn pages(method: &str, newest_first: bool, epoch: u8) -> Pages {
        let request = ListEventsRequest {
            newest_first,
            ..ListEventsRequest::default()
        };
        Pages::of(method, &request, Epoch([epoch; 16]))
    }

    proptest! {
        #[test]
        fn a_token_survives_its_text_and_no_other_request_takes_it(
            sequence: u64,
            id_tag: [u8; 6],
            at: u64,
        ) {
            let snapshot = Position { sequence: Sequence(sequence), id_tag, receive_time: None };
            let token = PageToken { snapshot, at };
            let text = pages("ListEvents", false, 1).encode(&token);
            prop_assert_eq!(pages("ListEvents", false, 1).decode(&text).unwrap(), Some(token));
            let others = [
                pages("ListSubscribers", false, 1),
                pages("ListEvents", true, 1),
                pages("ListEvents", false, 2),
            ];
            for other in others {
                prop_assert!(other.decode(&text).is_err());
            }
        }

        #[test]
        fn any_other_text_is_refused(text in ".{1,80}") {
            prop_assert!(pages("ListEvents", false, 1).decode(&text).is_err());
        }
    }

    #[test]
    fn the_empty_token_is_the_first_page() {
        assert_eq!(pages("ListEvents", false, 1).decode("").unwrap(), None);
    }
}
