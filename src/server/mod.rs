//! The accept loop that every door shares: HTTP/1.1 and HTTP/2, over TLS or plain TCP.
//!
//! Over TLS, ALPN decides the protocol. On plain TCP the first bytes show it: HTTP/2 with prior
//! knowledge, or HTTP/1.1. Each connection is a task of its own, so a fault in it ends only that
//! connection.
//!
//! # Bounds
//!
//! | what | bound | when it is reached |
//! |---|---|---|
//! | connections | `connections_max` | the idlest is closed; if none is idle, the new one |
//! | connections of one client | `client_connections_max` | the same, among that client's own |
//! | TLS handshake | `opening_timeout` | the connection is dropped |
//! | then, the first head (HTTP/2: the preface) | `opening_timeout` | the connection is dropped |
//! | idle time, later heads included | `idle_timeout` | closed; HTTP/2: after GOAWAY |
//! | a request until its answer is sent | `answer_timeout`, up to twice | dropped |
//! | the client's closing after its last answer | 1 s | dropped |
//! | an answer to a ping, HTTP/2 | `ping_timeout` | closed |
//! | a request's head | `head_bytes_max` | 431 |
//!
//! All bounds except the one of 1 s are fields of [`Config`].

mod coalesce;
mod connection;
mod descriptors;
mod frames;
mod handshake;
mod metrics;
mod opening;
mod places;
mod service;
mod stream;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use descriptors::Shares;
pub(crate) use metrics::DoorMetrics;
pub use metrics::Metrics;
pub(crate) use places::client;
pub(crate) use service::{Serves, Unread};
pub(crate) use stream::Gone;

use crate::notices::{Notice, Notices};
use connection::Door;
use places::{Admission, Bounds, Places};

/// Bounds of a door for its clients.
#[derive(Clone, Debug)]
pub struct Config {
    /// The most open connections. At the limit, the idlest one gives its place to a new one.
    pub connections_max: usize,
    /// The most connections from one client address ([`client`]). At the limit, that client's
    /// idlest one gives its place to a new one.
    pub client_connections_max: usize,
    /// The longest TLS handshake, and then the longest wait for the first request's head.
    pub opening_timeout: Duration,
    /// How long a connection may be without a request, over HTTP/1.1 and HTTP/2. It is long, so
    /// that clients can reuse their connections.
    pub idle_timeout: Duration,
    /// How long a request may take from its head until its answer is sent; a connection is
    /// closed after this time or up to twice of it. None if answers are streams.
    pub answer_timeout: Option<Duration>,
    /// The largest head of a request, in bytes; over HTTP/1.1 at least 8 KiB.
    pub head_bytes_max: u32,
    /// How often an HTTP/2 client gets a ping.
    pub ping_interval: Duration,
    /// How long it may take to answer a ping.
    pub ping_timeout: Duration,
    /// The most concurrent requests on one HTTP/2 connection; the client is told.
    pub streams_max: u32,
    /// HTTP/2's flow-control window of a request, in bytes.
    pub stream_window_bytes: u32,
    /// HTTP/2's flow-control window of a connection, in bytes.
    pub connection_window_bytes: u32,
    /// Whether an HTTP/1.1 client that closes its side after a request still gets its answer. If
    /// not, it counts as gone, and the work for it is cancelled.
    pub half_close: bool,
    /// Makes the bodies of answers that the HTTP libraries give to heads that they cannot read. If
    /// none, these bodies are empty.
    pub error_body: Option<ErrorBody>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            client_connections_max: 65_536,
            opening_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            answer_timeout: Some(Duration::from_secs(30)),
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

/// The certificate for new connections. A new value applies to later connections.
pub(crate) type Tls = watch::Receiver<Arc<rustls::ServerConfig>>;

/// Makes the JSON body of an answer that the HTTP/1.1 library gives by itself. It is also called
/// where no body can be sent, once for each refusal, so that it can count them: over HTTP/2, and
/// for a client that speaks plain HTTP at a door that speaks HTTPS.
#[derive(Clone)]
pub struct ErrorBody(Arc<dyn Fn(StatusCode, IpAddr) -> Bytes + Send + Sync>);

impl ErrorBody {
    /// `body` gets the answer's status and the client's address.
    pub fn new(body: impl Fn(StatusCode, IpAddr) -> Bytes + Send + Sync + 'static) -> Self {
        Self(Arc::new(body))
    }

    fn of(&self, status: StatusCode, client: IpAddr) -> Bytes {
        (self.0)(status, client)
    }
}

impl fmt::Debug for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorBody")
    }
}

/// The client's address. It is in the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub SocketAddr);

/// Where connections come from.
#[derive(Debug)]
pub struct Listener {
    /// Bound, and not blocking.
    pub socket: TcpListener,
    /// Whether the socket keeps listening when this process ends. Then connections in its backlog
    /// are left to the next process.
    pub outlives: bool,
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Self {
            socket,
            outlives: false,
        }
    }
}

/// A listener for a door.
///
/// # Errors
/// The system's error, if the address cannot be used.
pub(crate) fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restart can use the address even if the system still remembers old connections.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG.into())
}

/// Tells a door when to leave, in two steps. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    leaving: CancellationToken,
    closed: CancellationToken,
    connections: TaskTracker,
}

impl Stop {
    /// From now on each answer is the last one on its connection, and says so. The door still
    /// accepts new connections.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// Resolves as soon as no connection is open.
    pub async fn emptied(&self) {
        self.connections.close();
        self.connections.wait().await;
    }

    /// Closes the door. Connections in its backlog are still served, unless another process will
    /// take them. A connection ends when no request is in flight on it.
    pub fn close(&self) {
        self.leaving.cancel();
        self.closed.cancel();
    }

    /// Resolves when the door is closed, and a client that connected at `since` has had its time to
    /// send a request.
    async fn over(&self, since: Instant) {
        self.closed.cancelled().await;
        sleep_until(since + BEGINNING).await;
    }
}

/// Serves until `stop`, and returns when all connections have ended.
///
/// The caller bounds that wait: dropping the future ends the remaining connections.
pub async fn serve(
    listener: impl Into<Listener>,
    tls: Option<Tls>,
    config: Config,
    service: impl Serves,
    metrics: DoorMetrics,
    stop: Stop,
) {
    let Listener {
        socket: listener,
        outlives,
    } = listener.into();
    let bounds = Bounds {
        connections: config.connections_max,
        of_client: config.client_connections_max,
        moment: MOMENT,
    };
    let places = Arc::new(Places::new(bounds, metrics));
    let door = Arc::new(Door::new(config, tls, stop.clone()));
    let mut connections = JoinSet::new();
    let said = Notices::new(say_refused);
    // Returns a connection that has to wait. A refused one is closed here.
    let admit =
        |(stream, peer): (TcpStream, SocketAddr), connections: &mut JoinSet<()>| match places
            .admit(peer.ip())
        {
            Admission::Place(place, left) => {
                let (door, service) = (Arc::clone(&door), service.clone());
                connections.spawn(door.connection(stream, peer, service, (place, left)));
                None
            }
            Admission::Later => Some((stream, peer)),
            Admission::Never => None,
        };
    let mut next = None;
    loop {
        if places.has_descriptors() {
            next = next.and_then(|accepted| admit(accepted, &mut connections));
        }
        let may_accept = next.is_none() && places.has_descriptors();
        tokio::select! {
            biased;
            () = stop.closed.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            () = sleep(MOMENT_STEP), if next.is_some() => {}
            // The next connection that ends makes room, at once or after a short goodbye.
            accepted = accept(&listener, &places, &said), if may_accept => next = Some(accepted),
        }
    }
    for accepted in next.into_iter().chain(close(listener, outlives)) {
        let mut waiting = Some(accepted);
        while let Some(accepted) = waiting {
            waiting = admit(accepted, &mut connections);
            if waiting.is_some() {
                sleep(MOMENT_STEP).await;
            }
        }
    }
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

/// Accepts the next connection. If descriptors are short, the idlest connections are closed.
async fn accept(
    listener: &TcpListener,
    places: &Places,
    said: &Notices<&'static str, io::Error>,
) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client has already closed this connection.
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                said.notice(places.metrics().door, &error);
                places.free_one();
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The most connections that the system keeps until they are accepted. Many webhooks may come at
/// once. A client that finds no room here tries again after 1 s, which is as long as Verbex waits.
/// The system may allow less (`net.core.somaxconn`).
const BACKLOG: u16 = 4096;
/// How long a new connection has to begin before it must give way to others. This is longer than
/// most round trips, and well below the second that Verbex waits.
const MOMENT: Duration = Duration::from_millis(400);
/// How often a connection that waits for a place tries again.
const MOMENT_STEP: Duration = Duration::from_millis(2);
/// How long a client that connected before the door closed has to send its first request.
const BEGINNING: Duration = Duration::from_secs(1);
/// The time between closing a door and closing its idle connections: requests that have arrived by
/// then are read first.
const ARRIVING: Duration = Duration::from_millis(1);

/// Closes the listener, and returns the connections that waited in its backlog.
///
/// It accepts without the runtime, which may notice a connection late: a connection that nobody
/// accepts is reset.
fn close(listener: TcpListener, outlives: bool) -> Vec<(TcpStream, SocketAddr)> {
    if outlives {
        return Vec::new();
    }
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    let mut waiting = Vec::new();
    while waiting.len() < usize::from(BACKLOG) {
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

/// The pause after an error of accept, which would otherwise come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

fn say_refused(notice: Notice<'_, &'static str, io::Error>) {
    match notice {
        Notice::First(door, error) => tracing::warn!(door, %error, "cannot accept a connection"),
        Notice::More(door, more) => {
            tracing::warn!(door, more, "more connections could not be accepted");
        }
        Notice::Others(_) => {}
    }
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        // The error itself is not logged: a panic's message may quote what was sent.
        let panicked = error.is_panic();
        tracing::error!(panicked, "a connection's task failed");
    }
}

#[cfg(test)]
mod tests;
