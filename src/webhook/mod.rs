//! The webhook door: receives Verbex's webhooks over HTTP, checks credentials and limits, and
//! answers.
//!
//! A 200 means that the event is durable. Every other answer is a `Refusal`, which is the whole
//! table of answers. The checks are in the order of that table, cheapest first. An answer tells a
//! client without credentials as little as possible: a wrong path secret looks like a path that
//! does not exist.
//!
//! | what | bound | beyond the bound |
//! |---|---|---|
//! | requests in flight | [`Config::requests_in_flight_max`] | `RATE_LIMITED` at once, no queue |
//! | requests of a client | [`Config::client_requests_per_second_max`] | `RATE_LIMITED` |
//! | a request's head | [`HEAD_BYTES_MAX`], `HEADERS_MAX` headers | `HEADERS_TOO_LARGE` |
//! | a body, before and after decompression | [`Config::body_bytes_max`] | `BODY_TOO_LARGE` |
//! | bytes of all bodies, and of what is made of them | see [`room`] | waits, then `RATE_LIMITED` |
//! | a body's time | [`Config::body_timeout`] | `BODY_TIMEOUT` |

mod body;
mod course;
mod credentials;
mod limits;
mod metrics;
mod refusal;
mod room;

use std::{
    convert::Infallible,
    future::poll_fn,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header,
    request,
};
use http_body::Body;
use http_body_util::Full;
use ipnet::IpNet;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tower::{BoxError, Service};

pub(crate) use credentials::{Credential, Secret};
pub use metrics::Metrics;

use crate::{
    log::{Appended, Appender, Offered},
    server::{self, Peer},
    verbex::{self, Normalized, Rules},
};
use body::{Coding, Received};
use course::Course;
use limits::Limits;
use refusal::Refusal;
use room::{Room, Taken};

/// The path of webhooks. A path secret is one more segment after it.
pub const PATH: &str = "/webhooks/verbex";

/// Largest body that may be configured, in bytes.
///
/// A message to a subscriber may have 4 MiB, the default limit of gRPC clients. In `EVENT_VIEW_RAW`
/// it holds, in KiB: the body (1,792), the same again in typed fields (unescaped text is not
/// longer, and no element is shorter in JSON than in protobuf), unmodeled fields (256), and the
/// stored headers (32), which may be typed fields too (32): 3,904 of 4,096.
pub(crate) const BODY_BYTES_LIMIT: usize = 1792 * 1024;

/// Largest head of a request: path, names and values of headers, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most headers of a request; over HTTP/1.1 the library allows no more.
const HEADERS_MAX: usize = 100;

/// The settings of the door.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// The last segment of the path, as it is in the URL. Without one the path is [`PATH`] itself.
    pub path_secret: Option<Secret>,
    /// A request must have one of these. If empty, none is needed.
    pub credentials: Vec<Credential>,
    /// Addresses that may send requests. If empty, all may.
    pub addresses_allowed: Vec<IpNet>,
    /// Requests at the same time.
    pub requests_in_flight_max: usize,
    /// Requests of one address (IPv6: one /64) in a second.
    pub client_requests_per_second_max: Option<NonZeroU32>,
    /// Largest body in bytes, before and after decompression. More than [`BODY_BYTES_LIMIT`] is
    /// taken as that.
    pub body_bytes_max: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path_secret: None,
            credentials: Vec::new(),
            addresses_allowed: Vec::new(),
            requests_in_flight_max: 1024,
            client_requests_per_second_max: None,
            body_bytes_max: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
        }
    }
}

/// How the door's connections are served. Answers that the HTTP libraries make are counted in
/// `metrics`.
#[must_use]
pub fn server_config(metrics: Metrics) -> server::Config {
    let library = move |status, client| metrics.library_answered(status, client);
    server::Config {
        // Above HEAD_BYTES_MAX, so that the door itself can answer: the HTTP/2 library refuses
        // without a body.
        head_bytes_max: 8 * HEAD_BYTES_MAX as u32,
        // The sender may not send it again, so a webhook that has arrived is stored even if the
        // sender closes the connection.
        half_close: true,
        error_body: Some(server::ErrorBody::new(library)),
        ..server::Config::default()
    }
}

/// The door, a service for [`server::serve`]. Clones share their state.
#[derive(Clone)]
pub(crate) struct Webhook(Arc<Intake>);

struct Intake {
    path_secret: Option<blake3::Hash>,
    credentials: Vec<Credential<blake3::Hash>>,
    body_bytes_max: usize,
    body_timeout: Duration,
    limits: Limits,
    room: Room,
    rules: Rules,
    appender: Appender,
    metrics: Arc<Metrics>,
    /// Requests that passed the checks and have no answer yet.
    inside: TaskTracker,
}

impl Webhook {
    /// A door that makes events by `rules` and passes them to `appender`.
    #[must_use]
    pub(crate) fn new(config: &Config, rules: Rules, appender: Appender, metrics: Metrics) -> Self {
        let credentials = config.credentials.iter();
        Self(Arc::new(Intake {
            path_secret: config.path_secret.as_ref().map(Secret::hash),
            credentials: credentials.map(Credential::hashed).collect(),
            body_bytes_max: config.body_bytes_max.min(BODY_BYTES_LIMIT),
            body_timeout: config.body_timeout,
            limits: Limits::new(config),
            room: Room::default(),
            rules,
            appender,
            metrics: Arc::new(metrics),
            inside: TaskTracker::new(),
        }))
    }

    /// Resolves when no request is in flight: each one has its answer, or its client has gone and
    /// its event is in the log's queue.
    pub(crate) async fn emptied(&self) {
        self.0.inside.close();
        self.0.inside.wait().await;
    }
}

impl<B> Service<Request<B>> for Webhook
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let intake = Arc::clone(&self.0);
        Box::pin(async move { Ok(intake.answer(request).await) })
    }
}

impl Intake {
    async fn answer<B>(self: Arc<Self>, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (head, body) = request.into_parts();
        // Our servers always set the peer. Without one no list of addresses matches.
        let peer = head.extensions.get().copied();
        let peer = peer.map_or(Ipv6Addr::UNSPECIFIED.into(), |Peer(peer)| peer.ip());
        let gone = head.extensions.get().cloned();
        let mut course = Course::begin(Arc::clone(&self.metrics), peer, gone.unwrap_or_default());
        let mut body = Box::pin(body);
        let taken = match self.receive(&head, peer, &mut body).await {
            Ok((admitted, received)) => {
                course.body_came();
                Arc::clone(&self).take(&head, received, admitted).await
            }
            Err(refusal) => {
                course.answered(Err(&refusal));
                return self.refuse(&refusal, head, body);
            }
        };
        course.answered(taken.as_ref());
        match taken {
            Ok(appended) => stored(&appended),
            Err(refusal) => refusal.response(),
        }
    }

    /// Checks the head, and reads the body.
    async fn receive<B>(
        &self,
        head: &request::Parts,
        peer: IpAddr,
        body: B,
    ) -> Result<(Admitted, Received), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let admitted = self.admit(head, peer)?;
        let (bytes_max, time) = (self.body_bytes_max, self.body_timeout);
        let received = body::receive(body, bytes_max, time, &self.room).await?;
        Ok((admitted, received))
    }

    /// Refuses at once, and reads the rest of the body after the answer, so that the client reads
    /// the answer.
    fn refuse<B>(
        &self,
        refusal: &Refusal,
        mut head: request::Parts,
        body: Pin<Box<B>>,
    ) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let mut response = refusal.response();
        // The end of a broken body is unknown.
        let broken = matches!(refusal, Refusal::BodyUnframed | Refusal::BodyBrokenOff);
        if body.is_end_stream() && !broken {
            return response;
        }
        // A client that sent `Expect: 100-continue` has sent no body, and is not told to continue.
        let asks = head.headers.contains_key(header::EXPECT);
        let comes = !broken && !asks && !matches!(refusal, Refusal::BodyTimeout { .. });
        // If the body is not read to its end, an HTTP/1.1 connection cannot be used again. Over
        // HTTP/2 only the stream ends.
        let whole = comes && body.size_hint().lower() <= body::THROWN_AWAY_MAX;
        if head.version < Version::HTTP_2 && !whole {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if comes {
            let deadline = tokio::time::Instant::now() + self.body_timeout;
            let unread = head.extensions.remove::<server::Unread>();
            #[expect(clippy::disallowed_methods, reason = "ends at its deadline")]
            tokio::spawn(async move {
                body::throw_away(body, deadline).await;
                if let Some(unread) = unread {
                    unread.came();
                }
            });
        }
        response
    }

    /// Every check that needs no body, in the order of the contract's table.
    fn admit(&self, head: &request::Parts, peer: IpAddr) -> Result<Admitted, Refusal> {
        self.check_sender(head, peer)?;
        let place = self.limits.enter(peer)?;
        body::check_content_type(&head.headers)?;
        let codings = body::codings(&head.headers)?;
        Ok(Admitted {
            place,
            codings,
            inside: self.inside.token(),
        })
    }

    fn check_sender(&self, head: &request::Parts, peer: IpAddr) -> Result<(), Refusal> {
        if head_bytes(head) > HEAD_BYTES_MAX || head.headers.len() > HEADERS_MAX {
            return Err(Refusal::HeadersTooLarge);
        }
        if !self.is_at(head.uri.path()) {
            return Err(Refusal::NotFound);
        }
        if head.method != Method::POST {
            return Err(Refusal::MethodNotAllowed);
        }
        if !credentials::suffice(&self.credentials, &head.headers) {
            return Err(Refusal::CredentialsInvalid);
        }
        self.limits.check_address(peer)
    }

    fn is_at(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(PATH) else {
            return false;
        };
        match self.path_secret {
            None => rest.is_empty(),
            Some(secret) => rest
                .strip_prefix('/')
                .is_some_and(|shown| secret == blake3::hash(shown.as_bytes())),
        }
    }

    /// Makes an event from the body and stores it. A client that leaves meanwhile does not prevent
    /// that: the log commits what is in its queue, and what has to wait for a place there waits in
    /// a task of its own.
    async fn take(
        self: Arc<Self>,
        head: &request::Parts,
        received: Received,
        admitted: Admitted,
    ) -> Result<Appended, Refusal> {
        let receive_time = Timestamp::now();
        let headers = self.kept(&head.headers);
        let offering = Arc::clone(&self).offer(headers, received, receive_time, admitted);
        let mut offering = Box::pin(AssertUnwindSafe(offering).catch_unwind());
        let offered = match poll_fn(|cx| Poll::Ready(offering.as_mut().poll(cx))).await {
            Poll::Ready(offered) => offered.map_err(drop),
            Poll::Pending => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "awaited, and counted by its place"
                )]
                let offered = tokio::spawn(offering);
                offered.await.map_err(drop).and_then(|it| it.map_err(drop))
            }
        };
        let Ok(offered) = offered else {
            // Not the error itself: the message of a panic may quote the body.
            tracing::error!("storing an event failed");
            return Err(Refusal::Internal);
        };
        let (offered, _admitted) = offered?;
        let appended = self.appender.answer(offered).await?;
        self.metrics.stored(&appended);
        Ok(appended)
    }

    /// Makes an event from the body and puts it into the log's queue.
    async fn offer(
        self: Arc<Self>,
        headers: Vec<(String, String)>,
        received: Received,
        receive_time: Timestamp,
        admitted: Admitted,
    ) -> Result<(Offered, Admitted), Refusal> {
        let deadline = received.deadline;
        let (body, _body_room) = self.unpack(received, &admitted.codings).await?;
        let _event_room = self.room.for_event(&body, deadline).await?;
        let Normalized {
            event,
            surprises,
            unknown,
        } = verbex::normalize(&self.rules, headers, body, receive_time)?;
        for surprise in &surprises {
            self.metrics.surprised(surprise);
        }
        self.metrics.unknown(unknown);
        Ok((self.appender.offer(event).await?, admitted))
    }

    /// The headers that may be stored with the event, as texts.
    fn kept(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let kept = headers.iter().filter(|(name, _)| {
            let name = name.as_str();
            verbex::keeps_header(name) && !credentials::is_secret(&self.credentials, name)
        });
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), value.into_owned())
        };
        kept.map(text).collect()
    }

    /// Decompresses a body. Returns the room for what came out.
    async fn unpack(
        &self,
        received: Received,
        codings: &[Coding],
    ) -> Result<(Bytes, Taken), Refusal> {
        let Received {
            bytes,
            room,
            deadline,
        } = received;
        if codings.is_empty() {
            return Ok((bytes, room));
        }
        let bytes_max = self.body_bytes_max;
        let mut unpacked_room = self.room.to_unpack(bytes_max, deadline).await?;
        let body = body::unpack(bytes, codings, bytes_max)?;
        room::shrink(&mut unpacked_room, body.len());
        Ok((body, unpacked_room))
    }
}

/// A request whose head passed every check. It is dropped when the request has its answer.
struct Admitted {
    #[expect(dead_code, reason = "held for its drop: it frees the place")]
    place: OwnedSemaphorePermit,
    codings: Vec<Coding>,
    #[expect(dead_code, reason = "held for its drop: `emptied` waits for it")]
    inside: TaskTrackerToken,
}

fn stored(appended: &Appended) -> Response<Full<Bytes>> {
    // Written by hand to keep the documented order; hex and digits need no escaping.
    let Appended {
        id,
        sequence,
        duplicate,
    } = appended;
    let body = format!(r#"{{"id":"{id}","sequence":"{sequence}","duplicate":{duplicate}}}"#);
    json_response(StatusCode::OK, body.into())
}

fn json_response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn head_bytes(head: &request::Parts) -> usize {
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len());
    let path = head.uri.path_and_query();
    headers.sum::<usize>() + path.map_or(0, |path| path.as_str().len())
}

#[cfg(test)]
mod tests;
