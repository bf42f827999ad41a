//! Fields that a caller may not see.

use crate::proto::{CallTransferred, Caller, Event, event::Payload};

/// The fields that are cleared in every event for a caller. The untyped parts of an event can
/// repeat any field, so every redaction clears them, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Redaction {
    pub caller_phone_number: bool,
    pub transfer_to: bool,
    pub call_summary: bool,
    pub transcript: bool,
    pub metadata: bool,
}

impl Redaction {
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Clears the redacted fields.
    pub(super) fn clear(self, event: &mut Event) {
        if self.is_empty() {
            return;
        }
        clear_untyped(event);
        match &mut event.payload {
            Some(Payload::CallTransferred(transfer)) => self.clear_transfer(transfer),
            Some(Payload::CallStarted(_) | Payload::CallEnded(_) | Payload::PcaCompleted(_))
            | None => {}
        }
    }

    // Both patterns name every field: a new field does not compile until somebody decides about it.
    fn clear_transfer(self, transfer: &mut CallTransferred) {
        let Self {
            caller_phone_number: hide_number,
            transfer_to: hide_target,
            call_summary: hide_summary,
            transcript: hide_transcript,
            metadata: hide_metadata,
        } = self;
        let CallTransferred {
            transfer_to,
            caller,
            call_summary,
            transcript,
            metadata,
        } = transfer;
        if hide_number && let Some(Caller { phone_number }) = caller {
            phone_number.clear();
        }
        if hide_target {
            transfer_to.clear();
        }
        if hide_summary {
            *call_summary = None;
        }
        if hide_transcript {
            transcript.clear();
        }
        if hide_metadata {
            *metadata = None;
        }
    }
}

/// Clears the parts that can repeat any other. It names every field: a new one does not compile
/// before it is decided here, for redactions and for the basic view.
pub(super) fn clear_untyped(event: &mut Event) {
    let Event {
        unmodeled_fields,
        raw_json,
        raw_headers,
        sequence: _,
        id: _,
        r#type: _,
        event_name: _,
        trace_id: _,
        organization_id: _,
        agent_id: _,
        call_id: _,
        status: _,
        event_time: _,
        receive_time: _,
        payload: _,
        unmodeled_fields_omitted: _,
        erase_time: _,
    } = event;
    *unmodeled_fields = None;
    raw_json.clear();
    raw_headers.clear();
}
