//! A layer between a connection and hyper.
//!
//! If hyper cannot read a head, it answers with a status and an empty body. If it did not read a
//! request to the end, it closes the connection, and the system may then discard the answer on its
//! way to the client (a reset). This wrapper adds a body to those answers. It closes as RFC 9112,
//! section 9.6, says: first its own side, and then everything, once the client has closed or had
//! time to.

use std::{
    io::{self, IoSlice},
    net::IpAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{ErrorBody, frames::Frames};

/// How long a client may take to close its side after the last answer.
const LINGER: Duration = Duration::from_secs(1);
/// The fixed beginning of an HTTP/2 connection; see RFC 9113, section 3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The door's phase, as a connection knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Open,
    Leaving,
    Closed,
    /// The door is closed, and a connection that has sent nothing has had its time.
    Over,
}

/// Whether an HTTP/1.1 client has closed its side while its request is in flight. It is in the
/// extensions of every such request. Over HTTP/2 the request is dropped instead.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gone(Arc<AtomicBool>);

impl Gone {
    /// Whether the client has closed its side so far.
    #[must_use]
    pub(crate) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What has happened on a connection.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The client sent the whole HTTP/2 preface.
    http2: AtomicBool,
    /// There was a request.
    request: AtomicBool,
    /// Bytes have arrived since the last ones were sent. In HTTP/1.1 this is a request, or a part
    /// of one, without an answer.
    unanswered: AtomicBool,
    /// Over HTTP/1.1: a request is in flight, and it is not known whether its client waits for the
    /// answer.
    waiting: AtomicBool,
    gone: Gone,
    /// Over HTTP/1.1: the connection was told to end between two requests, and nothing has come
    /// since.
    at_rest: AtomicBool,
}

impl Seen {
    /// A request goes to the service. With the result the service can ask whether its client is
    /// still there.
    pub(super) fn waits(&self) -> Gone {
        self.waiting.store(true, Ordering::Relaxed);
        self.gone.clone()
    }

    /// The service has answered.
    pub(super) fn answered(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Whether to find out if the client is still there.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn gone(&self) {
        self.gone.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn request(&self) {
        self.request.store(true, Ordering::Relaxed);
    }

    /// The library is told to end the connection.
    pub(super) fn told(&self) {
        let http2 = self.http2.load(Ordering::Relaxed);
        let at_rest = !http2 && !self.owes_answer();
        self.at_rest.store(at_rest, Ordering::Relaxed);
    }

    /// Over HTTP/1.1: whether something has come that has no answer yet.
    pub(super) fn owes_answer(&self) -> bool {
        !self.http2.load(Ordering::Relaxed) && self.unanswered.load(Ordering::Relaxed)
    }

    /// Notes that everything that came is answered.
    pub(super) fn came(&self) {
        self.unanswered.store(false, Ordering::Relaxed);
    }

    pub(super) fn had_request(&self) -> bool {
        self.request.load(Ordering::Relaxed)
    }

    /// Whether the client has sent a request or the whole HTTP/2 preface.
    pub(super) fn opened(&self) -> bool {
        self.http2.load(Ordering::Relaxed) || self.request.load(Ordering::Relaxed)
    }

    /// Whether the library may be told to end the connection. Over HTTP/1.1 it would drop a request
    /// whose head has only partly arrived; over HTTP/2 it tells the client which requests it
    /// accepts.
    pub(super) fn may_end(&self, phase: Phase) -> bool {
        let http2 = self.http2.load(Ordering::Relaxed);
        let request = self.request.load(Ordering::Relaxed);
        let unanswered = self.owes_answer();
        match phase {
            Phase::Open => false,
            Phase::Leaving => http2 && request,
            Phase::Closed => request && !unanswered,
            Phase::Over => !unanswered,
        }
    }
}

/// Bodies for the refusals of the HTTP library.
pub(super) struct Refusals {
    pub(super) error_body: ErrorBody,
    pub(super) peer: IpAddr,
}

impl Refusals {
    pub(super) fn body(&self, status: StatusCode) -> Bytes {
        self.error_body.of(status, self.peer)
    }
}

/// The protocol of what is sent. The first bytes show it.
enum Speaks {
    Unknown,
    Http1,
    Http2(Frames),
}

impl Speaks {
    fn learn(&mut self, bytes: &[u8]) {
        if let (Self::Unknown, Some(first)) = (&self, bytes.first()) {
            *self = match first {
                // HTTP/2 begins with the length of a frame. The first frame is small, so it begins
                // with zero.
                0 => Self::Http2(Frames::default()),
                _ => Self::Http1,
            };
        }
    }
}

/// A byte stream that detects how HTTP begins on it, and closes it in the right order.
pub(super) struct Stream<S> {
    inner: S,
    /// How many bytes of the HTTP/2 preface have come. None once it is complete or ruled out.
    preface: Option<usize>,
    seen: Arc<Seen>,
    refusals: Option<Refusals>,
    speaks: Speaks,
    /// The part of an answer with an added body that is not written yet.
    unwritten: Bytes,
    /// Runs once our side is closed.
    linger: Option<Pin<Box<Sleep>>>,
    /// Whether the client has closed its side.
    read_closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    pub(super) fn new(inner: S, seen: Arc<Seen>, refusals: Option<Refusals>) -> Self {
        Self {
            inner,
            preface: Some(0),
            seen,
            refusals,
            speaks: Speaks::Unknown,
            unwritten: Bytes::new(),
            linger: None,
            read_closed: false,
        }
    }

    fn watch_preface(&mut self, read: &[u8]) {
        let Some(seen) = self.preface else { return };
        let rest = &HTTP2_PREFACE[seen..];
        let common = rest.len().min(read.len());
        self.preface = (rest[..common] == read[..common]).then_some(seen + common);
        if self.preface == Some(HTTP2_PREFACE.len()) {
            self.seen.http2.store(true, Ordering::Relaxed);
            self.preface = None;
        }
    }

    fn poll_write_completed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unwritten.has_remaining() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.unwritten))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unwritten.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and discards until the client has closed or its time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut thrown_away = [0; 8 * 1024];
        while !self.read_closed {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer));
            self.read_closed = read.is_err() || buffer.filled().is_empty();
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let had_room = buffer.remaining() > 0;
        ready!(pin!(&mut this.inner).poll_read(cx, buffer))?;
        let came = buffer.filled().len() > before;
        this.read_closed |= had_room && !came;
        if came {
            this.seen.unanswered.store(true, Ordering::Relaxed);
            this.seen.at_rest.store(false, Ordering::Relaxed);
        }
        this.watch_preface(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_write_completed(cx))?;
        this.seen.unanswered.store(false, Ordering::Relaxed);
        let Some(refusals) = &this.refusals else {
            return Pin::new(&mut this.inner).poll_write(cx, bytes);
        };
        this.speaks.learn(bytes);
        match &mut this.speaks {
            Speaks::Http1 => {
                if let Some(completed) = complete(bytes, |status| refusals.body(status)) {
                    this.unwritten = completed;
                    return Poll::Ready(Ok(bytes.len()));
                }
                Pin::new(&mut this.inner).poll_write(cx, bytes)
            }
            Speaks::Http2(frames) => {
                let written = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes))?;
                frames.watch(&bytes[..written], |status| drop(refusals.body(status)));
                Poll::Ready(Ok(written))
            }
            Speaks::Unknown => Pin::new(&mut this.inner).poll_write(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        // An answer that hyper made itself must come in one piece to get a body.
        self.refusals.is_none() && self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_write_vectored() {
            self.seen.unanswered.store(false, Ordering::Relaxed);
            return Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(cx, first.map_or(&[], |slice| slice))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_completed(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(this.poll_write_completed(cx))?;
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        }
        // A client that is not sending anything cannot lose an answer, so there is nothing to wait
        // for.
        if !this.seen.at_rest.load(Ordering::Relaxed) {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

/// If `bytes` end with a refusal of the library, which has no body, returns them with a body. The
/// doors' own answers never look like that.
fn complete(bytes: &[u8], error_body: impl Fn(StatusCode) -> Bytes) -> Option<Bytes> {
    const EMPTY: &str = "content-length: 0\r\n";
    // Nearly all answers have a body, and end here.
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    // Earlier bytes are the end of the answer to a previous request on the connection.
    let head_at = bytes
        .windows(STATUS_LINE.len())
        .rposition(|window| window == STATUS_LINE)?;
    let head = str::from_utf8(&bytes[head_at..]).ok()?;
    let status = StatusCode::from_bytes(head.get(9..12)?.as_bytes()).ok()?;
    if !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    let (before, after) = head.split_once(EMPTY)?;
    let body = error_body(status);
    let length = body.len();
    let mut completed = BytesMut::from(&bytes[..head_at]);
    completed.extend_from_slice(before.as_bytes());
    completed.extend_from_slice(
        format!("content-type: application/json\r\ncontent-length: {length}\r\n").as_bytes(),
    );
    completed.extend_from_slice(after.as_bytes());
    completed.extend_from_slice(&body);
    Some(completed.freeze())
}

const STATUS_LINE: &[u8] = b"HTTP/1.1 ";

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn error_body(status: StatusCode) -> Bytes {
        format!("{{{}}}", status.as_u16()).into()
    }

    #[test]
    fn only_a_refusal_without_a_body_gets_one() {
        fn check(answer: &str, completed: Option<&str>) {
            let actual = complete(answer.as_bytes(), error_body);
            assert_eq!(actual.as_deref(), completed.map(str::as_bytes), "{answer}");
        }
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\
                    date: now\r\n\r\n";
        let whole = "HTTP/1.1 431 Request Header Fields Too Large\r\n\
         content-type: application/json\r\ncontent-length: 5\r\ndate: now\r\n\r\n{431}";
        check(bare, Some(whole));
        let earlier = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        check(
            &format!("{earlier}{bare}"),
            Some(&format!("{earlier}{whole}")),
        );
        check(earlier, None);
        check("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None);
        check("HTTP/1.1 404 Not Found\r\ncontent-length: 20\r\n\r\n", None);
        check(
            "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
            None,
        );
        check("", None);
    }

    #[tokio::test]
    async fn a_refusal_that_an_answer_over_http2_quotes_is_left_as_it_is() {
        const QUOTED: &[u8] = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        for (first, completed) in [
            (&[0, 0, 0, 4, 0, 0, 0, 0, 0][..], false),
            (b"HTTP/1.1 ", true),
        ] {
            let (inner, mut client) = tokio::io::duplex(1024);
            let refusals = Refusals {
                error_body: ErrorBody::new(|status, _| error_body(status)),
                peer: [127, 0, 0, 1].into(),
            };
            let mut stream = Stream::new(inner, Arc::default(), Some(refusals));
            stream.write_all(first).await.unwrap();
            stream.write_all(QUOTED).await.unwrap();
            stream.flush().await.unwrap();
            drop(stream);
            let mut written = Vec::new();
            client.read_to_end(&mut written).await.unwrap();
            assert_eq!(written.ends_with(b"{404}"), completed);
        }
    }
}
