//! Bodies of webhooks: Verbex's own samples, and made-up ones.

use serde_json::{Value, json};
use verbex_gateway::proto::{Event, EventType};

pub(crate) const CALL_STARTED: &str = include_str!("../../fixtures/verbex/call_started.json");
pub(crate) const CALL_ENDED: &str = include_str!("../../fixtures/verbex/call_ended.json");
pub(crate) const CALL_TRANSFERRED: &str =
    include_str!("../../fixtures/verbex/call_transferred.json");
pub(crate) const PCA_COMPLETED: &str = include_str!("../../fixtures/verbex/pca_completed.json");

/// The four, in the order of the guide's calls.
pub(crate) const SAMPLES: [&str; 4] = [CALL_STARTED, CALL_TRANSFERRED, CALL_ENDED, PCA_COMPLETED];

/// A call's start, the `number`th of its kind; each number is another event.
pub(crate) fn call_started(number: usize) -> String {
    event("CallHandler.CallStarted", number).to_string()
}

/// Any event of an agent and a call, in an envelope like Verbex's.
pub(crate) fn event(name: &str, number: usize) -> Value {
    json!({
        "traceId": format!("trace-{number}"),
        "organizationId": format!("organization-{}", number % 2),
        "payload": {
            "call_id": format!("call-{}", number / 2),
            "status": if number.is_multiple_of(3) { "failed" } else { "success" },
            "agent_id": format!("agent-{}", number % 4),
        },
        "eventName": name,
        "timestamp": "2026-04-27T12:53:25.241195387Z",
    })
}

/// Events of every type in turn, an unknown one among them.
pub(crate) fn mixed(number: usize) -> String {
    const NAMES: [&str; 5] = [
        "CallHandler.CallStarted",
        "CallHandler.CallEnded",
        "CallHandler.CallTransferred",
        "callAnalysis.pcaCompleted",
        "CallHandler.CallParked",
    ];
    event(NAMES[number % NAMES.len()], number).to_string()
}

/// A transfer whose transcript has about so many bytes.
pub(crate) fn large(number: usize, bytes: usize) -> String {
    let mut event = event("CallHandler.CallTransferred", number);
    event["payload"]["transfer_to"] = json!("+8801700000000");
    event["payload"]["transcript"] = json!([{"role": "user", "content": "x".repeat(bytes)}]);
    event.to_string()
}

/// What a subscriber should see of such a body, as far as filters look.
pub(crate) fn expected(body: &str) -> Event {
    let body: Value = serde_json::from_str(body).expect("JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (payload, event_name) = (&body["payload"], text(&body["eventName"]));
    let event_type = match event_name.as_str() {
        "CallHandler.CallStarted" => EventType::CallStarted,
        "CallHandler.CallEnded" => EventType::CallEnded,
        "CallHandler.CallTransferred" => EventType::CallTransferred,
        "callAnalysis.pcaCompleted" => EventType::PcaCompleted,
        _ => EventType::Other,
    };
    Event {
        r#type: event_type.into(),
        event_name,
        trace_id: text(&body["traceId"]),
        organization_id: text(&body["organizationId"]),
        agent_id: text(&payload["agent_id"]),
        call_id: text(&payload["call_id"]),
        status: text(&payload["status"]),
        ..Event::default()
    }
}
