//! Verbex's own samples arrive byte for byte, and with exact values.

use prost_types::Timestamp;
use verbex_gateway::proto::{
    CallEnded, CallMetadata, CallStarted, CallSummary, CallTransferred, Caller, Event, EventType,
    EventView, GetEventRequest, PcaCompleted, SubscribeRequest, TranscriptEntry, event::Payload,
};

use crate::support::{
    bodies::{CALL_ENDED, CALL_STARTED, CALL_TRANSFERRED, PCA_COMPLETED, SAMPLES},
    grpc::from_earliest,
    process::{Gateway, Setup},
    webhook::{Answer, Http},
};

const ORGANIZATION: &str = "27117463-c11e-4c75-affd-f743216f1bef";
const TRACE: &str = "69ef5c43425e3c729ab8c83f";

fn time(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(String::from).to_vec()
}

/// What becomes of a sample in `EVENT_VIEW_STANDARD`, but for what the gateway gives it.
fn expected(sample: &str) -> Event {
    let (event_type, event_name, agent_id, call_id, event_time, payload) = match sample {
        CALL_STARTED => (
            EventType::CallStarted,
            "CallHandler.CallStarted",
            "c51aa1b1-7eac-452d-8ba5-86a922d694e7",
            "69ef7c43425e3c729ab8c83f",
            // 2026-04-27T12:53:25.241195387Z
            time(1_777_294_405, 241_195_387),
            Payload::CallStarted(CallStarted {}),
        ),
        CALL_ENDED => (
            EventType::CallEnded,
            "CallHandler.CallEnded",
            "c31ab1b1-7eac-452d-8ba5-86a922d694e7",
            "62ef5c43425e3c729ab8c83f",
            // 2026-04-27T12:56:41.599271364Z
            time(1_777_294_601, 599_271_364),
            Payload::CallEnded(CallEnded {}),
        ),
        PCA_COMPLETED => (
            EventType::PcaCompleted,
            "callAnalysis.pcaCompleted",
            "c51ab1b1-7eac-452d-8ba5-86a922d694e7",
            "69ef5c43425e3c729ab8c83f",
            // 2026-04-27T12:56:59.342041497Z
            time(1_777_294_619, 342_041_497),
            Payload::PcaCompleted(PcaCompleted {
                reason: "success".into(),
                pca_time: time(1_777_294_619, 200_000_000),
            }),
        ),
        CALL_TRANSFERRED => return transferred(),
        other => panic!("no sample: {other}"),
    };
    Event {
        r#type: event_type.into(),
        event_name: event_name.into(),
        trace_id: TRACE.into(),
        organization_id: ORGANIZATION.into(),
        agent_id: agent_id.into(),
        call_id: call_id.into(),
        status: "success".into(),
        event_time,
        payload: Some(payload),
        ..Event::default()
    }
}

/// The one without an envelope: no name, trace, organisation or time of its own.
fn transferred() -> Event {
    let said = |role: &str, content: &str| TranscriptEntry {
        role: role.into(),
        content: content.into(),
    };
    Event {
        r#type: EventType::CallTransferred.into(),
        event_name: "CallHandler.CallTransferred".into(),
        agent_id: "d077dc85-ee45-48cd-ac65-fd49df53cdba".into(),
        call_id: "697a020fc0baee039d0013b4".into(),
        status: "failed".into(),
        payload: Some(Payload::CallTransferred(CallTransferred {
            transfer_to: "sip:01751373839@115.127.146.155".into(),
            caller: Some(Caller {
                phone_number: "+8801762668080".into(),
            }),
            call_summary: Some(CallSummary {
                duration_seconds: Some(45.621591),
                topics_discussed: texts(["call_transfer_request"]),
                actions_taken: texts([
                    "Acknowledged transfer request",
                    "Initiated call transfer to human agent",
                ]),
                transfer_reason: "Customer requested to speak with a human agent.".into(),
                customer_sentiment: "neutral".into(),
                unresolved_issues: Vec::new(),
            }),
            transcript: vec![
                said("user", "Hi, I need assistance with my account."),
                said("agent", "How can I help you today?"),
                said("user", "Okay. Can you transfer the call to a human agent?"),
                said(
                    "agent",
                    "Of course, I'll transfer you to a human agent now. Please hold on a moment.",
                ),
                said(
                    "agent",
                    "Please wait while we connect you to a human agent.",
                ),
            ],
            metadata: Some(CallMetadata {
                // 2026-01-28T12:33:37.475817+00:00 and 12:34:23.097263
                call_start_time: time(1_769_603_617, 475_817_000),
                call_end_time: time(1_769_603_663, 97_263_000),
                language: "en-US".into(),
            }),
        })),
        ..Event::default()
    }
}

/// Takes away what the gateway gives, after a look at it.
fn as_sent(mut event: Event, sample: &str) -> Event {
    assert!(event.sequence > 0);
    assert_eq!(event.id.len(), 32, "{}", event.id);
    let receive_time = event.receive_time.take();
    assert!(receive_time.is_some());
    if sample == CALL_TRANSFERRED {
        // Nothing in it says when it happened.
        assert_eq!(event.event_time.take(), receive_time);
    }
    Event {
        sequence: 0,
        id: String::new(),
        ..event
    }
}

/// Posts the samples as Verbex does, and subscribes in this view.
async fn delivered(view: EventView) -> Vec<Event> {
    let gateway = Gateway::start().await;
    let stored = gateway.post_all(SAMPLES.map(String::from)).await;
    let request = SubscribeRequest {
        view: view.into(),
        ..SubscribeRequest::default()
    };
    let events = gateway.all(request, SAMPLES.len()).await;
    for (event, stored) in events.iter().zip(stored) {
        assert_eq!((&event.id, event.sequence), (&stored.id, stored.sequence));
    }
    events
}

#[tokio::test]
async fn the_standard_view_has_every_field_with_its_exact_value() {
    for view in [EventView::Standard, EventView::Unspecified] {
        for (event, sample) in delivered(view).await.into_iter().zip(SAMPLES) {
            assert_eq!(as_sent(event, sample), expected(sample));
        }
    }
}

#[tokio::test]
async fn the_raw_view_has_the_body_and_the_headers_beside_the_fields() {
    for (mut event, sample) in delivered(EventView::Raw).await.into_iter().zip(SAMPLES) {
        assert_eq!(std::mem::take(&mut event.raw_json), sample.as_bytes());
        let headers = std::mem::take(&mut event.raw_headers);
        assert_eq!(
            headers.get("content-type").map(String::as_str),
            Some("application/json")
        );
        assert_eq!(as_sent(event, sample), expected(sample));
    }
}

#[tokio::test]
async fn the_basic_view_leaves_conversations_out() {
    for (event, sample) in delivered(EventView::Basic).await.into_iter().zip(SAMPLES) {
        let mut expected = expected(sample);
        if let Some(Payload::CallTransferred(transferred)) = &mut expected.payload {
            transferred.transcript.clear();
            transferred.call_summary = None;
        }
        assert_eq!(as_sent(event, sample), expected);
    }
}

#[tokio::test]
async fn an_event_can_be_got_by_its_id_with_the_headers_that_verbex_sends() {
    let gateway = Gateway::start().await;
    let client = gateway.http(Http::One);
    let request = client
        .post(&gateway.webhook_url)
        .header("Content-Type", "application/json")
        .header("User-Agent", "ReactorNetty/1.1.13")
        .header("X-Webhook-Event", "CallHandler.CallEnded")
        .header("X-Webhook-Traceid", "94c950a0-1694-4b7c-9891-9364c261e4e1")
        .header("X-Webhook-Timestamp", "2025-11-10T01:01:14.552985018Z")
        .header("X-Other", "is not kept")
        .body(CALL_ENDED);
    let answer = Answer::of(request.send().await.unwrap()).await;
    let id = answer.stored().id;
    let mut client = gateway.events().await;
    let got = client.get_event(GetEventRequest { id }).await.unwrap();
    let mut event = got.into_inner().event.unwrap();
    let mut headers: Vec<_> = std::mem::take(&mut event.raw_headers).into_iter().collect();
    headers.sort();
    let kept = [
        ("content-type", "application/json"),
        ("user-agent", "ReactorNetty/1.1.13"),
        ("x-webhook-event", "CallHandler.CallEnded"),
        ("x-webhook-timestamp", "2025-11-10T01:01:14.552985018Z"),
        ("x-webhook-traceid", "94c950a0-1694-4b7c-9891-9364c261e4e1"),
    ];
    let kept = kept.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(headers, kept);
    assert_eq!(std::mem::take(&mut event.raw_json), CALL_ENDED.as_bytes());
    assert_eq!(as_sent(event, CALL_ENDED), expected(CALL_ENDED));
}

#[tokio::test]
async fn signatures_are_kept_and_a_header_that_lets_callers_in_is_not() {
    let file = "[webhook.header]\nname = \"x-webhook-key\"\nvalue = \"s3cret\"\n";
    let gateway = Setup::new().file(file).start().await;
    let client = gateway.http(Http::One);
    let request = client
        .post(&gateway.webhook_url)
        .header("X-Webhook-Key", "s3cret")
        .header("X-Webhook-Signature", "v1=aa")
        .header("X-Webhook-Signature", "v1=bb")
        .body(CALL_ENDED);
    let id = Answer::of(request.send().await.unwrap()).await.stored().id;
    let mut client = gateway.events().await;
    let got = client.get_event(GetEventRequest { id }).await.unwrap();
    let headers = got.into_inner().event.unwrap().raw_headers;
    let kept = ("x-webhook-signature".to_owned(), "v1=aa, v1=bb".to_owned());
    assert_eq!(headers, [kept].into());
}

#[tokio::test]
async fn a_transfer_without_an_organisation_gets_the_configured_one() {
    let setup = Setup::new();
    let gateway = setup.arg("--organization").arg(ORGANIZATION).start().await;
    gateway.post_all([CALL_TRANSFERRED.to_owned()]).await;
    let (mut stream, _) = gateway
        .subscribe(from_earliest(SubscribeRequest::default()))
        .await;
    assert_eq!(stream.event().await.1.organization_id, ORGANIZATION);
}
