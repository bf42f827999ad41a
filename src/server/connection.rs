//! Serves one connection, from its first byte to its last.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Context,
    time::Duration,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::oneshot::Receiver,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::BoxError;

use super::{
    ARRIVING, Config, Peer, Stop, Tls,
    coalesce::coalesced,
    handshake::Failure,
    metrics::Closed,
    opening::{self, Spoken},
    places::{Leave, Place, Standing},
    service::{Introduced, Serves},
    stream::{Phase, Refusals, Seen, Stream},
};

/// How long a client may take to close a connection that was idle for too long or lost its place.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long an HTTP/2 connection must be without a request before it is told that the door leaves.
const LULL: Duration = Duration::from_millis(10);

/// What all connections of a door share.
pub(super) struct Door {
    http: auto::Builder<TokioExecutor>,
    tls: Option<Tls>,
    config: Config,
    stop: Stop,
}

impl Door {
    pub(super) fn new(config: Config, tls: Option<Tls>, stop: Stop) -> Self {
        Self {
            http: http(&config),
            tls,
            config,
            stop,
        }
    }

    /// Serves a connection to its end. It holds `place` until then, or until `left` takes it away.
    pub(super) async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        service: impl Serves,
        (place, mut left): (Arc<Place>, Receiver<Leave>),
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
        }
        let since = Instant::now();
        let _open = self.stop.connections.token();
        place.seen();
        let opened = tokio::select! {
            // The connection comes first, so that bytes that have arrived are read and answered.
            biased;
            opened = timeout(self.config.opening_timeout, self.open(stream, &place)) => opened,
            () = self.stop.over(since) => return,
            // Nothing was answered yet, so there is nothing to end in order.
            _ = &mut left => return,
        };
        let ended = match opened {
            Ok(Ok(Opened::Plain(stream))) => {
                let http = self.http.clone();
                self.http(stream, http, peer, since, service, (place, left))
                    .await
            }
            Ok(Ok(Opened::Tls(stream))) => {
                let http = match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => self.http.clone().http2_only(),
                    _ => self.http.clone().http1_only(),
                };
                self.http(*stream, http, peer, since, service, (place, left))
                    .await
            }
            Ok(Ok(Opened::Other(stream, spoken))) => {
                place.closed(spoken.reason());
                opening::answer(stream, spoken).await.map_err(Into::into)
            }
            Ok(Err(error)) => {
                if self.tls.is_some() {
                    place.handshake_failed(Failure::of(&error));
                }
                Err(error.into())
            }
            Err(_) => {
                place.closed(Closed::Opening);
                if self.tls.is_some() {
                    place.handshake_failed(Failure::Timeout);
                }
                Ok(())
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error, "connection ended");
        }
    }

    fn refusals(&self, peer: SocketAddr) -> Option<Refusals> {
        let error_body = self.config.error_body.clone()?;
        let peer = peer.ip();
        Some(Refusals { error_body, peer })
    }

    /// Reads the client's first byte, and does the TLS handshake if this door speaks TLS.
    async fn open(&self, stream: TcpStream, place: &Place) -> io::Result<Opened> {
        let spoken = opening::spoken(&stream).await?;
        place.seen();
        let Some(tls) = &self.tls else {
            return Ok(match spoken {
                Spoken::Tls => Opened::Other(stream, spoken),
                _ => Opened::Plain(stream),
            });
        };
        if spoken == Spoken::PlainHttp {
            return Ok(Opened::Other(stream, spoken));
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
        let stream = acceptor.accept(stream).await?;
        place.seen();
        Ok(Opened::Tls(Box::new(stream)))
    }

    async fn http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        http: auto::Builder<TokioExecutor>,
        peer: SocketAddr,
        since: Instant,
        service: impl Serves,
        (place, mut left): (Arc<Place>, Receiver<Leave>),
    ) -> Result<(), BoxError> {
        let seen = Arc::new(Seen::default());
        let (stream, outlet) = coalesced(stream);
        let refusals = self.refusals(peer);
        let stream = Stream::new(stream, Arc::clone(&seen), refusals);
        let service = Introduced {
            service,
            peer: Peer(peer),
            seen: Arc::clone(&seen),
            place: Arc::clone(&place),
            leaving: self.stop.leaving.clone(),
        };
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let mut timer = pin!(sleep(self.config.opening_timeout));
        let mut closed = pin!(async {
            self.stop.closed.cancelled().await;
            sleep(ARRIVING).await;
        });
        let mut over = pin!(self.stop.over(since));
        let mut phase = Phase::Open;
        let mut goodbye = false;
        let mut told = false;
        let mut may_end = MayEnd::default();
        loop {
            tokio::select! {
                // The connection comes first, so that bytes that have arrived are read and
                // answered.
                biased;
                ended = poll_fn(|cx| {
                    let mut ended = connection.as_mut().poll(cx);
                    let may_tell = ended.is_pending() && !told;
                    if may_tell && (goodbye || may_end.poll(cx, &seen, phase, &place)) {
                        told = true;
                        seen.told();
                        connection.as_mut().graceful_shutdown();
                        ended = connection.as_mut().poll(cx);
                    }
                    outlet.poll_out(cx);
                    if self.config.half_close && seen.is_waiting() && outlet.poll_gone(cx) {
                        seen.gone();
                    }
                    ended
                }) => return ended,
                () = timer.as_mut() => {
                    if goodbye {
                        return Ok(());
                    }
                    match self.due(&place, &seen) {
                        Due::Nothing { until } => timer.as_mut().reset(until),
                        Due::Goodbye(reason) => {
                            place.closed(reason);
                            goodbye = true;
                            timer.as_mut().reset(Instant::now() + GOODBYE);
                        }
                        Due::Cut(reason) => {
                            place.closed(reason);
                            return Ok(());
                        }
                    }
                }
                how = &mut left, if !goodbye => {
                    let gracefully = how == Ok(Leave::Gracefully) || seen.owes_answer();
                    if !(gracefully && seen.opened()) {
                        return Ok(());
                    }
                    goodbye = true;
                    timer.as_mut().reset(Instant::now() + GOODBYE);
                }
                () = self.stop.leaving.cancelled(), if phase == Phase::Open => {
                    phase = Phase::Leaving;
                }
                () = closed.as_mut(), if phase < Phase::Closed => phase = Phase::Closed,
                () = over.as_mut(), if phase < Phase::Over => phase = Phase::Over,
            }
        }
    }

    /// What to do with a connection whose timer has fired.
    fn due(&self, place: &Place, seen: &Seen) -> Due {
        if !seen.opened() {
            return Due::Cut(Closed::Opening);
        }
        // Only gRPC channels may wait for their first call. Doors without streams close such
        // connections.
        if self.config.answer_timeout.is_some() && !seen.had_request() {
            return Due::Goodbye(Closed::Opening);
        }
        let now = Instant::now();
        let idle_timeout = self.config.idle_timeout;
        match (place.look(), self.config.answer_timeout) {
            (Standing::Busy { stuck: true }, Some(_)) => Due::Cut(Closed::Stalled),
            (Standing::Busy { .. }, answer_timeout) => Due::Nothing {
                until: now + answer_timeout.unwrap_or(idle_timeout),
            },
            (Standing::Idle { since }, _) if since + idle_timeout <= now => {
                Due::Goodbye(Closed::Idle)
            }
            (Standing::Idle { since }, _) => Due::Nothing {
                until: since + idle_timeout,
            },
            // The connection has been told to leave, and will notice soon.
            (Standing::Leaving, _) => Due::Nothing {
                until: now + GOODBYE,
            },
        }
    }
}

/// Decides when the library may be told to end a connection.
#[derive(Default)]
struct MayEnd {
    lull: Option<Pin<Box<Sleep>>>,
}

impl MayEnd {
    /// While the door leaves, an HTTP/2 connection is told some time after its last answer. The
    /// library sends GOAWAY before data that waits on streams, and some clients take a GOAWAY for
    /// the end even if their answer is still to come.
    fn poll(&mut self, cx: &mut Context<'_>, seen: &Seen, phase: Phase, place: &Place) -> bool {
        if !seen.may_end(phase) {
            return false;
        }
        if phase != Phase::Leaving {
            return true;
        }
        if !place.is_idle() {
            self.lull = None;
            return false;
        }
        let lull = self.lull.get_or_insert_with(|| Box::pin(sleep(LULL)));
        lull.as_mut().poll(cx).is_ready()
    }
}

/// How a connection begins.
enum Opened {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// The protocol is not the one that this door speaks.
    Other(TcpStream, Spoken),
}

enum Due {
    Nothing { until: Instant },
    Goodbye(Closed),
    Cut(Closed),
}

/// HTTP/1.1 and HTTP/2, with the bounds of `config`.
fn http(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        // The connection's own timer fires earlier, and closes in an orderly way.
        .header_read_timeout(config.idle_timeout + config.opening_timeout)
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
