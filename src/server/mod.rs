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
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
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
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service, ServiceExt, util::Oneshot};

use coalesce::coalesced;
use stream::Stream;

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

/// Serves until `stop`, then closes every connection gracefully and returns when all are gone.
///
/// The caller bounds that wait: dropping the future ends the connections that are left.
pub async fn serve<S, B>(
    listener: TcpListener,
    tls: Option<Tls>,
    config: Config,
    service: S,
    stop: CancellationToken,
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
            () = stop.cancelled() => break,
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
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections of a door share.
struct Door {
    http: auto::Builder<TokioExecutor>,
    tls: Option<Tls>,
    config: Config,
    stop: CancellationToken,
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
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let ended = match self.acceptor() {
            None => self.http(stream, self.http.clone(), peer, service).await,
            Some(acceptor) => match self.handshake(acceptor, stream).await {
                Ok(stream) => {
                    let http = match stream.get_ref().1.alpn_protocol() {
                        Some(b"h2") => self.http.clone().http2_only(),
                        _ => self.http.clone().http1_only(),
                    };
                    self.http(stream, http, peer, service).await
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
    ) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        tokio::select! {
            () = self.stop.cancelled() => Err(io::Error::other("stopping")),
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
        let opened = Arc::new(AtomicBool::new(false));
        let (stream, outlet) = coalesced(stream);
        let stream = Stream::new(stream, Arc::clone(&opened), self.config.error_body);
        let service = Introduced {
            service,
            peer: Peer(peer),
            opened: Arc::clone(&opened),
        };
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let mut opening = pin!(sleep(self.config.opening_timeout));
        let mut opening_over = false;
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = poll_fn(|cx| {
                    let ended = connection.as_mut().poll(cx);
                    outlet.poll_out(cx);
                    ended
                }) => return ended,
                () = opening.as_mut(), if !opening_over => {
                    opening_over = true;
                    if !opened.load(Ordering::Relaxed) {
                        return Err("no request in time".into());
                    }
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    if !opened.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Tells the service who is asking, and the connection that somebody has.
#[derive(Clone)]
struct Introduced<S> {
    service: S,
    peer: Peer,
    opened: Arc<AtomicBool>,
}

impl<S> hyper::service::Service<Request<Incoming>> for Introduced<S>
where
    S: Service<Request<Incoming>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Oneshot<S, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.opened.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(self.peer);
        self.service.clone().oneshot(request)
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
