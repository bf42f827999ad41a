//! The typed payloads.

use super::fields::{Fields, double, list, object, text, time};
use crate::proto::{
    CallEnded, CallMetadata, CallStarted, CallSummary, CallTransferred, Caller, EventType,
    PcaCompleted, TranscriptEntry, event::Payload,
};

/// The payload of an event of this type. It is set even if all its fields are empty. Fields of
/// other types are left over.
pub(super) fn read(event_type: EventType, fields: &mut Fields<'_>) -> Option<Payload> {
    match event_type {
        EventType::CallStarted => Some(Payload::CallStarted(CallStarted {})),
        EventType::CallEnded => Some(Payload::CallEnded(CallEnded {})),
        EventType::CallTransferred => Some(Payload::CallTransferred(call_transferred(fields))),
        EventType::PcaCompleted => Some(Payload::PcaCompleted(PcaCompleted {
            reason: fields.expected("reason", text).unwrap_or_default(),
            pca_time: fields.expected("timestamp", time),
        })),
        EventType::Other | EventType::Unspecified => None,
    }
}

fn call_transferred(fields: &mut Fields<'_>) -> CallTransferred {
    CallTransferred {
        transfer_to: fields.expected("transfer_to", text).unwrap_or_default(),
        caller: fields.expected("caller", |value| object(value, caller)),
        call_summary: fields.expected("call_summary", |value| object(value, call_summary)),
        transcript: fields
            .expected("transcript", |value| {
                list(value, |entry| object(entry, transcript_entry))
            })
            .unwrap_or_default(),
        metadata: fields.expected("metadata", |value| object(value, call_metadata)),
    }
}

fn caller(fields: &mut Fields<'_>) -> Caller {
    Caller {
        phone_number: fields.expected("phone_number", text).unwrap_or_default(),
    }
}

fn call_summary(fields: &mut Fields<'_>) -> CallSummary {
    let mut texts = |name| {
        fields
            .expected(name, |value| list(value, text))
            .unwrap_or_default()
    };
    let topics_discussed = texts("topics_discussed");
    let actions_taken = texts("actions_taken");
    let unresolved_issues = texts("unresolved_issues");
    CallSummary {
        duration_seconds: fields.expected("duration_seconds", double),
        topics_discussed,
        actions_taken,
        transfer_reason: fields.expected("transfer_reason", text).unwrap_or_default(),
        customer_sentiment: fields
            .expected("customer_sentiment", text)
            .unwrap_or_default(),
        unresolved_issues,
    }
}

fn transcript_entry(fields: &mut Fields<'_>) -> TranscriptEntry {
    TranscriptEntry {
        role: fields.known("role", text).unwrap_or_default(),
        content: fields.known("content", text).unwrap_or_default(),
    }
}

fn call_metadata(fields: &mut Fields<'_>) -> CallMetadata {
    CallMetadata {
        call_start_time: fields.expected("call_start_time", time),
        call_end_time: fields.expected("call_end_time", time),
        language: fields.expected("language", text).unwrap_or_default(),
    }
}
