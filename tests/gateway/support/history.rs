//! What was posted and answered, and what each subscriber received, in order, over reconnects.
//!
//! Load and faults write a history; [`super::promises`] judges it when all is over.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;
use tonic::transport::Channel;
use verbex_gateway::{
    inside::log::cursor::Cursor,
    proto::{
        Event, EventFilter, Progress, SubscribeRequest, event_service_client::EventServiceClient,
        subscribe_request::Start, subscribe_response::Response,
    },
};

use super::{
    bodies, eventually,
    process::Gateway,
    webhook::{Answer, Http, Stored},
};

/// Everything that can be judged.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) posts: Vec<Post>,
    pub(crate) subscribers: Vec<Subscriber>,
}

/// One request of the sender.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) body: String,
    /// What a subscriber should see of it, as far as filters look.
    pub(crate) event: Event,
    /// None if there was no 200: then it may be in the log or not.
    pub(crate) answer: Option<Stored>,
}

/// One subscriber over all its connections.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    pub(crate) filter: EventFilter,
    pub(crate) progress_interval: Duration,
    pub(crate) connections: Vec<Connection>,
}

/// One stream from its first message to its last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// The cursor that it began with, if it was a resume.
    pub(crate) after: Option<String>,
    pub(crate) received: Vec<Received>,
}

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Since the subscriber began.
    pub(crate) at: Duration,
    pub(crate) cursor: String,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Event(Box<Event>),
    Progress(Progress),
    Gap,
}

impl Received {
    /// The sequence that its cursor covers.
    pub(crate) fn covered(&self) -> u64 {
        covered(&self.cursor)
    }
}

/// The sequence that a cursor covers. To clients cursors are opaque; to judges they are not.
pub(crate) fn covered(cursor: &str) -> u64 {
    Cursor::decode(cursor).expect("a cursor").sequence.0
}

impl Subscriber {
    pub(crate) fn received(&self) -> impl Iterator<Item = &Received> {
        self.connections.iter().flat_map(|c| &c.received)
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.received().filter_map(|received| match &received.what {
            What::Event(event) => Some(&**event),
            _ => None,
        })
    }

    fn last_cursor(&self) -> Option<&str> {
        self.received().last().map(|last| last.cursor.as_str())
    }
}

/// A subscriber that notes all it sees, and resumes with the last cursor whenever its stream ends,
/// as the contract says.
pub(crate) struct Recorder {
    seen: Arc<Mutex<Subscriber>>,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Subscribes now, and goes on until [`Recorder::until`].
    pub(crate) fn start(grpc: SocketAddr, request: SubscribeRequest) -> Self {
        let interval = request.progress_interval;
        let interval = interval.and_then(|interval| Duration::try_from(interval).ok());
        let seen = Arc::new(Mutex::new(Subscriber {
            filter: request.filter.clone().unwrap_or_default(),
            progress_interval: interval.unwrap_or(Duration::from_secs(30)),
            connections: Vec::new(),
        }));
        let task = tokio::spawn(record(grpc, request, seen.clone()));
        Self { seen, task }
    }

    /// Waits for its first message: what is posted from now on is for it.
    pub(crate) async fn subscribed(&self) {
        let first = || self.seen.lock().unwrap().received().next().map(|_| ());
        eventually("the first message", first).await;
    }

    /// All it saw, once its cursor covers a sequence.
    pub(crate) async fn until(self, sequence: u64) -> Subscriber {
        let arrived = || {
            let seen = self.seen.lock().unwrap();
            let last = seen.received().last()?.covered();
            (last >= sequence).then_some(())
        };
        eventually("the subscriber gets everything", arrived).await;
        self.task.abort();
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn record(grpc: SocketAddr, request: SubscribeRequest, seen: Arc<Mutex<Subscriber>>) {
    const PAUSE: Duration = Duration::from_millis(20);
    let began = Instant::now();
    let endpoint = Channel::from_shared(format!("http://{grpc}")).expect("a URL");
    loop {
        let after = seen.lock().unwrap().last_cursor().map(str::to_owned);
        let start = match &after {
            Some(cursor) => Some(Start::AfterCursor(cursor.clone())),
            None => request.start.clone(),
        };
        let request = SubscribeRequest {
            start,
            ..request.clone()
        };
        let subscribed = async {
            let channel = endpoint.connect().await.ok()?;
            EventServiceClient::new(channel)
                .subscribe(request)
                .await
                .ok()
        };
        if let Some(stream) = subscribed.await {
            let mut stream = stream.into_inner();
            seen.lock().unwrap().connections.push(Connection {
                after,
                received: Vec::new(),
            });
            while let Ok(Some(message)) = stream.message().await {
                let what = match message.response {
                    Some(Response::Event(event)) => What::Event(Box::new(event)),
                    Some(Response::Progress(progress)) => What::Progress(progress),
                    Some(Response::Gap(_)) | None => What::Gap,
                };
                let received = Received {
                    at: began.elapsed(),
                    cursor: message.cursor,
                    what,
                };
                let mut seen = seen.lock().unwrap();
                seen.connections.last_mut().unwrap().received.push(received);
            }
        }
        // Nobody should hammer a gateway that is away.
        tokio::time::sleep(PAUSE).await;
    }
}

/// A sender that posts one body after the other, once each, whatever the answers: Verbex documents
/// no retry.
pub(crate) struct Load {
    posts: Arc<Mutex<Vec<Post>>>,
    task: JoinHandle<()>,
}

impl Load {
    /// Begins to post.
    pub(crate) fn start(
        gateway: &Gateway,
        bodies: impl IntoIterator<Item = String, IntoIter: Send + 'static>,
    ) -> Self {
        let posts = Arc::<Mutex<Vec<Post>>>::default();
        let client = gateway.http(Http::Two);
        let url = gateway.webhook_url.clone();
        let (bodies, noted) = (bodies.into_iter(), posts.clone());
        let task = tokio::spawn(async move {
            for body in bodies {
                let post = post(&client, &url, body).await;
                let answered = post.answer.is_some();
                noted.lock().unwrap().push(post);
                if !answered {
                    // The gateway is away: let it come back before everything is spent.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        });
        Self { posts, task }
    }

    /// Waits until so many were answered with 200.
    pub(crate) async fn stored(&self, count: usize) {
        let stored = || {
            let posts = self.posts.lock().unwrap();
            let stored = posts.iter().filter(|post| post.answer.is_some()).count();
            (stored >= count).then_some(())
        };
        eventually("enough is stored", stored).await;
    }

    /// All posts, once the last is answered or not.
    pub(crate) async fn finished(self) -> Vec<Post> {
        self.task.await.expect("the load ends");
        self.posts.lock().unwrap().clone()
    }
}

async fn post(client: &reqwest::Client, url: &str, body: String) -> Post {
    let request = client
        .post(url)
        .header("content-type", "application/json")
        .body(body.clone());
    let answer = match request.send().await {
        Ok(response) if response.status() == 200 => {
            // A connection may break within the answer, too.
            let (headers, text) = (response.headers().clone(), response.text().await);
            text.ok().map(|text| {
                let answer = Answer {
                    status: 200,
                    headers,
                    text,
                };
                answer.stored()
            })
        }
        _ => None,
    };
    Post {
        event: bodies::expected(&body),
        body,
        answer,
    }
}

/// The last sequence that was answered.
pub(crate) fn last_stored<'a>(posts: impl IntoIterator<Item = &'a Post>) -> u64 {
    let answers = posts.into_iter().filter_map(|post| post.answer.as_ref());
    let last = answers.map(|answer| answer.sequence).max();
    last.expect("something was stored")
}
