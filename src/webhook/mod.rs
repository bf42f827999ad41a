//! The door: takes Verbex's webhooks over HTTP, checks who is calling and how much they send, and
//! answers.
//!
//! A 200 means that the event is durable, and nothing else does. Whatever else happens is a
//! `Refusal`, which is the whole table of answers. The checks are in the order of that table,
//! cheapest first, and nobody learns more than they have shown they may: a wrong path secret looks
//! like a path that does not exist.
//!
//! | what | bound | when it is reached |
//! |---|---|---|
//! | requests in flight | [`Config::requests_in_flight_max`] | `RATE_LIMITED` at once, no queue |
//! | requests of a client | [`Config::client_requests_per_second_max`] | `RATE_LIMITED` |
//! | a request's head | [`HEAD_BYTES_MAX`], `HEADERS_MAX` headers | `HEADERS_TOO_LARGE` |
//! | a body, as sent and unpacked | [`Config::body_bytes_max`] | `BODY_TOO_LARGE` |
//! | a body's time | [`Config::body_timeout`] | `BODY_TIMEOUT` |

mod body;
mod course;
mod credentials;
mod limits;
mod metrics;
mod refusal;

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header, request,
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
    log::{Appended, Appender},
    server::{self, Peer},
    verbex::{self, Normalized, Rules},
};
use body::Coding;
use course::Course;
use limits::Limits;
use refusal::Refusal;

/// Where webhooks are posted; a path secret is one more segment behind it.
pub const PATH: &str = "/webhooks/verbex";

/// Largest body that may be configured, in bytes.
///
/// No message to a subscriber may pass 4 MiB, which is what gRPC clients take. In `EVENT_VIEW_RAW`
/// it holds, in KiB: the body (1,792), the same again in typed fields (text gets no longer by
/// unescaping, and no element is shorter in JSON than in protobuf), unmodeled fields (256), and the
/// kept headers (32), which may be typed fields too (32): 3,904 of 4,096.
pub(crate) const BODY_BYTES_LIMIT: usize = 1792 * 1024;

/// Largest head of a request: path, names and values of headers, in bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most headers of a request; over HTTP/1.1 the library allows no more.
const HEADERS_MAX: usize = 100;

/// What the door asks for and grants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// The last segment of the path, as it is in the URL. Without one the path is [`PATH`] itself.
    pub path_secret: Option<Secret>,
    /// One of these is to be shown, if there are any.
    pub credentials: Vec<Credential>,
    /// Where requests may come from; from everywhere if empty.
    pub addresses_allowed: Vec<IpNet>,
    /// Requests at the same time.
    pub requests_in_flight_max: usize,
    /// Requests of one address (IPv6: one /64) in a second.
    pub client_requests_per_second_max: Option<NonZeroU32>,
    /// Largest body, as it is sent and after decompression. At most [`BODY_BYTES_LIMIT`]; more is
    /// taken as that.
    pub body_bytes_max: usize,
    /// Time for a body to come in.
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

/// How the door's connections are to be served. What the HTTP libraries answer by themselves is
/// counted in `metrics`.
#[must_use]
pub fn server_config(metrics: Metrics) -> server::Config {
    let library = move |status, client| metrics.library_answered(status, client);
    server::Config {
        // Above HEAD_BYTES_MAX, so that the door itself answers where it can: HTTP/2's library
        // refuses without a body.
        head_bytes_max: 8 * HEAD_BYTES_MAX as u32,
        // Its sender may not come again: a webhook that is here is taken, whatever its sender does
        // next.
        half_close: true,
        error_body: Some(server::ErrorBody::new(library)),
        ..server::Config::default()
    }
}

/// The door, a service for [`server::serve`]. Clones are the same door.
#[derive(Clone)]
pub(crate) struct Webhook(Arc<Intake>);

struct Intake {
    config: Config,
    limits: Limits,
    rules: Rules,
    appender: Appender,
    metrics: Metrics,
    /// Requests that were admitted and have no answer yet.
    inside: TaskTracker,
}

impl Webhook {
    /// A door that hands events over to `appender`, made by `rules`.
    #[must_use]
    pub(crate) fn new(
        mut config: Config,
        rules: Rules,
        appender: Appender,
        metrics: Metrics,
    ) -> Self {
        config.body_bytes_max = config.body_bytes_max.min(BODY_BYTES_LIMIT);
        Self(Arc::new(Intake {
            limits: Limits::new(&config),
            config,
            rules,
            appender,
            metrics,
            inside: TaskTracker::new(),
        }))
    }

    /// Resolves at the next moment at which no request is inside: each one has its answer, or its
    /// client has left and it is in the log.
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
        // Without a peer, which no server of ours leaves out, no list of addresses matches.
        let peer = head.extensions.get().copied();
        let peer = peer.map_or(Ipv6Addr::UNSPECIFIED.into(), |Peer(peer)| peer.ip());
        let gone = head.extensions.get().cloned();
        let mut course = Course::begin(self.metrics.clone(), peer, gone.unwrap_or_default());
        let mut body = Box::pin(body);
        let taken = match self.receive(&head, peer, &mut body).await {
            Ok((admitted, packed)) => {
                course.body_came();
                Arc::clone(&self).take(&head, packed, admitted).await
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
    ) -> Result<(Admitted, Bytes), Refusal>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        let admitted = self.admit(head, peer)?;
        let Config {
            body_bytes_max,
            body_timeout,
            ..
        } = self.config;
        let packed = body::receive(body, body_bytes_max, body_timeout).await?;
        Ok((admitted, packed))
    }

    /// Refuses at once, and lets the rest of the body come in behind the answer, so that the client
    /// gets to reading that.
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
        // Where a broken body ends, nobody knows.
        let broken = matches!(refusal, Refusal::BodyUnframed | Refusal::BodyBrokenOff);
        if body.is_end_stream() && !broken {
            return response;
        }
        // A client that asks before it sends has nothing on the way, and is not told to go on.
        let asks = head.headers.contains_key(header::EXPECT);
        let comes = !broken && !asks && !matches!(refusal, Refusal::BodyTimeout { .. });
        // If the body is not read to its end, HTTP/1.1 has no way on. Over HTTP/2 only the stream
        // ends.
        let whole = comes && body.size_hint().lower() <= body::THROWN_AWAY_MAX;
        if head.version < Version::HTTP_2 && !whole {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if comes {
            let deadline = tokio::time::Instant::now() + self.config.body_timeout;
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
        if !credentials::suffice(&self.config.credentials, &head.headers) {
            return Err(Refusal::CredentialsInvalid);
        }
        self.limits.check_address(peer)
    }

    fn is_at(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(PATH) else {
            return false;
        };
        match &self.config.path_secret {
            None => rest.is_empty(),
            Some(secret) => rest
                .strip_prefix('/')
                .is_some_and(|shown| secret.is(shown.as_bytes())),
        }
    }

    /// Makes the body an event.
    async fn take(
        self: Arc<Self>,
        head: &request::Parts,
        packed: Bytes,
        admitted: Admitted,
    ) -> Result<Appended, Refusal> {
        let receive_time = Timestamp::now();
        let body = body::unpack(packed, &admitted.codings, self.config.body_bytes_max)?;
        let mut headers = texts(&head.headers);
        headers.retain(|(name, _)| !credentials::is_secret(&self.config.credentials, name));

        // In a task of its own: a client that goes away now takes nothing back.
        let storing = Arc::clone(&self).store(headers, body, receive_time, admitted);
        #[expect(
            clippy::disallowed_methods,
            reason = "awaited, and counted by its place"
        )]
        let stored = tokio::spawn(storing);
        stored.await.unwrap_or_else(|error| {
            // Not the error itself: what a panic says may quote the body.
            let panicked = error.is_panic();
            tracing::error!(panicked, "storing an event failed");
            Err(Refusal::Internal)
        })
    }

    async fn store(
        self: Arc<Self>,
        headers: Vec<(String, String)>,
        body: Bytes,
        receive_time: Timestamp,
        _admitted: Admitted,
    ) -> Result<Appended, Refusal> {
        let Normalized {
            event,
            surprises,
            unknown,
        } = verbex::normalize(&self.rules, &headers, body, receive_time)?;
        for surprise in &surprises {
            self.metrics.surprised(surprise);
        }
        self.metrics.unknown(unknown);
        let appended = self.appender.append(event).await?;
        self.metrics.stored(&appended);
        Ok(appended)
    }
}

/// A request that has passed every check of its head. Dropped when it has its answer.
struct Admitted {
    #[expect(dead_code, reason = "held for its drop: it frees the place")]
    place: OwnedSemaphorePermit,
    codings: Vec<Coding>,
    #[expect(dead_code, reason = "held for its drop: `emptied` waits for it")]
    inside: TaskTrackerToken,
}

fn stored(appended: &Appended) -> Response<Full<Bytes>> {
    // Written by hand, for the order of the contract: hex and digits need no escaping.
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

/// Names and values as text. Which of them are kept with the event is not the door's to know.
fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), value.into_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests;
