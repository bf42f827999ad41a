//! The usual way to pass webhooks on: an HTTPS handler that reads the JSON and sends an event into
//! plain tonic's broadcast, in one process. Nothing is stored.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use verbex_gateway::proto::{
    CallEnded, Event, EventType, SubscribeResponse, event::Payload, subscribe_response::Response,
};

use super::{bare_https, tonic_broadcast};
use crate::process::Control;

/// How it is set up.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    /// Where its certificate is kept.
    pub folder: PathBuf,
}

/// Where it is.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ready {
    pub webhook: SocketAddr,
    pub ca: PathBuf,
    pub grpc: SocketAddr,
}

pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let (channel, grpc) = tonic_broadcast::serve(false).await?;
    let sequence = Arc::new(AtomicU64::new(1));
    let door = bare_https::Setup {
        folder: setup.folder,
    };
    let door = bare_https::serve(&door, move |body| {
        let sequence = sequence.fetch_add(1, Ordering::Relaxed);
        // An error means that nobody subscribes.
        if let Ok(json) = serde_json::from_slice(&body) {
            let _ = channel.send(message(&json, sequence));
        }
    })
    .await?;
    control.answer(&Ready {
        webhook: door.addr,
        ca: door.ca,
        grpc,
    })?;
    while control.order::<()>().await?.is_some() {}
    Ok(())
}

fn message(json: &Value, sequence: u64) -> SubscribeResponse {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let payload = &json["payload"];
    let event = Event {
        sequence,
        id: format!("{sequence:032x}"),
        r#type: EventType::CallEnded.into(),
        event_name: text(&json["eventName"]),
        trace_id: text(&json["traceId"]),
        organization_id: text(&json["organizationId"]),
        agent_id: text(&payload["agent_id"]),
        call_id: text(&payload["call_id"]),
        status: text(&payload["status"]),
        payload: Some(Payload::CallEnded(CallEnded {})),
        ..Event::default()
    };
    SubscribeResponse {
        cursor: format!("{sequence:058x}"),
        response: Some(Response::Event(event)),
    }
}
