//! How much of an event a caller gets: the view that it asks for, without what is redacted.

mod redaction;
#[cfg(test)]
pub(crate) mod tests;

use bytes::Bytes;
use prost::{DecodeError, Message};

pub(crate) use redaction::Redaction;
use redaction::clear_untyped;

use crate::{
    event::StoredEvent,
    proto::{self, CallTransferred, EventView, event::Payload},
};

/// The view that a caller asks for. It is never unspecified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    Basic,
    Standard,
    Raw,
}

impl View {
    /// Whether [`StoredEvent::raw`] is shown.
    #[must_use]
    pub(crate) fn needs_raw(self, redaction: Redaction) -> bool {
        self == Self::Raw && redaction.is_empty()
    }

    /// The event as a caller gets it.
    ///
    /// # Errors
    /// If the stored event is not an `Event`: the log is damaged.
    pub(crate) fn show(
        self,
        redaction: Redaction,
        event: &StoredEvent,
    ) -> Result<proto::Event, DecodeError> {
        let mut message = proto::Event::decode(event.encoded.clone())?;
        match (self, &event.raw) {
            (Self::Standard, _) | (Self::Raw, None) => {}
            (Self::Basic, _) => clear_conversation(&mut message),
            (Self::Raw, Some(raw)) => {
                message.raw_json = raw.json.clone();
                message.raw_headers = raw.headers.iter().cloned().collect();
            }
        }
        redaction.clear(&mut message);
        Ok(message)
    }

    /// The encoding of what [`Self::show`] returns. If that is the stored encoding, it is shared.
    ///
    /// # Errors
    /// The same as for [`Self::show`].
    pub(crate) fn render(
        self,
        redaction: Redaction,
        event: &StoredEvent,
    ) -> Result<Bytes, DecodeError> {
        match (self, &event.raw) {
            (Self::Standard, _) | (Self::Raw, None) if redaction.is_empty() => {
                Ok(event.encoded.clone())
            }
            (Self::Raw, Some(raw)) if redaction.is_empty() => {
                // In protobuf, two encoded messages one after the other decode as both merged.
                let rest = proto::Event {
                    raw_json: raw.json.clone(),
                    raw_headers: raw.headers.iter().cloned().collect(),
                    ..proto::Event::default()
                };
                let mut encoded = Vec::with_capacity(event.encoded.len() + rest.encoded_len());
                encoded.extend_from_slice(&event.encoded);
                rest.encode_raw(&mut encoded);
                Ok(encoded.into())
            }
            _ => Ok(self.show(redaction, event)?.encode_to_vec().into()),
        }
    }
}

/// Clears what a basic view does not show.
fn clear_conversation(event: &mut proto::Event) {
    clear_untyped(event);
    match &mut event.payload {
        // It names every field: a new one does not compile before it is decided here.
        Some(Payload::CallTransferred(CallTransferred {
            transfer_to: _,
            caller: _,
            call_summary,
            transcript,
            metadata: _,
        })) => {
            *call_summary = None;
            transcript.clear();
        }
        Some(Payload::CallStarted(_) | Payload::CallEnded(_) | Payload::PcaCompleted(_)) | None => {
        }
    }
}

impl From<View> for EventView {
    fn from(view: View) -> Self {
        match view {
            View::Basic => Self::Basic,
            View::Standard => Self::Standard,
            View::Raw => Self::Raw,
        }
    }
}
