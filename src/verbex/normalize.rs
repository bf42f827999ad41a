//! Where each field of an event is taken from.

use std::collections::BTreeSet;

use bytes::Bytes;
use jiff::Timestamp;

use super::{
    BodyError, Normalized, Path, Reason, Rules, Surprise,
    fields::{self, Fields, Rest, usable_text},
    headers::Headers,
    identity,
    json::{self, Object, Value},
    payload, time, unmodeled,
};
use crate::{
    event::{EVENT_TYPES, NewEvent, Raw, timestamp},
    proto::{Event, EventType},
};

/// The name of a transfer. The guide's sample of a transfer does not have it.
const CALL_TRANSFERRED: &str = "CallHandler.CallTransferred";

/// Turns a webhook into an event. Any JSON object is accepted.
///
/// Of the headers only `x-webhook-*`, `user-agent` and `content-type` are read, in upper or lower
/// case. They are stored with the event, up to 32 KiB. The same arguments give the same event. Body
/// and headers of [`NewEvent::raw`], with the same receive time, also give that event.
///
/// # Errors
///
/// The body is not a JSON object in UTF-8, or nested deeper than [`LEVELS_MAX`](super::LEVELS_MAX)
/// levels. If both are true, the error says that it is invalid.
pub(crate) fn normalize(
    rules: &Rules,
    headers: Vec<(String, String)>,
    body: Bytes,
    receive_time: Timestamp,
) -> Result<Normalized, BodyError> {
    let (headers, header_surprise) = Headers::pick(headers);
    let document = json::parse(&body)?;
    let (mut event, mut surprises, unknown) = read(rules, &headers, &document);
    let id = identity::event_id(
        &rules.id_key,
        &event.event_name,
        &event.trace_id,
        &document,
        body.len(),
    );
    drop(document);

    let receive_time = timestamp(receive_time);
    let event_time_given = event.event_time.is_some();
    event.id = id.to_string();
    event.receive_time = Some(receive_time);
    event.event_time.get_or_insert(receive_time);
    surprises.extend(header_surprise);
    Ok(Normalized {
        event: NewEvent {
            id,
            event,
            event_time_given,
            raw: Raw {
                json: body,
                headers: headers.into_vec(),
            },
        },
        surprises: surprises.into_iter().collect(),
        unknown: unknown.into_iter().collect(),
    })
}

/// Reads headers and body into an event. It has no id and no receive time yet, and an event time
/// only if the webhook gives one.
fn read(
    rules: &Rules,
    headers: &Headers,
    document: &Object<'_>,
) -> (Event, BTreeSet<Surprise>, BTreeSet<String>) {
    let mut body = Fields::of(document);
    let name_in_body = body.known("eventName", usable_text);
    let short_name = body.known("event", |value| (usable_text(value).0, Rest::Nothing));
    let trace_id = body.known("traceId", usable_text);
    let organization_id = body.known("organizationId", usable_text);
    let event_time = body.known("timestamp", fields::time);

    // A transfer has no envelope: the body is its payload.
    let mut enveloped = match document.get("payload") {
        Some(Value::Object(payload)) => Some(Fields::of(payload)),
        _ => None,
    };
    if enveloped.is_some() {
        body.expect(&["eventName", "traceId", "organizationId", "timestamp"]);
    } else {
        body.known("payload", |_| (None::<()>, Rest::Whole(Reason::WrongType)));
    }
    let payload_fields = enveloped.as_mut().unwrap_or(&mut body);

    let event_name = name_in_body
        .or_else(|| headers.usable("x-webhook-event").map(str::to_owned))
        .or(short_name)
        .or_else(|| {
            payload_fields
                .has("transfer_to")
                .then(|| CALL_TRANSFERRED.to_owned())
        })
        .unwrap_or_default();
    let event_type = event_type(&event_name);
    if event_type != EventType::Other {
        payload_fields.expect(&["agent_id", "call_id", "status"]);
    }
    let agent_id = payload_fields.first_key(&["agent_id", "agentId"]);
    let call_id = payload_fields.first_key(&["call_id", "callId"]);
    let status = payload_fields.first_key(&["status"]);
    let payload = payload::read(event_type, payload_fields);

    if let Some(payload_fields) = enveloped {
        body.known("payload", |_| (None::<()>, Rest::Part(payload_fields)));
    }
    let mut surprises = BTreeSet::new();
    let mut surprise = |name, reason| {
        surprises.insert(Surprise {
            field: Path::BODY.child(name),
            reason,
        });
    };
    if event_type == EventType::Other {
        surprise("eventName", Reason::UnknownName);
    }
    let unmodeled_fields = unmodeled::collect(&body);
    if let Err(reason) = unmodeled_fields {
        surprise("unmodeled_fields", reason);
    }
    body.surprises(Path::BODY, &mut surprises);
    let mut unknown = BTreeSet::new();
    body.unknown(Path::BODY, &mut unknown);

    let event = Event {
        r#type: event_type.into(),
        event_name,
        trace_id: trace_id
            .or_else(|| headers.usable("x-webhook-traceid").map(str::to_owned))
            .unwrap_or_default(),
        organization_id: organization_id
            .or_else(|| rules.organization.clone())
            .unwrap_or_default(),
        agent_id: agent_id.unwrap_or_default(),
        call_id: call_id.unwrap_or_default(),
        status: status.unwrap_or_default(),
        event_time: event_time.or_else(|| {
            headers
                .usable("x-webhook-timestamp")
                .and_then(time::from_text)
        }),
        payload,
        unmodeled_fields_omitted: unmodeled_fields.is_err(),
        erase_time: None,
        unmodeled_fields: unmodeled_fields.ok().flatten(),
        // Set later, or not set by body and headers. A new field must be named above or here.
        sequence: 0,
        id: String::new(),
        receive_time: None,
        raw_json: Bytes::new(),
        raw_headers: Default::default(),
    };
    (event, surprises, unknown)
}

/// The type by the part of the name after the last dot; upper and lower case are the same.
fn event_type(event_name: &str) -> EventType {
    let name = event_name.rsplit('.').next().unwrap_or_default();
    let is_called = |&event_type: &EventType| {
        verbex_name(event_type).is_some_and(|known| known.eq_ignore_ascii_case(name))
    };
    EVENT_TYPES
        .into_iter()
        .find(is_called)
        .unwrap_or(EventType::Other)
}

/// What Verbex calls events of this type, after the last dot of the name.
const fn verbex_name(event_type: EventType) -> Option<&'static str> {
    match event_type {
        EventType::CallStarted => Some("CallStarted"),
        EventType::CallEnded => Some("CallEnded"),
        EventType::CallTransferred => Some("CallTransferred"),
        EventType::PcaCompleted => Some("pcaCompleted"),
        EventType::Other | EventType::Unspecified => None,
    }
}
