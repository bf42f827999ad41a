//! The four samples of Verbex's guide, field by field.

use prost_types::Timestamp;

use super::*;
use crate::proto::{
    CallEnded, CallMetadata, CallStarted, CallSummary, CallTransferred, Caller, Event, EventType,
    PcaCompleted, TranscriptEntry, event::Payload,
};

const STARTED: &[u8] = include_bytes!("../../../tests/fixtures/verbex/call_started.json");
const ENDED: &[u8] = include_bytes!("../../../tests/fixtures/verbex/call_ended.json");
const TRANSFERRED: &[u8] = include_bytes!("../../../tests/fixtures/verbex/call_transferred.json");
const PCA: &[u8] = include_bytes!("../../../tests/fixtures/verbex/pca_completed.json");

fn check(body: &'static [u8], event_time_given: bool, expected: Event) {
    let normalized = read(&[], body);
    assert_eq!(normalized.event.event, expected);
    assert_eq!(normalized.event.id.to_string(), expected.id);
    assert_eq!(normalized.event.event_time_given, event_time_given);
    assert_eq!(normalized.event.raw.json, body);
    assert_eq!(surprises(&normalized), []);
}

fn common() -> Event {
    Event {
        trace_id: "69ef5c43425e3c729ab8c83f".into(),
        organization_id: "27117463-c11e-4c75-affd-f743216f1bef".into(),
        status: "success".into(),
        receive_time: Some(crate::event::timestamp(receive_time())),
        ..Event::default()
    }
}

fn time(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

#[test]
fn the_started_call() {
    let expected = Event {
        id: "2d652878e0992247c4624353dc05674d".into(),
        r#type: EventType::CallStarted.into(),
        event_name: "CallHandler.CallStarted".into(),
        agent_id: "c51aa1b1-7eac-452d-8ba5-86a922d694e7".into(),
        call_id: "69ef7c43425e3c729ab8c83f".into(),
        event_time: time(1_777_294_405, 241_195_387),
        payload: Some(Payload::CallStarted(CallStarted {})),
        ..common()
    };
    check(STARTED, true, expected);
}

#[test]
fn the_ended_call() {
    let expected = Event {
        id: "288db23be4d93e9075947e36d3ff9aa7".into(),
        r#type: EventType::CallEnded.into(),
        event_name: "CallHandler.CallEnded".into(),
        agent_id: "c31ab1b1-7eac-452d-8ba5-86a922d694e7".into(),
        call_id: "62ef5c43425e3c729ab8c83f".into(),
        event_time: time(1_777_294_601, 599_271_364),
        payload: Some(Payload::CallEnded(CallEnded {})),
        ..common()
    };
    check(ENDED, true, expected);
}

#[test]
fn the_completed_analysis() {
    let expected = Event {
        id: "1ccce367b40e38c2cc8cef5aee4ae348".into(),
        r#type: EventType::PcaCompleted.into(),
        event_name: "callAnalysis.pcaCompleted".into(),
        agent_id: "c51ab1b1-7eac-452d-8ba5-86a922d694e7".into(),
        call_id: "69ef5c43425e3c729ab8c83f".into(),
        event_time: time(1_777_294_619, 342_041_497),
        payload: Some(Payload::PcaCompleted(PcaCompleted {
            reason: "success".into(),
            pca_time: time(1_777_294_619, 200_000_000),
        })),
        ..common()
    };
    check(PCA, true, expected);
}

#[test]
fn the_transferred_call() {
    let entry = |role: &str, content: &str| TranscriptEntry {
        role: role.into(),
        content: content.into(),
    };
    let expected = Event {
        id: "f9dabdb7fd01b1bcf9f4a1f741932a23".into(),
        r#type: EventType::CallTransferred.into(),
        event_name: "CallHandler.CallTransferred".into(),
        trace_id: String::new(),
        organization_id: String::new(),
        agent_id: "d077dc85-ee45-48cd-ac65-fd49df53cdba".into(),
        call_id: "697a020fc0baee039d0013b4".into(),
        status: "failed".into(),
        event_time: common().receive_time,
        payload: Some(Payload::CallTransferred(CallTransferred {
            transfer_to: "sip:01751373839@115.127.146.155".into(),
            caller: Some(Caller {
                phone_number: "+8801762668080".into(),
            }),
            call_summary: Some(CallSummary {
                duration_seconds: Some(45.621591),
                topics_discussed: vec!["call_transfer_request".into()],
                actions_taken: vec![
                    "Acknowledged transfer request".into(),
                    "Initiated call transfer to human agent".into(),
                ],
                transfer_reason: "Customer requested to speak with a human agent.".into(),
                customer_sentiment: "neutral".into(),
                unresolved_issues: vec![],
            }),
            transcript: vec![
                entry("user", "Hi, I need assistance with my account."),
                entry("agent", "How can I help you today?"),
                entry("user", "Okay. Can you transfer the call to a human agent?"),
                entry(
                    "agent",
                    "Of course, I'll transfer you to a human agent now. Please hold on a moment.",
                ),
                entry(
                    "agent",
                    "Please wait while we connect you to a human agent.",
                ),
            ],
            metadata: Some(CallMetadata {
                call_start_time: time(1_769_603_617, 475_817_000),
                call_end_time: time(1_769_603_663, 97_263_000),
                language: "en-US".into(),
            }),
        })),
        ..common()
    };
    check(TRANSFERRED, false, expected);
}

#[test]
fn the_samples_are_four_events_though_three_share_a_trace() {
    let ids = [STARTED, ENDED, TRANSFERRED, PCA].map(|body| read(&[], body).event.id.to_string());
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), 4);
}
