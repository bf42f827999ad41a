//! The fan-out over a real log: each subscriber gets what it wants once and in order, and every
//! progress is true.

mod crowd;
mod erasing;
mod memory;
mod retention;

use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::join_all;
use prometheus_client::registry::Registry as Metricsbook;
use proptest::prelude::*;
use prost::Message;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::{
    event::{EventId, NewEvent, Raw},
    filter::tests::selector,
    log::{self, Appender, Followers, Log, cursor::Cursor},
    proto::{
        self, EventFilter, SubscribeResponse, SubscriptionState, subscribe_response::Response,
    },
    view::{Redaction, View},
};

/// Small enough that nearly every burst overflows it.
const QUEUE_BYTES: usize = 400;
const INTERVAL: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    fanout: Fanout,
    appender: Appender,
    eraser: log::Eraser,
    appended: Vec<(u64, &'static str)>,
    next_id: u8,
    dir: TempDir,
}

impl Rig {
    fn new(config: Config) -> Self {
        Self::following(config, |log| log.followers.clone())
    }

    fn following(config: Config, followers: impl FnOnce(&Log) -> Followers) -> Self {
        let dir = TempDir::new().unwrap();
        let mut metrics = Metricsbook::default();
        let log_config = log::Config {
            data_dir: dir.path().to_owned(),
            consent: Default::default(),
            limits: log::Limits::NONE,
        };
        let log = log::open(&log_config, log::Metrics::register(&mut metrics)).unwrap();
        let followers = followers(&log);
        let (fanout, router) = Fanout::new(
            config,
            log.identity.epoch,
            log.reader,
            followers,
            Metrics::register(&mut metrics),
        );
        tokio::spawn(router);
        Self {
            fanout,
            appender: log.appender,
            eraser: log.eraser,
            appended: Vec::new(),
            next_id: 0,
            dir,
        }
    }

    /// Appends one event of each of these agents, all at the same time.
    async fn append(&mut self, agents: &[&'static str]) {
        let appends = agents.iter().map(|&agent| {
            self.next_id += 1;
            let new = new_event(self.next_id, agent);
            let appender = self.appender.clone();
            async move { (appender.append(new).await.unwrap().sequence.0, agent) }
        });
        let mut placed = join_all(appends).await;
        placed.sort_unstable();
        self.appended.extend(placed);
    }

    async fn subscribe(
        &self,
        agent: Option<&'static str>,
        start: Start,
    ) -> Result<Client, SubscribeError> {
        self.subscribe_with(agent, start, ExpiredAction::Fail).await
    }

    async fn subscribe_with(
        &self,
        agent: Option<&'static str>,
        start: Start,
        expired: ExpiredAction,
    ) -> Result<Client, SubscribeError> {
        let filter = EventFilter {
            agent_ids: agent.map(str::to_owned).into_iter().collect(),
            ..EventFilter::default()
        };
        let subscription = self
            .fanout
            .subscribe(Request {
                filter: Arc::default(),
                selector: selector(&filter, &EventFilter::default()),
                view: View::Standard,
                redaction: Redaction::default(),
                encoding: Encoding::Identity,
                start,
                progress_interval: INTERVAL,
                expired,
                name: "test".into(),
                peer: String::new(),
            })
            .await?;
        Ok(Client {
            subscription,
            unread: Bytes::new(),
        })
    }

    /// What a subscriber to this agent gets after one place and up to another.
    fn wanted(&self, agent: Option<&str>, after: u64, through: u64) -> Vec<u64> {
        let wants = |&&(sequence, of): &&(u64, &str)| {
            sequence > after && sequence <= through && agent.is_none_or(|agent| agent == of)
        };
        self.appended
            .iter()
            .filter(wants)
            .map(|&(sequence, _)| sequence)
            .collect()
    }

    fn last(&self) -> u64 {
        self.appended.last().map_or(0, |&(sequence, _)| sequence)
    }
}

fn new_event(id: u8, agent: &str) -> NewEvent {
    NewEvent {
        id: EventId([id; 16]),
        event: proto::Event {
            agent_id: agent.into(),
            ..proto::Event::default()
        },
        event_time_given: false,
        raw: Raw {
            json: Bytes::from_static(b"{}"),
            headers: Vec::new(),
        },
    }
}

struct Client {
    subscription: Subscription,
    unread: Bytes,
}

impl Client {
    async fn next(&mut self) -> Result<SubscribeResponse, EndReason> {
        if self.unread.is_empty() {
            let next = timeout(PATIENCE, self.subscription.next()).await;
            self.unread = next.expect("silence: a progress always comes")?;
        }
        assert_eq!(self.unread.get_u8(), 0, "not compressed");
        let length = self.unread.get_u32() as usize;
        Ok(SubscribeResponse::decode(self.unread.split_to(length)).unwrap())
    }
}

/// What one subscriber has seen over all its streams.
struct Story {
    agent: Option<&'static str>,
    client: Client,
    /// Where it began, and the last cursor that it got.
    began: Option<u64>,
    cursor: Option<Cursor>,
    events: Vec<u64>,
    state: SubscriptionState,
}

impl Story {
    /// Reads one message and compares it with what was appended.
    async fn read(&mut self, rig: &Rig) {
        let message = self.client.next().await.expect("the stream goes on");
        let cursor = Cursor::decode(&message.cursor).unwrap();
        let at = cursor.sequence.0;
        match message.response.unwrap() {
            Response::Event(event) => {
                assert_eq!(event.sequence, at);
                assert!(self.cursor.is_some(), "the first message is a progress");
                self.events.push(event.sequence);
            }
            Response::Progress(progress) => {
                self.state = progress.state();
                self.began.get_or_insert(at);
            }
            Response::Gap(_) => panic!("nothing was removed"),
        }
        let before = self.cursor.map_or(0, |cursor| cursor.sequence.0);
        assert!(at >= before, "cursors never go back: {before} then {at}");
        let wanted = rig.wanted(self.agent, self.began.unwrap(), at);
        assert_eq!(
            self.events, wanted,
            "a cursor covers every match up to it, once and in order, and none beyond"
        );
        self.cursor = Some(cursor);
    }

    async fn resume(&mut self, rig: &Rig) {
        if let Some(cursor) = self.cursor {
            self.client = rig
                .subscribe(self.agent, Start::Past(Past::After(cursor)))
                .await
                .unwrap();
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Append(Vec<&'static str>),
    Subscribe(Option<&'static str>, bool),
    Read(usize, usize),
    Resume(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let agent = prop::sample::select(vec![None, Some("a"), Some("b"), Some("nobody")]);
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..20)
            .prop_map(Act::Append),
        2 => (agent, any::<bool>()).prop_map(|(agent, earliest)| Act::Subscribe(agent, earliest)),
        4 => (any::<usize>(), 1usize..6).prop_map(|(who, count)| Act::Read(who, count)),
        1 => any::<usize>().prop_map(Act::Resume),
    ]
}

async fn play(acts: Vec<Act>) {
    let config = Config {
        subscribers_max: 100,
        queue_bytes_max: QUEUE_BYTES,
        queues_bytes_max: usize::MAX,
    };
    let mut rig = Rig::new(config);
    let mut stories: Vec<Story> = Vec::new();
    for act in acts {
        let count = stories.len().max(1);
        match act {
            // Ids are one byte.
            Act::Append(agents) if rig.appended.len() + agents.len() > 250 => {}
            Act::Append(agents) => rig.append(&agents).await,
            Act::Subscribe(agent, earliest) => {
                let start = if earliest {
                    Start::Past(Past::Earliest)
                } else {
                    Start::Latest
                };
                let client = rig.subscribe(agent, start).await.unwrap();
                stories.push(Story {
                    agent,
                    client,
                    began: None,
                    cursor: None,
                    events: Vec::new(),
                    state: SubscriptionState::Unspecified,
                });
            }
            Act::Read(who, messages) => {
                if let Some(story) = stories.get_mut(who % count) {
                    for _ in 0..messages {
                        story.read(&rig).await;
                    }
                }
            }
            Act::Resume(who) => {
                if let Some(story) = stories.get_mut(who % count) {
                    story.resume(&rig).await;
                }
            }
        }
    }
    for story in &mut stories {
        while story.state != SubscriptionState::Live
            || story
                .cursor
                .is_none_or(|cursor| cursor.sequence.0 < rig.last())
        {
            story.read(&rig).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn each_match_comes_once_in_order_and_progress_never_passes_one(
        acts in prop::collection::vec(act(), 0..40),
    ) {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(play(acts));
    }
}

fn roomy() -> Config {
    Config {
        subscribers_max: 2,
        queue_bytes_max: 1024 * 1024,
        queues_bytes_max: usize::MAX,
    }
}

#[tokio::test]
async fn a_new_subscriber_is_live_at_once_and_gets_only_what_comes_then() {
    let mut rig = Rig::new(roomy());
    rig.append(&["a"]).await;
    let mut client = rig.subscribe(None, Start::Latest).await.unwrap();
    let first = client.next().await.unwrap();
    let Some(Response::Progress(progress)) = first.response else {
        panic!("{first:?}")
    };
    assert_eq!(progress.state(), SubscriptionState::Live);
    assert!(progress.position_time.is_some());
    rig.append(&["b"]).await;
    // The append may take longer than the interval of progress.
    let event = loop {
        match client.next().await.unwrap().response {
            Some(Response::Event(event)) => break event,
            Some(Response::Progress(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((event.sequence, event.agent_id.as_str()), (2, "b"));
}

#[tokio::test]
async fn whoever_resumes_where_the_log_ends_is_never_told_to_be_catching_up() {
    let mut rig = Rig::new(roomy());
    rig.append(&["a", "b"]).await;
    let mut client = rig.subscribe(None, Start::Latest).await.unwrap();
    let cursor = Cursor::decode(&client.next().await.unwrap().cursor).unwrap();
    let mut resumed = rig
        .subscribe(None, Start::Past(Past::After(cursor)))
        .await
        .unwrap();
    for _ in 0..3 {
        let message = resumed.next().await.unwrap();
        let Some(Response::Progress(progress)) = message.response else {
            panic!("{message:?}")
        };
        assert_eq!(progress.state(), SubscriptionState::Live);
    }
}

#[tokio::test]
async fn a_full_queue_is_told_once_and_the_log_serves_the_rest() {
    let mut rig = Rig::new(Config {
        queue_bytes_max: QUEUE_BYTES,
        ..roomy()
    });
    let mut client = rig.subscribe(None, Start::Latest).await.unwrap();
    client.next().await.unwrap();
    for _ in 0..10 {
        rig.append(&["a"; 10]).await;
    }
    let mut states = Vec::new();
    let mut events = Vec::new();
    while events.len() < 100 || states.last() != Some(&SubscriptionState::Live) {
        match client.next().await.unwrap().response.unwrap() {
            Response::Event(event) => events.push(event.sequence),
            Response::Progress(progress) => states.push(progress.state()),
            Response::Gap(gap) => panic!("{gap:?}"),
        }
    }
    assert_eq!(events, (1..=100).collect::<Vec<u64>>());
    states.dedup();
    assert_eq!(
        states,
        [SubscriptionState::CatchingUp, SubscriptionState::Live]
    );
}

#[tokio::test]
async fn one_subscriber_too_many_is_refused_until_another_leaves() {
    let rig = Rig::new(roomy());
    let first = rig.subscribe(None, Start::Latest).await.unwrap();
    let _second = rig.subscribe(None, Start::Latest).await.unwrap();
    let refused = rig.subscribe(None, Start::Latest).await.err();
    assert!(
        matches!(refused, Some(SubscribeError::Limit { limit: 2 })),
        "{refused:?}"
    );
    drop(first);
    assert!(rig.subscribe(None, Start::Latest).await.is_ok());
}

#[tokio::test]
async fn a_drain_sends_what_is_durable_and_then_ends_every_stream() {
    let mut rig = Rig::new(roomy());
    let mut client = rig.subscribe(None, Start::Latest).await.unwrap();
    client.next().await.unwrap();
    rig.append(&["a", "b"]).await;
    let mut events = 0;
    let reading = async {
        loop {
            match client.next().await {
                Ok(message) => {
                    events += usize::from(matches!(message.response, Some(Response::Event(_))))
                }
                Err(end) => break end,
            }
        }
    };
    let fanout = rig.fanout.clone();
    let draining = tokio::spawn(async move { fanout.drain().await });
    let end = reading.await;
    drop(client);
    draining.await.unwrap();
    assert_eq!((events, end), (2, EndReason::Draining));
    let refused = rig.subscribe(None, Start::Latest).await.err();
    assert!(
        matches!(refused, Some(SubscribeError::Draining)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_operator_sees_who_is_there_and_can_end_it() {
    let mut rig = Rig::new(roomy());
    rig.append(&["a"]).await;
    let mut client = rig
        .subscribe(Some("nobody"), Start::Past(Past::Earliest))
        .await
        .unwrap();
    while rig.fanout.subscribers(0, 10).subscribers[0].state != SubscriptionState::Live {
        client.next().await.unwrap();
    }
    let page = rig.fanout.subscribers(0, 10);
    assert_eq!(page.next_after, None);
    let info = &page.subscribers[0];
    assert_eq!(
        (info.name.as_str(), info.position.0, info.delivered),
        ("test", 1, 0)
    );
    assert_eq!(
        rig.fanout.disconnect("0000000000000001"),
        Err(NoSuchSubscriber)
    );
    rig.fanout.disconnect(&info.id).unwrap();
    let end = loop {
        if let Err(end) = client.next().await {
            break end;
        }
    };
    assert_eq!(end, EndReason::Disconnected);
    drop(client);
    assert_eq!(rig.fanout.subscriber_count(), 0);
}

#[tokio::test]
async fn a_cursor_of_another_log_is_told_apart() {
    let mut rig = Rig::new(roomy());
    rig.append(&["a"]).await;
    let mut other = Rig::new(roomy());
    other.append(&["b"]).await;
    let foreign = Cursor::decode(
        &other
            .subscribe(None, Start::Latest)
            .await
            .unwrap()
            .next()
            .await
            .unwrap()
            .cursor,
    )
    .unwrap();
    let refused = rig
        .subscribe(None, Start::Past(Past::After(foreign)))
        .await
        .err();
    assert!(
        matches!(refused, Some(SubscribeError::ForeignLog)),
        "{refused:?}"
    );
}
