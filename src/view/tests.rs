use proptest::prelude::*;
use prost_types::{Struct, Timestamp, Value, value::Kind};

use super::*;
use crate::{
    event::{EventId, NewEvent, Raw, Sequence},
    proto::{CallMetadata, CallSummary, CallTransferred, Caller, EventType, TranscriptEntry},
};

const VIEWS: [View; 3] = [View::Basic, View::Standard, View::Raw];

/// A random text for each field of [`transfer`] that can be redacted.
pub(crate) struct Secrets {
    pub caller_phone_number: String,
    pub transfer_to: String,
    pub call_summary: String,
    pub transcript: String,
    pub metadata: String,
}

impl Secrets {
    pub(crate) fn of(word: &str) -> Self {
        Self {
            caller_phone_number: format!("+1555-{word}"),
            transfer_to: format!("sip:{word}@example.org"),
            call_summary: format!("wants {word}"),
            transcript: format!("I said {word}"),
            metadata: format!("x-{word}"),
        }
    }

    /// All texts, each with whether it is redacted.
    fn all(&self, redaction: Redaction) -> [(bool, &str); 5] {
        [
            (redaction.caller_phone_number, &self.caller_phone_number),
            (redaction.transfer_to, &self.transfer_to),
            (redaction.call_summary, &self.call_summary),
            (redaction.transcript, &self.transcript),
            (redaction.metadata, &self.metadata),
        ]
    }

    fn together(&self) -> String {
        let all = self.all(Redaction::default());
        all.map(|(_, secret)| secret).join(" ")
    }
}

/// A transfer with a secret in each of its fields, and with all of them in its untyped parts.
pub(crate) fn transfer(id: u8, agent: &str, secrets: &Secrets) -> NewEvent {
    let together = secrets.together();
    let text = Value {
        kind: Some(Kind::StringValue(together.clone())),
    };
    let event = proto::Event {
        r#type: EventType::CallTransferred.into(),
        agent_id: agent.into(),
        unmodeled_fields: Some(Struct {
            fields: [(together.clone(), text)].into(),
        }),
        payload: Some(Payload::CallTransferred(CallTransferred {
            transfer_to: secrets.transfer_to.clone(),
            caller: Some(Caller {
                phone_number: secrets.caller_phone_number.clone(),
            }),
            call_summary: Some(CallSummary {
                duration_seconds: Some(12.5),
                topics_discussed: vec![secrets.call_summary.clone()],
                actions_taken: vec![secrets.call_summary.clone()],
                transfer_reason: secrets.call_summary.clone(),
                customer_sentiment: secrets.call_summary.clone(),
                unresolved_issues: vec![secrets.call_summary.clone()],
            }),
            transcript: vec![TranscriptEntry {
                role: secrets.transcript.clone(),
                content: secrets.transcript.clone(),
            }],
            metadata: Some(CallMetadata {
                call_start_time: Some(Timestamp::default()),
                call_end_time: Some(Timestamp::default()),
                language: secrets.metadata.clone(),
            }),
        })),
        ..proto::Event::default()
    };
    NewEvent {
        id: EventId([id; 16]),
        event,
        event_time_given: false,
        raw: Raw {
            json: format!("{{\"all\":\"{together}\"}}").into(),
            headers: vec![("user-agent".into(), together)],
        },
    }
}

pub(crate) fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

fn stored(word: &str) -> StoredEvent {
    let new = transfer(1, "a", &Secrets::of(word));
    new.place(Sequence(9), jiff::Timestamp::UNIX_EPOCH)
}

#[test]
fn each_view_shows_what_the_contract_says() {
    let stored = stored("word");
    let check = |view: View, expected: &dyn Fn(&mut proto::Event)| {
        let mut wanted = proto::Event::decode(stored.encoded.clone()).unwrap();
        expected(&mut wanted);
        let rendered = view.render(Redaction::default(), &stored).unwrap();
        assert_eq!(proto::Event::decode(rendered).unwrap(), wanted, "{view:?}");
    };
    check(View::Standard, &|_| {});
    check(View::Basic, &|event| {
        event.unmodeled_fields = None;
        let Some(Payload::CallTransferred(transfer)) = &mut event.payload else {
            panic!("{event:?}")
        };
        transfer.transcript.clear();
        transfer.call_summary = None;
    });
    check(View::Raw, &|event| {
        let raw = stored.raw.clone().unwrap();
        event.raw_json = raw.json;
        event.raw_headers = raw.headers.into_iter().collect();
    });
}

prop_compose! {
    fn any_redaction()(fields: [bool; 5]) -> Redaction {
        let [caller_phone_number, transfer_to, call_summary, transcript, metadata] = fields;
        Redaction { caller_phone_number, transfer_to, call_summary, transcript, metadata }
    }
}

proptest! {
    #[test]
    fn a_redacted_value_is_in_no_byte_and_others_are_not_touched(
        word in "[a-z0-9é]{6,20}",
        redaction in any_redaction(),
        view in prop::sample::select(&VIEWS),
    ) {
        let stored = stored(&word);
        let secrets = Secrets::of(&word);
        let rendered = view.render(redaction, &stored).unwrap();
        for (redacted, secret) in secrets.all(redaction) {
            let conversation = [&secrets.call_summary, &secrets.transcript];
            let left_out = view == View::Basic && conversation.contains(&&secret.to_owned());
            prop_assert_eq!(holds(&rendered, secret), !redacted && !left_out, "{}", secret);
        }
        let shown = proto::Event::decode(rendered).unwrap();
        let Some(Payload::CallTransferred(transfer)) = &shown.payload else {
            panic!("{shown:?}")
        };
        prop_assert_eq!(transfer.metadata.is_some(), !redaction.metadata);
        let whole = redaction.is_empty();
        prop_assert_eq!(shown.unmodeled_fields.is_some(), whole && view != View::Basic);
        prop_assert_eq!(!shown.raw_json.is_empty(), whole && view == View::Raw);
        prop_assert_eq!(!shown.raw_headers.is_empty(), whole && view == View::Raw);
        prop_assert_eq!(view.show(redaction, &stored).unwrap(), shown);
    }
}

#[test]
fn what_is_not_changed_is_not_copied() {
    let stored = stored("word");
    let rendered = View::Standard
        .render(Redaction::default(), &stored)
        .unwrap();
    assert_eq!(rendered.as_ptr(), stored.encoded.as_ptr());
}
