//! The gateway as programs in Rust meet it: verbex-gateway-interop EXPECTED, beside a gateway
//! (with_gateway).

use std::{collections::BTreeMap, env, fs, process::Stdio, time::Duration};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Map, Value, json};
use tokio::{io::AsyncWriteExt, process::Command, time::sleep};
use tonic::{Code, Request, Status, Streaming, transport::Endpoint};
use tonic_types::StatusExt;

use proto::{
    Event, EventFilter, EventView, ListEventsRequest, ListSubscribersRequest, StartPosition,
    SubscribeRequest, SubscribeResponse, admin_service_client::AdminServiceClient,
    event_service_client::EventServiceClient, subscribe_request::Start,
    subscribe_response::Response,
};

mod proto {
    tonic::include_proto!("verbex.gateway.v1");
}

const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
const SAMPLES: [&str; 4] = [
    "call_started",
    "call_transferred",
    "call_ended",
    "pca_completed",
];

type Expected = BTreeMap<String, Map<String, Value>>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let expected = fs::read(env::args().nth(1).expect("EXPECTED")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    assert!(expected.keys().map(String::as_str).eq({
        let mut samples = SAMPLES;
        samples.sort_unstable();
        samples
    }));
    let agents = SAMPLES.map(|sample| expected[sample]["agentId"].as_str().unwrap().to_owned());
    let subscription = |start| SubscribeRequest {
        filter: Some(EventFilter {
            agent_ids: agents.to_vec(),
            ..Default::default()
        }),
        start: Some(start),
        progress_interval: Some(prost_types::Duration {
            seconds: 1,
            nanos: 0,
        }),
        ..Default::default()
    };
    let after = |cursor: &str| subscription(Start::AfterCursor(cursor.to_owned()));

    // What the filter leaves out comes in the midst of the samples.
    let mut answers = Vec::new();
    for sample in SAMPLES {
        if sample == "call_ended" {
            post(&event("left out", "another")).await;
        }
        answers.push(post(&body(sample)).await);
    }
    let address = format!("http://{}", env::var("GRPC_ADDR").unwrap());
    let channel = Endpoint::from_shared(address).unwrap().connect_lazy();
    let mut events = EventServiceClient::new(channel.clone());
    let mut admin = AdminServiceClient::new(channel);

    // The samples, by filter; their bodies byte for byte.
    let earliest = subscription(Start::StartPosition(StartPosition::Earliest.into()));
    let mut open = events.subscribe(earliest).await.unwrap().into_inner();
    let messages = read(&mut open, SAMPLES.len()).await;
    assert!(
        matches!(messages[0].response, Some(Response::Progress(_))),
        "a Progress first"
    );
    let found = events_of(&messages);
    assert_eq!(found.len(), SAMPLES.len());
    for ((sample, event), answer) in SAMPLES.iter().zip(found).zip(&answers) {
        check_sample(event, answer, &expected[*sample]);
    }
    let raw = ListEventsRequest {
        filter: subscription(Start::AfterCursor(String::new())).filter,
        view: EventView::Raw.into(),
        ..Default::default()
    };
    let listed = events.list_events(raw).await.unwrap().into_inner().events;
    let bodies: Vec<String> = listed
        .into_iter()
        .map(|event| String::from_utf8(event.raw_json).unwrap())
        .collect();
    assert_eq!(bodies, SAMPLES.map(body));

    // Cut off, and on from the last cursor.
    run("cut_off", &[], "").await;
    let (more, ended) = read_to_end(&mut open).await;
    assert_eq!(ended.code(), Code::Unknown, "{ended:?}");
    assert!(events_of(&more).is_empty());
    let cursor = &messages.iter().chain(&more).last().unwrap().cursor;
    let posted = post(&event("after the cut", &agents[0])).await;
    let mut resumed = events.subscribe(after(cursor)).await.unwrap().into_inner();
    let messages = read(&mut resumed, 1).await;
    let ids: Vec<&str> = events_of(&messages)
        .iter()
        .map(|event| event.id.as_str())
        .collect();
    assert_eq!(ids, [posted["id"].as_str().unwrap()]);

    // What a refusal says.
    let refused = events.subscribe(after("none")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let info = refused.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(
        (info.domain.as_str(), info.reason.as_str()),
        ("verbex.gateway", "CURSOR_INVALID")
    );

    // A deadline, on a stream that has nothing more to say.
    let mut limited = Request::new(after(&messages.last().unwrap().cursor));
    limited.set_timeout(Duration::from_secs(1));
    let mut limited = events.subscribe(limited).await.unwrap().into_inner();
    let (_, ended) = read_to_end(&mut limited).await;
    assert_eq!(ended.code(), Code::DeadlineExceeded, "{ended:?}");

    // A cancelled stream is gone at the gateway too.
    let named = SubscribeRequest {
        subscriber_name: "cancelled".into(),
        ..Default::default()
    };
    let cancelled = events.subscribe(named).await.unwrap();
    wait_for(&mut admin, "cancelled", true).await;
    drop(cancelled);
    wait_for(&mut admin, "cancelled", false).await;
}

/// Wants the sample exactly, in canonical JSON.
fn check_sample(event: &Event, answer: &Value, expected: &Map<String, Value>) {
    let mut found = json_of(event);
    assert_eq!(found.remove("id").as_ref(), Some(&answer["id"]));
    assert_eq!(found.remove("sequence").as_ref(), Some(&answer["sequence"]));
    let received = found.remove("receiveTime").expect("a receive time");
    if !expected.contains_key("eventTime") {
        assert_eq!(
            found.remove("eventTime"),
            Some(received),
            "the time of an event that has none"
        );
    }
    assert_eq!(&found, expected);
}

fn json_of(event: &Event) -> Map<String, Value> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let descriptor = pool.get_message_by_name("verbex.gateway.v1.Event").unwrap();
    let event = DynamicMessage::decode(descriptor, event.encode_to_vec().as_slice()).unwrap();
    match serde_json::to_value(event).unwrap() {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

fn event_of(message: &SubscribeResponse) -> Option<&Event> {
    match &message.response {
        Some(Response::Event(event)) => Some(event),
        _ => None,
    }
}

fn events_of(messages: &[SubscribeResponse]) -> Vec<&Event> {
    messages.iter().filter_map(event_of).collect()
}

/// Reads so many events, and on to the Progress that says that nothing else came.
async fn read(stream: &mut Streaming<SubscribeResponse>, count: usize) -> Vec<SubscribeResponse> {
    let mut messages = Vec::new();
    loop {
        let message = stream.message().await.unwrap().expect("it ended");
        let is_progress = matches!(message.response, Some(Response::Progress(_)));
        messages.push(message);
        if is_progress && events_of(&messages).len() >= count {
            return messages;
        }
    }
}

/// Reads to the error at the end.
async fn read_to_end(
    stream: &mut Streaming<SubscribeResponse>,
) -> (Vec<SubscribeResponse>, Status) {
    let mut messages = Vec::new();
    loop {
        match stream.message().await {
            Ok(message) => messages.push(message.expect("an end without an error")),
            Err(ended) => return (messages, ended),
        }
    }
}

type Admin = AdminServiceClient<tonic::transport::Channel>;

/// Waits until the gateway has a subscriber of that name, or has none.
async fn wait_for(admin: &mut Admin, name: &str, subscribed: bool) {
    for _ in 0..200 {
        let answer = admin
            .list_subscribers(ListSubscribersRequest::default())
            .await;
        let subscribers = answer.unwrap().into_inner().subscribers;
        if subscribers.iter().any(|subscriber| subscriber.name == name) == subscribed {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("subscribed should be {subscribed}: {name}");
}

fn body(sample: &str) -> String {
    fs::read_to_string(format!("{}/{sample}.json", env::var("SAMPLES").unwrap())).unwrap()
}

/// The body of an event of an agent.
fn event(call: &str, agent: &str) -> String {
    json!({"eventName": "CallHandler.CallEnded", "call_id": call, "agent_id": agent}).to_string()
}

async fn post(body: &str) -> Value {
    serde_json::from_slice(&run("post", &["-"], body).await).unwrap()
}

/// What a program of with_gateway prints.
async fn run(program: &str, args: &[&str], input: &str) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .await
        .unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{program}");
    output.stdout
}
