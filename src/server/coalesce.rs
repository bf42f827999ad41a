//! Joins the writes of one turn of a connection.
//!
//! The HTTP/2 library writes and flushes each frame separately: a chunk of 40 KiB is three writes
//! to the socket, each with the cost of a TCP segment. Here they are joined in a buffer. It is
//! written when the connection's turn is over, or when it is full, so nothing waits longer than
//! that turn. docs/performance.md has the measurements.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that a turn may join. When the buffer is full, writes wait for the socket.
const BUFFER_BYTES: usize = 64 * 1024;
/// The most bytes that are read ahead to learn whether a client has gone. Clients that wait for an
/// answer usually send nothing.
const AHEAD_BYTES: usize = 512;
/// A larger buffer is freed when it is empty, since most connections are idle most of the time.
const KEPT_BYTES: usize = 1024;

/// The connection's handle: a byte stream that leaves flushing to the [`Outlet`].
pub(super) struct Coalesced<S>(Arc<Mutex<Inner<S>>>);

/// The handle of the task that polls the connection.
pub(super) struct Outlet<S>(Arc<Mutex<Inner<S>>>);

struct Inner<S> {
    stream: S,
    buffer: Vec<u8>,
    /// How many bytes of the buffer are written.
    written: usize,
    /// Whether written bytes may still be in the stream's own buffer, as with TLS.
    unflushed: bool,
    /// Bytes that were read before the connection asked for them: see [`Outlet::poll_gone`].
    ahead: Vec<u8>,
    /// How the stream ended during that read.
    ended: Option<io::Result<()>>,
}

/// Makes both handles of a stream.
pub(super) fn coalesced<S>(stream: S) -> (Coalesced<S>, Outlet<S>) {
    let inner = Arc::new(Mutex::new(Inner {
        stream,
        buffer: Vec::new(),
        written: 0,
        unflushed: false,
        ahead: Vec::new(),
        ended: None,
    }));
    (Coalesced(inner.clone()), Outlet(inner))
}

impl<S: AsyncWrite + Unpin> Outlet<S> {
    /// Writes what the turn has joined. To be called after each poll of the connection, in the same
    /// task: if the socket is full, that task is woken when it has room. An error is reported by
    /// the connection's next write.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>) {
        let _ = lock(&self.0).poll_flush(cx);
    }
}

impl<S: AsyncRead + Unpin> Outlet<S> {
    /// Whether the client has closed its side. For the time in which the connection does not read,
    /// because a request is in flight. Bytes that arrive meanwhile are kept for the connection.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> bool {
        let inner = &mut *lock(&self.0);
        if inner.ended.is_some() || !inner.ahead.is_empty() {
            return inner.ended.is_some();
        }
        let mut read = [0; AHEAD_BYTES];
        let mut read = ReadBuf::new(&mut read);
        match Pin::new(&mut inner.stream).poll_read(cx, &mut read) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) if !read.filled().is_empty() => inner.ahead.extend(read.filled()),
            Poll::Ready(ended) => inner.ended = Some(ended),
        }
        // The connection may wait for the bytes that were read here.
        cx.waker().wake_by_ref();
        inner.ended.is_some()
    }
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            let rest = &self.buffer[self.written..];
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
            self.unflushed = true;
        }
        self.written = 0;
        self.buffer.clear();
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Room in the buffer, at least one byte. If there is none, waits for the socket.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.len() >= BUFFER_BYTES {
            ready!(self.poll_drain(cx))?;
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(KEPT_BYTES);
        }
        Poll::Ready(Ok(BUFFER_BYTES - self.buffer.len()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *lock(&self.0);
        if !inner.ahead.is_empty() {
            let taken = inner.ahead.len().min(buffer.remaining());
            buffer.put_slice(&inner.ahead[..taken]);
            inner.ahead.drain(..taken);
            return Poll::Ready(Ok(()));
        }
        if let Some(ended) = &mut inner.ended {
            return Poll::Ready(std::mem::replace(ended, Ok(())));
        }
        Pin::new(&mut inner.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.0);
        let mut room = ready!(inner.poll_room(cx))?;
        let before = room;
        for slice in slices {
            let taken = slice.len().min(room);
            inner.buffer.extend_from_slice(&slice[..taken]);
            room -= taken;
        }
        Poll::Ready(Ok(before - room))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The outlet flushes when the turn is over.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.0);
        ready!(inner.poll_flush(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

fn lock<S>(inner: &Mutex<Inner<S>>) -> MutexGuard<'_, Inner<S>> {
    // One task has both handles, so nobody ever waits here.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// A socket that counts writes, and accepts a limited number of bytes at a time.
    #[derive(Default)]
    struct Socket {
        out: Vec<u8>,
        writes: usize,
        takes: usize,
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.takes);
            self.out.extend_from_slice(&bytes[..taken]);
            self.writes += 1;
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn the_writes_of_a_turn_go_out_together() {
        let socket = Socket {
            takes: usize::MAX,
            ..Socket::default()
        };
        let (mut stream, outlet) = coalesced(socket);
        for frame in [&b"one "[..], b"two ", b"three"] {
            stream.write_all(frame).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert_eq!(lock(&outlet.0).stream.writes, 0);
        outlet.poll_out(&mut Context::from_waker(Waker::noop()));
        let inner = lock(&outlet.0);
        assert_eq!(
            (inner.stream.writes, &inner.stream.out[..]),
            (1, &b"one two three"[..])
        );
    }

    proptest! {
        #[test]
        fn every_byte_goes_out_once_and_in_order(
            sizes in prop::collection::vec(1usize..100_000, 1..8),
            takes in 1usize..100_000,
        ) {
            let (mut stream, outlet) = coalesced(Socket { takes, ..Socket::default() });
            let bytes = sizes.iter().zip(1..).map(|(&size, byte)| vec![byte; size]);
            let bytes: Vec<Vec<u8>> = bytes.collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for part in &bytes {
                    stream.write_all(part).await.unwrap();
                    outlet.poll_out(&mut Context::from_waker(Waker::noop()));
                }
                stream.shutdown().await.unwrap();
            });
            prop_assert_eq!(&lock(&outlet.0).stream.out, &bytes.concat());
        }
    }
}
