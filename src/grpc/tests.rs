//! The services behind the door, over a real log and fan-out: what each caller gets.

use std::time::{Duration, Instant};

use axum::{Extension, body::Body};
use http::Request;
use prometheus_client::registry::Registry;
use prost::Message;
use prost_reflect::DescriptorPool;
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;
use tower::ServiceExt;

use super::*;
use crate::{
    auth::Grant,
    event::{ByTextKey, EventId, NewEvent, TextKey},
    fanout,
    filter::Scope,
    log::{self, Appender},
    proto::{
        EventFilter, EventView, GetEventRequest, ListEventsRequest, ListEventsResponse,
        StartPosition, SubscribeRequest, SubscribeResponse, SubscriptionState,
        event_service_client::EventServiceClient, subscribe_request::Start,
        subscribe_response::Response,
    },
    view::{
        Redaction,
        tests::{Secrets, holds, transfer},
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    /// The services without the layers in front of them.
    services: Router,
    appender: Appender,
    fanout: Fanout,
    _dir: TempDir,
}

impl Rig {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut metrics = Registry::default();
        let config = log::Config {
            data_dir: dir.path().to_owned(),
            consent: Default::default(),
            limits: log::Limits::NONE,
        };
        let log = log::open(&config, log::Metrics::register(&mut metrics)).unwrap();
        let config = fanout::Config {
            subscribers_max: 10,
            queue_bytes_max: 1 << 20,
            queues_bytes_max: 1 << 20,
        };
        let epoch = log.identity.epoch;
        let (fanout, router) = Fanout::new(
            config,
            epoch,
            log.reader.clone(),
            log.followers,
            fanout::Metrics::register(&mut metrics),
        );
        tokio::spawn(router);
        let parts = Parts {
            epoch,
            reader: log.reader,
            eraser: log.eraser,
            fanout: fanout.clone(),
            started: Instant::now(),
        };
        Self {
            services: services(parts, Vec::new(), &Health::new()).unwrap(),
            appender: log.appender,
            fanout,
            _dir: dir,
        }
    }

    async fn append(&self, event: NewEvent) -> EventId {
        let id = event.id;
        self.appender.append(event).await.unwrap();
        id
    }

    /// A client of the services with these rights.
    fn caller(&self, grant: &Grant) -> Caller {
        Caller(EventServiceClient::new(
            self.services.clone().layer(Extension(grant.clone())),
        ))
    }
}

/// The right to read events of these agents, or of all agents if the list is empty.
fn may_read(agents: &[&str], redaction: Redaction) -> Grant {
    let mut texts = ByTextKey::default();
    texts[TextKey::AgentId] = agents.iter().map(ToString::to_string).collect();
    Grant {
        scope: Scope::new(Vec::new(), texts).into(),
        redaction,
        ..Grant::anonymous(false)
    }
}

struct Caller(EventServiceClient<Router>);

impl Caller {
    async fn list(&mut self, request: ListEventsRequest) -> Result<ListEventsResponse, Status> {
        Ok(self.0.list_events(request).await?.into_inner())
    }

    async fn get(&mut self, id: EventId) -> Result<crate::proto::Event, Status> {
        let id = id.to_string();
        let response = self.0.get_event(GetEventRequest { id }).await?;
        Ok(response.into_inner().event.unwrap())
    }

    async fn subscribe(&mut self, filter: EventFilter, view: EventView) -> Stream {
        let request = SubscribeRequest {
            filter: Some(filter),
            view: view.into(),
            start: Some(Start::StartPosition(StartPosition::Earliest.into())),
            ..SubscribeRequest::default()
        };
        Stream(self.0.subscribe(request).await.unwrap().into_inner())
    }
}

struct Stream(Streaming<SubscribeResponse>);

impl Stream {
    async fn next(&mut self) -> SubscribeResponse {
        let next = timeout(PATIENCE, self.0.message()).await;
        next.expect("a message in time")
            .unwrap()
            .expect("an open stream")
    }

    /// Receives the events that come before the stream is live.
    async fn caught_up(&mut self) -> Vec<crate::proto::Event> {
        let mut events = Vec::new();
        loop {
            match self.next().await.response.unwrap() {
                Response::Event(event) => events.push(event),
                Response::Progress(progress) if progress.state() == SubscriptionState::Live => {
                    return events;
                }
                Response::Progress(_) => {}
                Response::Gap(_) => panic!("nothing was removed"),
            }
        }
    }

    async fn event(&mut self) -> crate::proto::Event {
        loop {
            if let Response::Event(event) = self.next().await.response.unwrap() {
                return event;
            }
        }
    }
}

fn of_agents(agents: &[&str]) -> EventFilter {
    EventFilter {
        agent_ids: agents.iter().map(ToString::to_string).collect(),
        ..EventFilter::default()
    }
}

fn agents(events: &[crate::proto::Event]) -> Vec<&str> {
    events.iter().map(|event| &*event.agent_id).collect()
}

fn reason(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info();
    (
        status.code(),
        info.map(|info| info.reason).unwrap_or_default(),
    )
}

#[tokio::test]
async fn a_method_without_a_grant_is_an_error() {
    let rig = Rig::new();
    let pool = DescriptorPool::decode(&descriptor_set().unwrap()[..]).unwrap();
    let mut asked = 0;
    for service in pool.services() {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            if access::is_open(&path) {
                continue;
            }
            // One empty message.
            let request = Request::post(&path)
                .header("content-type", "application/grpc")
                .body(Body::from(vec![0; 5]))
                .unwrap();
            let response = rig.services.clone().oneshot(request).await.unwrap();
            let status = Status::from_header_map(response.headers());
            let status = status.unwrap_or_else(|| panic!("{path} answers"));
            assert_eq!(
                reason(&status),
                (Code::Internal, "INTERNAL".into()),
                "{path}"
            );
            asked += 1;
        }
    }
    assert!(asked >= 6, "{asked}");
}

#[tokio::test]
async fn a_list_holds_what_the_scope_allows() {
    let rig = Rig::new();
    for (id, agent) in (1..).zip(["a", "b", "c", "a", "b"]) {
        rig.append(transfer(id, agent, &Secrets::of("word"))).await;
    }
    let check = async |may: &[&str], asked: &[&str], expected: &[&str]| {
        for newest_first in [false, true] {
            let mut request = ListEventsRequest {
                filter: Some(of_agents(asked)),
                page_size: 1,
                newest_first,
                ..ListEventsRequest::default()
            };
            let mut caller = rig.caller(&may_read(may, Redaction::default()));
            let mut listed = Vec::new();
            loop {
                let page = caller.list(request.clone()).await.unwrap();
                listed.extend(page.events);
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
            if newest_first {
                listed.reverse();
            }
            assert_eq!(agents(&listed), expected, "{asked:?} within {may:?}");
        }
    };
    check(&[], &[], &["a", "b", "c", "a", "b"]).await;
    check(&["a", "c"], &[], &["a", "c", "a"]).await;
    check(&["a", "c"], &["a", "b"], &["a", "a"]).await;
    check(&["a", "c"], &["b"], &[]).await;
    check(&["none"], &[], &[]).await;
}

#[tokio::test]
async fn a_page_token_is_refused_in_another_scope() {
    let rig = Rig::new();
    for id in 1..4 {
        rig.append(transfer(id, "a", &Secrets::of("word"))).await;
    }
    let caller = |agents: &[&str]| rig.caller(&may_read(agents, Redaction::default()));
    let request = ListEventsRequest {
        page_size: 1,
        ..ListEventsRequest::default()
    };
    let first = caller(&["a"]).list(request.clone()).await.unwrap();
    let request = ListEventsRequest {
        page_token: first.next_page_token,
        ..request
    };
    for other in [&["a", "b"][..], &["b"], &[]] {
        let refused = caller(other).list(request.clone()).await.unwrap_err();
        let expected = (Code::InvalidArgument, "INVALID_REQUEST".into());
        assert_eq!(reason(&refused), expected, "{other:?}");
    }
    let second = caller(&["a"]).list(request).await.unwrap();
    assert_eq!(second.events[0].sequence, first.events[0].sequence + 1);
}

#[tokio::test]
async fn an_event_outside_the_scope_is_not_found() {
    let rig = Rig::new();
    let inside = rig.append(transfer(1, "a", &Secrets::of("word"))).await;
    let outside = rig.append(transfer(2, "b", &Secrets::of("word"))).await;
    let mut caller = rig.caller(&may_read(&["a"], Redaction::default()));
    assert_eq!(caller.get(inside).await.unwrap().agent_id, "a");
    let refused = caller.get(outside).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::NotFound, "EVENT_NOT_FOUND".into()));
    // An event that the caller may not see gives the same answer as one that does not exist.
    let unknown = caller.get(EventId([9; 16])).await.unwrap_err();
    let without_id = |status: &Status, id: EventId| status.message().replace(&id.to_string(), "");
    assert_eq!(
        without_id(&refused, outside),
        without_id(&unknown, EventId([9; 16]))
    );
}

#[tokio::test]
async fn a_stream_holds_what_the_scope_allows_from_the_log_and_live() {
    let rig = Rig::new();
    let secrets = Secrets::of("word");
    for (id, agent) in (1..).zip(["a", "b", "c", "a"]) {
        rig.append(transfer(id, agent, &secrets)).await;
    }
    let grant = may_read(&["a", "c"], Redaction::default());
    let mut caller = rig.caller(&grant);
    let mut all = caller
        .subscribe(EventFilter::default(), EventView::Standard)
        .await;
    let mut some = caller
        .subscribe(of_agents(&["a", "b"]), EventView::Standard)
        .await;
    let mut none = caller
        .subscribe(of_agents(&["b"]), EventView::Standard)
        .await;
    assert_eq!(agents(&all.caught_up().await), ["a", "c", "a"]);
    assert_eq!(agents(&some.caught_up().await), ["a", "a"]);
    assert!(none.caught_up().await.is_empty());

    for (id, agent) in (5..).zip(["b", "c", "b", "a"]) {
        rig.append(transfer(id, agent, &secrets)).await;
    }
    assert_eq!(agents(&[all.event().await, all.event().await]), ["c", "a"]);
    assert_eq!(some.event().await.sequence, 8);
    // `drain` would wait for these two, which nobody reads any more.
    drop((all, some));
    let (_, end) = tokio::join!(rig.fanout.drain(), none.0.message());
    assert_eq!(
        reason(&end.unwrap_err()),
        (Code::Unavailable, "DRAINING".into())
    );
}

#[tokio::test]
async fn a_redacted_value_is_in_no_answer() {
    let rig = Rig::new();
    let (before, live) = (Secrets::of("before"), Secrets::of("lively"));
    let id = rig.append(transfer(1, "a", &before)).await;
    let redaction = Redaction {
        caller_phone_number: true,
        transcript: true,
        ..Redaction::default()
    };
    let hidden = |secrets: &Secrets| {
        [
            secrets.caller_phone_number.clone(),
            secrets.transcript.clone(),
        ]
    };
    let check = |answer: &[u8], secrets: &Secrets, what: &str| {
        for secret in hidden(secrets) {
            assert!(!holds(answer, &secret), "{secret} in {what}");
        }
        assert!(holds(answer, &secrets.metadata), "{what} is not empty");
    };
    let mut caller = rig.caller(&may_read(&[], redaction));
    let mut trusted = rig.caller(&may_read(&[], Redaction::default()));

    check(
        &caller.get(id).await.unwrap().encode_to_vec(),
        &before,
        "a look-up",
    );
    let mut streams = Vec::new();
    for view in [EventView::Basic, EventView::Standard, EventView::Raw] {
        let request = ListEventsRequest {
            view: view.into(),
            ..ListEventsRequest::default()
        };
        let listed = caller.list(request).await.unwrap();
        check(&listed.encode_to_vec(), &before, "a list");
        let mut stream = caller.subscribe(EventFilter::default(), view).await;
        let caught_up = stream.caught_up().await;
        check(
            &caught_up[0].encode_to_vec(),
            &before,
            "a stream from the log",
        );
        // A trusted caller, with the same view and filter.
        let mut whole = trusted.subscribe(EventFilter::default(), view).await;
        whole.caught_up().await;
        streams.push((view, stream, whole));
    }
    rig.append(transfer(2, "a", &live)).await;
    for (view, mut stream, mut whole) in streams {
        check(
            &stream.event().await.encode_to_vec(),
            &live,
            "a live stream",
        );
        let whole = whole.event().await.encode_to_vec();
        let [number, transcript] = hidden(&live);
        assert!(holds(&whole, &number), "nothing is hidden from others");
        assert_eq!(holds(&whole, &transcript), view != EventView::Basic);
    }
}
