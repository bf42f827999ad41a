//! `EraseEvents`: checks what to erase, and tells the caller how far it is.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use tonic::Status;

use super::{
    request::Check,
    status::{Failure, Violation},
};
use crate::{
    auth::Grant,
    event::{Epoch, Sequence},
    log::{Erased, Eraser, Erasing, Phone, Stage, Target},
    proto::{EraseEventsRequest, EraseEventsResponse, EraseStage, erase_events_request},
};

pub(super) type Progress = Pin<Box<dyn Stream<Item = Result<EraseEventsResponse, Status>> + Send>>;

/// Begins to erase. The stream does the work.
pub(super) async fn begin(
    eraser: &Eraser,
    epoch: Epoch,
    request: EraseEventsRequest,
    grant: Grant,
) -> Result<Progress, Failure> {
    let dry_run = request.dry_run;
    let target = target(request.target)?;
    let what = target.to_string();
    let erasing = eraser
        .erase(target, dry_run)
        .await
        .map_err(|error| Failure::erase(&error, epoch))?;
    let call = Call {
        erasing,
        epoch,
        audit: Audit {
            who: grant.name,
            what,
            dry_run,
            events: 0,
        },
    };
    Ok(Box::pin(stream::try_unfold(call, Call::next)))
}

/// The events that a request asks for.
fn target(asked: Option<erase_events_request::Target>) -> Result<Target, Failure> {
    use erase_events_request::Target as Asked;
    let wrong = |field: &str, description: &str| {
        Failure::InvalidRequest(vec![Violation {
            field: field.into(),
            description: description.into(),
        }])
    };
    match asked {
        None => Err(wrong(
            "target",
            "is not set: set call_id, phone_number or sequence",
        )),
        Some(Asked::CallId(call)) => {
            let mut check = Check::default();
            check.text("call_id", &call, 1);
            check.done()?;
            Ok(Target::Call(call))
        }
        Some(Asked::PhoneNumber(text)) => Phone::parse(&text)
            .map(Target::Phone)
            .ok_or_else(|| wrong("phone_number", "is not a number of at least five digits")),
        Some(Asked::Sequence(0)) => Err(wrong("sequence", "is 0, and the first event has 1")),
        Some(Asked::Sequence(sequence)) => Ok(Target::Sequence(Sequence(sequence))),
    }
}

struct Call {
    erasing: Erasing,
    epoch: Epoch,
    audit: Audit,
}

impl Call {
    async fn next(mut self) -> Result<Option<(EraseEventsResponse, Self)>, Status> {
        let next = self.erasing.next().await;
        let next = next.map_err(|error| Failure::erase(&error, self.epoch))?;
        Ok(next.map(|state| {
            self.audit.events = state.events;
            (response(state), self)
        }))
    }
}

fn response(state: Erased) -> EraseEventsResponse {
    let stage = match state.stage {
        Stage::Erasing => EraseStage::Erasing,
        Stage::Cleaning => EraseStage::Cleaning,
        Stage::Held => EraseStage::Waiting,
        Stage::Done => EraseStage::Done,
    };
    EraseEventsResponse {
        event_count: state.events,
        damaged_count: state.damaged,
        examined_sequence: state.examined.0,
        latest_sequence: state.through.0,
        stage: stage.into(),
    }
}

/// Logs what was done when the call ends, however it ends. It never says a phone number.
struct Audit {
    who: Option<Arc<str>>,
    what: String,
    dry_run: bool,
    events: u64,
}

impl Drop for Audit {
    fn drop(&mut self) {
        tracing::info!(
            target: "audit",
            caller = self.who.as_deref().unwrap_or("anonymous"),
            of = self.what,
            dry_run = self.dry_run,
            events = self.events,
            "EraseEvents"
        );
    }
}
