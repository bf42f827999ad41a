//! The events that are measured with, made from a number.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use serde::{Deserialize, Serialize};
use verbex_gateway::{
    inside::{
        event::{EventId, NewEvent, Position, Raw, Sequence, StoredEvent, timestamp},
        log::cursor,
    },
    proto::{
        CallEnded, CallTransferred, Event, EventFilter, EventType, SubscribeResponse,
        TranscriptEntry, event::Payload as EventPayload, subscribe_response::Response,
    },
};

/// What an event carries.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) enum Payload {
    /// The end of a call: about 260 bytes encoded, as in the baselines.
    #[default]
    Small,
    /// A transfer with a conversation, about 4 KiB encoded.
    Transcript,
}

/// The size that a small event is padded to.
const SMALL_BYTES: usize = 260;
/// 2026-04-27T12:00:00Z, so that runs are alike.
const FIRST_SECOND: i64 = 1_777_291_200;

/// Makes events of a number of agents, in turn.
#[derive(Clone, Debug)]
pub(crate) struct Maker {
    agents: u64,
    template: NewEvent,
}

impl Maker {
    pub(crate) fn new(payload: Payload, agents: u64) -> Self {
        let mut event = Event {
            r#type: EventType::CallEnded.into(),
            event_name: "CallHandler.CallEnded".into(),
            trace_id: "69ef5c43425e3c729ab8c83f".into(),
            organization_id: "27117463-c11e-4c75-affd-f743216f1bef".into(),
            agent_id: agent(0),
            call_id: "62ef5c43425e3c729ab8c83f".into(),
            status: "success".into(),
            event_time: Some(timestamp(time(0))),
            receive_time: Some(timestamp(time(0))),
            payload: Some(EventPayload::CallEnded(CallEnded {})),
            ..Event::default()
        };
        match payload {
            // In the id of the trace, since every event has one.
            Payload::Small => {
                let padding = SMALL_BYTES.saturating_sub(event.encoded_len());
                event.trace_id.push_str(&"0".repeat(padding));
            }
            Payload::Transcript => {
                event.r#type = EventType::CallTransferred.into();
                event.event_name = "CallHandler.CallTransferred".into();
                event.payload = Some(EventPayload::CallTransferred(conversation()));
            }
        }
        Self {
            agents: agents.max(1),
            template: NewEvent {
                id: EventId([0; 16]),
                event,
                event_time_given: true,
                raw: Raw {
                    json: Bytes::from(body(0, 1)),
                    headers: vec![("content-type".into(), "application/json".into())],
                },
            },
        }
    }

    /// The event of a number. Numbers from different `series` make different events.
    pub(crate) fn event(&self, series: u64, number: u64) -> NewEvent {
        let mut made = self.template.clone();
        let mut id = blake3::Hasher::new();
        id.update(&series.to_le_bytes());
        id.update(&number.to_le_bytes());
        id.finalize_xof().fill(&mut made.id.0);
        made.event.agent_id = agent(number % self.agents);
        // Each event has a call of its own. As Verbex's do, their ids grow.
        made.event.call_id = format!("62ef5c43425e3c72{:08x}", number as u32);
        made
    }

    /// The same as if it had been committed, after so many others.
    pub(crate) fn stored(&self, number: u64) -> StoredEvent {
        let sequence = Sequence(number + 1);
        self.event(0, number).place(sequence, time(number))
    }

    /// As a message to a subscriber, for peers that know messages and not events.
    pub(crate) fn message(&self, number: u64) -> SubscribeResponse {
        let stored = self.stored(number);
        let epoch = verbex_gateway::inside::event::Epoch([7; 16]);
        let position = Position::of(stored.sequence, stored.id, stored.receive_time);
        SubscribeResponse {
            cursor: cursor::encode(epoch, &position),
            response: Some(Response::Event(Event {
                sequence: stored.sequence.0,
                ..self.event(0, number).event
            })),
        }
    }

    /// Bytes of an event on its way to a subscriber, with the prefix of a gRPC message.
    pub(crate) fn message_bytes(&self) -> usize {
        self.message(1_000_000).encoded_len() + 5
    }
}

/// Which events each of many subscribers wants.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) enum Filters {
    /// All of them.
    #[default]
    One,
    /// All of agent 0, by so many different filters.
    Different(usize),
    /// Those of an agent of its own.
    OwnAgent,
    /// Those of one of so many agents, in turn.
    OneAgentOf(usize),
}

impl Filters {
    /// The filter of the subscriber at this place.
    pub(crate) fn at(self, place: usize) -> EventFilter {
        let agent_ids = match self {
            Self::One => Vec::new(),
            // The second one never calls.
            Self::Different(count) => vec![
                agent(0),
                agent(1_000_000_000 + (place % count.max(1)) as u64),
            ],
            Self::OwnAgent => vec![agent(place as u64)],
            Self::OneAgentOf(agents) => vec![agent((place % agents.max(1)) as u64)],
        };
        EventFilter {
            agent_ids,
            ..EventFilter::default()
        }
    }
}

/// The id of an agent, in the form of Verbex's.
pub(crate) fn agent(number: u64) -> String {
    format!("c31ab1b1-7eac-452d-8ba5-{number:012}")
}

/// The body of a webhook that nobody has sent before, of one of so many agents.
pub(crate) fn body(number: u64, agents: u64) -> String {
    let agent = agent(number % agents.max(1));
    format!(
        r#"{{"traceId":"69ef5c43425e3c72{number:016x}","organizationId":"27117463-c11e-4c75-affd-f743216f1bef","payload":{{"call_id":"62ef5c43425e3c72{number:016x}","status":"success","agent_id":"{agent}"}},"eventName":"CallHandler.CallEnded","event":"CallEnded","timestamp":"2026-04-27T12:56:41.599271364Z"}}"#
    )
}

/// One event a millisecond.
fn time(number: u64) -> Timestamp {
    let first = Timestamp::from_second(FIRST_SECOND).unwrap_or_default();
    first + Duration::from_millis(number)
}

/// Made of everyday words in no order, so that it shrinks about as much as real talk.
fn conversation() -> CallTransferred {
    const WORDS: &str = "account address again agent all and another any april appointment because \
     been before bill by call can cannot change check could customer date day \
      delivery did do for from get give had has have help her here his hold how \
       I in invoice is it item just know last later let like line look make may \
        me minute moment month more my name need new no not now number of office \
         on one or order our out payment please price problem refund right said \
          see send service she so some somebody sorry support take team tell thank \
           that the their them then there they thing this time to today tomorrow \
            transfer two until up us wait want was way we week were what when which \
             who will with would yes you your";
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut random = 1_u64;
    let mut word = || {
        // Knuth's MMIX generator.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        words[(random >> 33) as usize % words.len()]
    };
    let mut entry = |turn: usize| TranscriptEntry {
        role: if turn.is_multiple_of(2) {
            "user"
        } else {
            "agent"
        }
        .into(),
        content: (0..16).map(|_| word()).collect::<Vec<_>>().join(" ") + ".",
    };
    CallTransferred {
        transfer_to: "sip:01751373839@115.127.146.155".into(),
        transcript: (0..42).map(&mut entry).collect(),
        ..CallTransferred::default()
    }
}
