//! The stream that goes on.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use futures_util::{Stream, stream};
use tonic::Streaming;

use super::{CursorStore, Error, Gateway, backoff};
use crate::proto::{
    Event, EventFilter, EventView, ExpiredCursorAction, Gap, Progress, StartPosition,
    SubscribeRequest, SubscribeResponse, subscribe_request, subscribe_response::Response,
};

/// For the first message of a connection, which a gateway sends at once.
const HELLO: Duration = Duration::from_secs(10);

/// What to follow, and from where.
///
/// ```
/// use verbex_gateway::client::{Start, Subscription};
/// use verbex_gateway::proto::{EventFilter, EventType};
///
/// let failed_transfers = Subscription {
///     filter: EventFilter {
///         event_types: vec![EventType::CallTransferred.into()],
///         statuses: vec!["failed".into()],
///         ..EventFilter::default()
///     },
///     ..Subscription::new(Start::Earliest)
/// };
/// ```
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Which events. Empty: all.
    pub filter: EventFilter,
    /// Where to begin.
    pub start: Start,
    /// How much of each event.
    pub view: EventView,
    /// After how long without another message the gateway sends a `Progress`: 1 s to 5 min. Twice
    /// that without one is a dead connection.
    pub progress_interval: Duration,
    /// A name to show to operators, at most 256 bytes.
    pub name: String,
    /// What to do when retention overtakes the cursor: end with [`Error::CursorExpired`], or get an
    /// [`Item::Gap`] and go on.
    pub expired_cursor_action: ExpiredCursorAction,
}

impl Subscription {
    /// Everything from there on. Where a subscription begins has no default: it decides what a
    /// restart of the program misses.
    #[must_use]
    pub fn new(start: Start) -> Self {
        Self {
            filter: EventFilter::default(),
            start,
            view: EventView::Standard,
            progress_interval: Duration::from_secs(30),
            name: String::new(),
            expired_cursor_action: ExpiredCursorAction::Fail,
        }
    }
}

/// Where a subscription begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what becomes durable after the first message.
    ///
    /// That message is an [`Item::Progress`] and says where it is. A connection that fails before
    /// it leaves nothing to go on from, so the next one begins at what is the latest then. To miss
    /// nothing since a moment that you know, begin [`At`](Self::At) it.
    Latest,
    /// With the oldest event in the log.
    Earliest,
    /// Right after this cursor.
    After(String),
    /// With the first event received at or after this time.
    At(SystemTime),
}

impl Start {
    /// Right after the cursor in the store, or at `first_time` if it has none yet.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn resume(store: &(impl CursorStore + ?Sized), first_time: Self) -> io::Result<Self> {
        Ok(store.load()?.map_or(first_time, Self::After))
    }
}

/// What a subscriber gets.
#[derive(Debug)]
#[non_exhaustive]
pub enum Item {
    /// An event.
    Event {
        /// It.
        event: Box<Event>,
        /// Where to resume once it is worked off.
        cursor: String,
    },
    /// A sign of life, and how far the subscription has come.
    Progress {
        /// It.
        progress: Progress,
        /// Where to resume.
        cursor: String,
    },
    /// Events before here are gone.
    Gap {
        /// It.
        gap: Gap,
        /// Where to resume.
        cursor: String,
    },
    /// The connection, or the attempt to make it, has failed. The stream goes on by itself: nothing
    /// to do but to tell.
    Interrupted {
        /// Why.
        error: Error,
        /// How long it waits before the next attempt.
        retry_in: Duration,
    },
}

impl Item {
    /// Where to resume once this item is worked off; none if it does not move the subscription.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        match self {
            Self::Event { cursor, .. }
            | Self::Progress { cursor, .. }
            | Self::Gap { cursor, .. } => Some(cursor),
            Self::Interrupted { .. } => None,
        }
    }
}

/// A stream of [`Item`]s that ends only with an error that does not pass by waiting. Dropping it
/// ends the subscription.
///
/// It holds one message at the most, beside the 2 MiB that HTTP/2 lets be under way: a program that
/// is slow to ask holds back its own stream, and loses nothing.
pub struct Subscriber(Pin<Box<dyn Stream<Item = Result<Item, Error>> + Send>>);

impl Subscriber {
    pub(super) fn new(gateway: Gateway, subscription: Subscription) -> Self {
        let following = Following {
            gateway,
            subscription,
            messages: None,
            failures: 0,
            pause: Duration::ZERO,
            ended: false,
        };
        Self(Box::pin(stream::unfold(
            following,
            |mut following| async move {
                let item = following.next().await?;
                Some((item, following))
            },
        )))
    }

    /// The next item; none once the stream has ended. A call that is dropped before it is done, as
    /// in `select!`, loses nothing.
    ///
    /// # Errors
    /// What ends the stream.
    pub async fn try_next(&mut self) -> Result<Option<Item>, Error> {
        poll_fn(|context| self.0.as_mut().poll_next(context))
            .await
            .transpose()
    }
}

impl Stream for Subscriber {
    type Item = Result<Item, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").finish_non_exhaustive()
    }
}

struct Following {
    gateway: Gateway,
    /// `start` moves with the last cursor handed out.
    subscription: Subscription,
    messages: Option<Messages>,
    /// In a row, with nothing achieved between them.
    failures: u32,
    /// To wait before the next attempt.
    pause: Duration,
    ended: bool,
}

/// The messages of one connection.
struct Messages {
    stream: Streaming<SubscribeResponse>,
    since: Instant,
    brought_event: bool,
}

impl Following {
    async fn next(&mut self) -> Option<Result<Item, Error>> {
        if self.ended {
            return None;
        }
        Some(match self.receive().await {
            Ok(item) => {
                if let Some(cursor) = item.cursor() {
                    self.subscription.start = Start::After(cursor.to_owned());
                }
                Ok(item)
            }
            Err(error) if error.may_pass() => Ok(self.interrupted(error)),
            Err(error) => {
                self.messages = None;
                self.ended = true;
                Err(error)
            }
        })
    }

    async fn receive(&mut self) -> Result<Item, Error> {
        let silence_max = self.subscription.progress_interval.saturating_mul(2);
        let hello_max = silence_max.max(HELLO);
        let address = self.gateway.address().to_owned();
        let silent = |after| Error::Silent {
            address: address.clone(),
            after,
        };
        loop {
            let messages = match &mut self.messages {
                Some(messages) => messages,
                None => {
                    tokio::time::sleep(std::mem::take(&mut self.pause)).await;
                    let mut connection = self.gateway.connect().await?;
                    let stream = connection.subscribe(self.subscription.request());
                    self.messages.insert(Messages {
                        stream: tokio::time::timeout(hello_max, stream)
                            .await
                            .map_err(|_| silent(hello_max))??,
                        since: Instant::now(),
                        brought_event: false,
                    })
                }
            };
            let message = tokio::time::timeout(silence_max, messages.stream.message())
                .await
                .map_err(|_| silent(silence_max))?
                .map_err(|status| Error::from_status(&address, &status))?
                .ok_or_else(|| Error::Lost {
                    address: address.clone(),
                    why: "it ended the stream".to_owned(),
                })?;
            let cursor = message.cursor;
            match message.response {
                Some(Response::Event(event)) => {
                    messages.brought_event = true;
                    let event = Box::new(event);
                    return Ok(Item::Event { event, cursor });
                }
                Some(Response::Progress(progress)) => {
                    return Ok(Item::Progress { progress, cursor });
                }
                Some(Response::Gap(gap)) => return Ok(Item::Gap { gap, cursor }),
                // Of a kind that a later gateway sends: only its cursor counts.
                None => self.subscription.start = Start::After(cursor),
            }
        }
    }

    fn interrupted(&mut self, error: Error) -> Item {
        // A connection that brought an event, or lasted, was worth it. One that only said hello was
        // not: a gateway that fails on the next event again and again must not be asked for it
        // without a pause.
        let worthwhile = self.messages.take().is_some_and(|messages| {
            messages.brought_event || messages.since.elapsed() >= backoff::LONGEST
        });
        if worthwhile {
            self.failures = 0;
        }
        self.pause = error.retry_in(self.failures);
        self.failures = self.failures.saturating_add(1);
        Item::Interrupted {
            error,
            retry_in: self.pause,
        }
    }
}

impl Subscription {
    fn request(&self) -> SubscribeRequest {
        use subscribe_request::Start as Wire;
        let start = match &self.start {
            Start::Latest => Wire::StartPosition(StartPosition::Latest.into()),
            Start::Earliest => Wire::StartPosition(StartPosition::Earliest.into()),
            Start::After(cursor) => Wire::AfterCursor(cursor.clone()),
            Start::At(time) => Wire::StartTime((*time).into()),
        };
        SubscribeRequest {
            filter: Some(self.filter.clone()),
            start: Some(start),
            view: self.view.into(),
            // One that is too long for protobuf is too long for the gateway too, which says so.
            progress_interval: Some(self.progress_interval.try_into().unwrap_or(
                prost_types::Duration {
                    seconds: i64::MAX,
                    nanos: 0,
                },
            )),
            subscriber_name: self.name.clone(),
            expired_cursor_action: self.expired_cursor_action.into(),
        }
    }
}
