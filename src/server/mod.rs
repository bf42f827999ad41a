//! The accept loop that every door shares: HTTP/1.1 and HTTP/2, over TLS or plain TCP.
//!
//! Over TLS the protocol is what ALPN settled on; on plain TCP it is seen from the first bytes (HTTP/2 with prior knowledge,
//! or HTTP/1.1). Each connection is a task of its own: what goes wrong in it ends it, and nothing else.
//!
//! # Bounds
//!
//! | what | bound | when it is reached |
//! |---|---|---|
//! | connections | [`Config::connections_max`] | new ones wait in the system's backlog until one ends |
//! | TLS handshake | [`Config::opening_timeout`] | the connection is dropped |
//! | then, the first request's head (HTTP/2: the preface) | [`Config::opening_timeout`] | the connection is dropped |
//! | idle time and later heads, HTTP/1.1 | [`Config::idle_timeout`] | the connection is closed |
//! | a client's closing after its last answer | 1 s | the connection is dropped |
//! | an answer to a ping, HTTP/2 | [`Config::ping_timeout`] | the connection is closed |
//! | a request's head | [`Config::head_bytes_max`] | 431 |

mod coalesce;
mod stream;

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service, ServiceExt};

use coalesce::coalesced;
use stream::{Phase, Seen, Stream};

/// What a door grants its clients.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connections at the same time. More wait in the system's backlog.
    pub connections_max: usize,
    /// For the TLS handshake, and again for the first request's head.
    pub opening_timeout: Duration,
    /// From one HTTP/1.1 answer to the end of the next request's head. Long, so that a client finds its connection open.
    pub idle_timeout: Duration,
    /// Largest head of a request, in bytes; at least 8 KiB over HTTP/1.1.
    pub head_bytes_max: u32,
    /// How often an HTTP/2 client is asked whether it is still there.
    pub ping_interval: Duration,
    /// How long it may take to answer that.
    pub ping_timeout: Duration,
    /// Requests at the same time on one HTTP/2 connection, told to the client.
    pub streams_max: u32,
    /// What an HTTP/2 client may send ahead on one request, in bytes.
    pub stream_window_bytes: u32,
    /// What an HTTP/2 client may send ahead on one connection, in bytes.
    pub connection_window_bytes: u32,
    /// Whether an HTTP/1.1 client that closes its side right after a request still gets its answer. If not, it counts as gone,
    /// and what is done for it ends.
    pub half_close: bool,
    /// The JSON body of the answers that the HTTP/1.1 library makes itself, to heads that it cannot read. None leaves them empty.
    pub error_body: Option<fn(StatusCode) -> Bytes>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            opening_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            head_bytes_max: 16 * 1024,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(10),
            streams_max: 256,
            stream_window_bytes: 64 * 1024,
            connection_window_bytes: 1024 * 1024,
            half_close: false,
            error_body: None,
        }
    }
}

/// The certificate that new connections get; a later value serves later connections.
pub type Tls = watch::Receiver<Arc<rustls::ServerConfig>>;

/// The client's address, in the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Tells a door when to leave, in two steps. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    leaving: CancellationToken,
    closed: CancellationToken,
}

impl Stop {
    /// From now on each answer is the last one on its connection and says so. The door stays open to new connections.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Closes the door behind the connections that wait in its backlog. A connection ends when no request is on it any more.
    pub fn close(&self) {
        self.leaving.cancel();
        self.closed.cancel();
    }

    /// Resolves when the door is closed and a client has had its time to begin on a connection that it opened at `since`.
    async fn over(&self, since: Instant) {
        self.closed.cancelled().await;
        sleep_until(since + BEGINNING).await;
    }
}

/// Serves until `stop`, and returns when all connections are gone.
///
/// The caller bounds that wait: dropping the future ends the connections that are left.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Option<Tls>,
    config: Config,
    service: S,
    stop: Stop,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let places = Arc::new(Semaphore::new(config.connections_max));
    let door = Arc::new(Door {
        http: http(&config),
        tls,
        config,
        stop: stop.clone(),
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.closed.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = accept(&listener, &places) => match accepted {
                Ok((stream, peer, place)) => {
                    connections.spawn(Arc::clone(&door).connection(stream, peer, service.clone(), place));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of file descriptors, most likely: the same error would come back at once.
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    for (stream, peer) in close(listener) {
        let (door, service) = (Arc::clone(&door), service.clone());
        let place = Arc::clone(&places).acquire_owned();
        connections.spawn(async move {
            if let Ok(place) = place.await {
                door.connection(stream, peer, service, place).await;
            }
        });
    }
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a backlog may hold at the most: as many as the library asks the system for.
const BACKLOG_MAX: usize = 1024;
/// How long a client that connected before the door closed may take to begin with its first request.
const BEGINNING: Duration = Duration::from_secs(1);
/// Between the closing of a door and that of its idle connections: what has arrived until then is read first.
const ARRIVING: Duration = Duration::from_millis(1);

/// Closes the listener behind the connections that wait in its backlog.
///
/// Without the runtime, which may be late to notice a connection: one that nobody accepts is reset.
fn close(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    let mut waiting = Vec::new();
    while waiting.len() < BACKLOG_MAX {
        match listener.accept() {
            Ok(accepted) => waiting.push(accepted),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => break,
        }
    }
    drop(listener);
    let usable = waiting.into_iter().filter_map(|(stream, peer)| {
        stream.set_nonblocking(true).ok()?;
        Some((TcpStream::from_std(stream).ok()?, peer))
    });
    usable.collect()
}

/// What all connections of a door share.
struct Door {
    http: auto::Builder<TokioExecutor>,
    tls: Option<Tls>,
    config: Config,
    stop: Stop,
}

impl Door {
    /// One connection from its first byte to its last.
    async fn connection<S, B>(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        service: S,
        _place: OwnedSemaphorePermit,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let since = Instant::now();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let ended = match self.acceptor() {
            None => {
                let http = self.http.clone();
                self.http(stream, http, peer, since, service).await
            }
            Some(acceptor) => match self.handshake(acceptor, stream, since).await {
                Ok(stream) => {
                    let http = match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => self.http.clone().http2_only(),
                        _ => self.http.clone().http1_only(),
                    };
                    self.http(stream, http, peer, since, service).await
                }
                Err(error) => Err(error.into()),
            },
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error, "connection ended");
        }
    }

    fn acceptor(&self) -> Option<TlsAcceptor> {
        let tls = self.tls.as_ref()?;
        Some(TlsAcceptor::from(Arc::clone(&tls.borrow())))
    }

    async fn handshake(
        &self,
        acceptor: TlsAcceptor,
        stream: TcpStream,
        since: Instant,
    ) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        tokio::select! {
            () = self.stop.over(since) => Err(io::Error::other("stopping")),
            shaken = timeout(self.config.opening_timeout, acceptor.accept(stream)) => {
                shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    async fn http<S, B>(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        http: auto::Builder<TokioExecutor>,
        peer: SocketAddr,
        since: Instant,
        service: S,
    ) -> Result<(), BoxError>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let seen = Arc::new(Seen::default());
        let (stream, outlet) = coalesced(stream);
        let stream = Stream::new(stream, Arc::clone(&seen), self.config.error_body);
        let service = Introduced {
            service,
            peer: Peer(peer),
            seen: Arc::clone(&seen),
            leaving: self.stop.leaving.clone(),
        };
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let mut opening = pin!(sleep(self.config.opening_timeout));
        let mut opening_over = false;
        let mut closed = pin!(async {
            self.stop.closed.cancelled().await;
            sleep(ARRIVING).await;
        });
        let mut over = pin!(self.stop.over(since));
        let mut phase = Phase::Open;
        let mut told = false;
        loop {
            tokio::select! {
                ended = poll_fn(|cx| {
                    let mut ended = connection.as_mut().poll(cx);
                    if ended.is_pending() && !told && seen.may_end(phase) {
                        told = true;
                        connection.as_mut().graceful_shutdown();
                        ended = connection.as_mut().poll(cx);
                    }
                    outlet.poll_out(cx);
                    ended
                }) => return ended,
                () = opening.as_mut(), if !opening_over => {
                    opening_over = true;
                    if !seen.opened() {
                        return Err("no request in time".into());
                    }
                }
                () = self.stop.leaving.cancelled(), if phase == Phase::Open => phase = Phase::Leaving,
                () = closed.as_mut(), if phase < Phase::Closed => phase = Phase::Closed,
                () = over.as_mut(), if phase < Phase::Over => phase = Phase::Over,
            }
        }
    }
}

/// Tells the service who is asking, and the connection that somebody has.
#[derive(Clone)]
struct Introduced<S> {
    service: S,
    peer: Peer,
    seen: Arc<Seen>,
    leaving: CancellationToken,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Introduced<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.seen.request();
        request.extensions_mut().insert(self.peer);
        // HTTP/2 has GOAWAY for it.
        let says_close = request.version() < Version::HTTP_2;
        let answered = self.service.clone().oneshot(request);
        let leaving = self.leaving.clone();
        Box::pin(async move {
            let mut response = answered.await?;
            if says_close && leaving.is_cancelled() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(response)
        })
    }
}

/// Both protocols with the bounds of `config`.
fn http(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout)
        .half_close(config.half_close)
        // hyper panics on a buffer below 8 KiB.
        .max_buf_size((config.head_bytes_max as usize).max(8 * 1024));
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(config.ping_interval)
        .keep_alive_timeout(config.ping_timeout)
        .max_concurrent_streams(config.streams_max)
        .initial_stream_window_size(config.stream_window_bytes)
        .initial_connection_window_size(config.connection_window_bytes)
        .max_header_list_size(config.head_bytes_max);
    http
}

/// A connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

#[cfg(test)]
mod tests;
