//! How much of an event somebody gets.

use bytes::Bytes;
use prost::Message;

use crate::{
    event::StoredEvent,
    proto::{self, EventView, event::Payload},
};

/// A view without the unspecified one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// Standard without transcript, call summary and unmodeled fields.
    Basic,
    /// All typed fields and the unmodeled ones.
    Standard,
    /// Standard with the raw body and headers.
    Raw,
}

impl View {
    /// Whether it needs [`StoredEvent::raw`].
    #[must_use]
    pub fn needs_raw(self) -> bool {
        self == Self::Raw
    }

    /// The encoded `Event` as this view shows it. Costs a copy where that differs from what is
    /// stored.
    ///
    /// # Errors
    /// If the stored event is no `Event`: the log is damaged.
    pub fn render(self, event: &StoredEvent) -> Result<Bytes, prost::DecodeError> {
        match (self, &event.raw) {
            (Self::Standard, _) | (Self::Raw, None) => Ok(event.encoded.clone()),
            (Self::Basic, _) => {
                let mut message = proto::Event::decode(event.encoded.clone())?;
                message.unmodeled_fields = None;
                if let Some(Payload::CallTransferred(transfer)) = &mut message.payload {
                    transfer.transcript.clear();
                    transfer.call_summary = None;
                }
                Ok(message.encode_to_vec().into())
            }
            (Self::Raw, Some(raw)) => {
                // The encodings of two messages, one after the other, are the encoding of both
                // merged.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, NewEvent, Raw, Sequence};

    fn transfer() -> proto::Event {
        proto::Event {
            r#type: proto::EventType::CallTransferred.into(),
            call_id: "c".into(),
            unmodeled_fields: Some(prost_types::Struct {
                fields: [("mood".into(), prost_types::Value::default())].into(),
            }),
            payload: Some(Payload::CallTransferred(proto::CallTransferred {
                transfer_to: "sip:1@example.org".into(),
                call_summary: Some(proto::CallSummary::default()),
                transcript: vec![proto::TranscriptEntry::default()],
                ..proto::CallTransferred::default()
            })),
            ..proto::Event::default()
        }
    }

    fn check(view: View, expected: impl Fn(&mut proto::Event)) {
        let raw = Raw {
            json: Bytes::from_static(br#"{"call_id":"c"}"#),
            headers: vec![("user-agent".into(), "x".into())],
        };
        let new = NewEvent {
            id: EventId([1; 16]),
            event: transfer(),
            event_time_given: false,
            raw,
        };
        let stored = new.place(Sequence(9), jiff::Timestamp::UNIX_EPOCH);
        let mut wanted = proto::Event::decode(stored.encoded.clone()).unwrap();
        expected(&mut wanted);
        assert_eq!(
            proto::Event::decode(view.render(&stored).unwrap()).unwrap(),
            wanted
        );
    }

    #[test]
    fn each_view_shows_what_the_contract_says() {
        check(View::Standard, |_| {});
        check(View::Basic, |event| {
            event.unmodeled_fields = None;
            event.payload = Some(Payload::CallTransferred(proto::CallTransferred {
                transfer_to: "sip:1@example.org".into(),
                ..proto::CallTransferred::default()
            }));
        });
        check(View::Raw, |event| {
            event.raw_json = Bytes::from_static(br#"{"call_id":"c"}"#);
            event.raw_headers = [("user-agent".into(), "x".into())].into();
        });
    }
}
