//! The stream that reconnects and resumes.

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

/// The time for the first message of a connection, which a gateway sends at once.
const HELLO: Duration = Duration::from_secs(10);

/// Which events to get, and where to begin.
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
    /// Which events to get. An empty filter matches all.
    pub filter: EventFilter,
    /// Where the subscription begins.
    pub start: Start,
    /// How much of each event to get.
    pub view: EventView,
    /// The gateway sends a `Progress` after this time without another message: 1 s to 5 min. After
    /// twice this time without a message the client takes the connection for dead.
    pub progress_interval: Duration,
    /// A name that operators see, at most 256 bytes.
    pub name: String,
    /// What to do when retention has removed the next event: end with [`Error::CursorExpired`], or
    /// get an [`Item::Gap`] and continue.
    pub expired_cursor_action: ExpiredCursorAction,
}

impl Subscription {
    /// All events from `start` on, in `EVENT_VIEW_STANDARD`, with a progress interval of 30 s and
    /// no name. If retention has removed the next event, the stream ends with an error. There is no
    /// default for `start`, because it decides which events a restart of the program misses.
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
    /// With the events that become durable after the first message.
    ///
    /// The first message is an [`Item::Progress`] with a cursor. If the connection fails before it,
    /// the next connection begins at the latest event of that time. To miss nothing since a known
    /// time, begin [`At`](Self::At) it.
    Latest,
    /// With the oldest event in the log.
    Earliest,
    /// With the first event after this cursor.
    After(String),
    /// With the first event received at or after this time.
    At(SystemTime),
}

impl Start {
    /// Begins after the cursor in the store, or at `first_time` if the store has none yet.
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
    /// An event that matches the filter.
    Event {
        /// The event.
        event: Box<Event>,
        /// Save it when the work on the event is done.
        cursor: String,
    },
    /// Shows that the connection works, and the subscription's position.
    Progress {
        /// The message.
        progress: Progress,
        /// Resume from here.
        cursor: String,
    },
    /// Events before this place have been removed and were not delivered.
    Gap {
        /// The message.
        gap: Gap,
        /// Resume from here.
        cursor: String,
    },
    /// The connection, or the attempt to connect, has failed. The stream reconnects by itself; the
    /// program need not do anything.
    Interrupted {
        /// Why it failed.
        error: Error,
        /// How long the stream waits before the next attempt.
        retry_in: Duration,
    },
}

impl Item {
    /// The cursor to resume from when the work on this item is done; none if the item does not move
    /// the subscription.
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
/// It holds at most one message, besides 2 MiB in HTTP/2's window. A program that reads slowly
/// slows down its own stream, and loses nothing.
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

    /// The next item. None only after the error that ended the stream. Cancel safe: in `select!` no
    /// item is lost.
    ///
    /// # Errors
    /// The error that ends the stream. The next call returns none.
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
    /// Its `start` is always the last returned cursor.
    subscription: Subscription,
    messages: Option<Messages>,
    /// Failures in a row, without progress between them.
    failures: u32,
    /// The wait before the next attempt.
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
                // A kind of message of a later gateway: only its cursor is used.
                None => self.subscription.start = Start::After(cursor),
            }
        }
    }

    fn interrupted(&mut self, error: Error) -> Item {
        // Reset the backoff only if the connection brought an event or lasted. Otherwise a gateway
        // that always fails on the next event would be called again without a pause.
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
            // An interval that protobuf cannot hold is also refused by the gateway.
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
