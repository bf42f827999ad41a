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
        event.unmodeled_fields = None;
        event.raw_json.clear();
        event.raw_headers.clear();
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
