//! Requests on their way in: how long a message may take, how much of unfinished ones may wait in
//! memory, and how many calls the services may hold that are open to all.
//!
//! | what | open services | all others |
//! |---|---|---|
//! | bytes of unfinished messages of one connection; of all | 1 MiB; 16 MiB | 16 MiB; 128 MiB |
//! | calls of one connection; of all | 1,000; 20,000 | as HTTP/2 allows |
//! | time for a request, on a request stream for each of its messages | 10 s | 10 s |

use std::{
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    BoxError,
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::{access, status::Failure};
use crate::server::Peer;

/// For a whole request; on a request stream, for each message from its first byte.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// What calls may hold that are not answered, or not even asked in full.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    connection_bytes: usize,
    bytes: usize,
    connection_calls: usize,
    calls: usize,
}

/// A health watch for each channel of a proxy is fine; filling the memory is not.
const OPEN: Bounds = Bounds {
    connection_bytes: 1 << 20,
    bytes: 16 << 20,
    connection_calls: 1_000,
    calls: 20_000,
};
/// A filter may have 1.5 MiB, and a thousand subscriptions may come at once.
const OTHERS: Bounds = Bounds {
    connection_bytes: 16 << 20,
    bytes: 128 << 20,
    connection_calls: usize::MAX,
    calls: usize::MAX,
};

/// The counts of all calls. Clones are the same.
#[derive(Clone)]
pub(super) struct Incoming {
    open: Arc<Counts>,
    others: Arc<Counts>,
}

impl Default for Incoming {
    fn default() -> Self {
        Self {
            open: Arc::new(Counts::new(OPEN)),
            others: Arc::new(Counts::new(OTHERS)),
        }
    }
}

/// The middleware.
pub(super) async fn bound(
    State(incoming): State<Incoming>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let path = request.uri().path();
    let (counts, is_stream) = match access::is_open(path) {
        true => (incoming.open, path.contains(".ServerReflection/")),
        false => (incoming.others, false),
    };
    let peer = request.extensions().get().map(|&Peer(peer)| peer);
    let call = Arc::new(counts.begin(peer)?);
    let request = request.map(|body| {
        let coming = Coming {
            body,
            call: Arc::clone(&call),
            framing: Framing::default(),
            is_stream,
            timer: (!is_stream).then(|| Box::pin(sleep(REQUEST_TIME))),
        };
        Body::new(coming)
    });
    let response = next.run(request).await;
    Ok(response.map(|body| Body::new(Answer { body, _call: call })))
}

/// What calls hold at the moment.
struct Counts {
    bounds: Bounds,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: Share,
    /// By the connection's peer, which it has for itself while it is open.
    connections: HashMap<Option<SocketAddr>, Share>,
}

#[derive(Default)]
struct Share {
    calls: usize,
    bytes: usize,
}

impl Counts {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            held: Mutex::default(),
        }
    }

    fn begin(self: Arc<Self>, peer: Option<SocketAddr>) -> Result<Call, Failure> {
        let Bounds {
            connection_calls,
            calls,
            ..
        } = self.bounds;
        let mut held = self.lock();
        let Held { all, connections } = &mut *held;
        let of_connection = connections.get(&peer).map_or(0, |share| share.calls);
        if of_connection >= connection_calls || all.calls >= calls {
            let limit = if all.calls >= calls {
                calls
            } else {
                connection_calls
            };
            return Err(Failure::RequestLimit {
                what: "open calls",
                limit,
            });
        }
        all.calls += 1;
        connections.entry(peer).or_default().calls += 1;
        drop(held);
        Ok(Call {
            counts: self,
            peer,
            bytes: Mutex::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call, counted until it is dropped.
struct Call {
    counts: Arc<Counts>,
    peer: Option<SocketAddr>,
    /// Of its unfinished message.
    bytes: Mutex<usize>,
}

impl Call {
    /// From now on the call has so many bytes of an unfinished message.
    fn hold(&self, bytes: usize) -> Result<(), Failure> {
        let mut own = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.counts.lock();
        let Held { all, connections } = &mut *held;
        let share = connections.entry(self.peer).or_default();
        all.bytes = all.bytes - *own + bytes;
        share.bytes = share.bytes - *own + bytes;
        *own = bytes;
        let bounds = self.counts.bounds;
        let limit = match (
            share.bytes > bounds.connection_bytes,
            all.bytes > bounds.bytes,
        ) {
            (false, false) => return Ok(()),
            (true, _) => bounds.connection_bytes,
            (false, true) => bounds.bytes,
        };
        Err(Failure::RequestLimit {
            what: "bytes of unfinished requests",
            limit,
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let own = *self.bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.counts.lock();
        let Held { all, connections } = &mut *held;
        all.calls -= 1;
        all.bytes -= own;
        if let Some(share) = connections.get_mut(&self.peer) {
            share.calls -= 1;
            share.bytes -= own;
            if share.calls == 0 {
                connections.remove(&self.peer);
            }
        }
    }
}

/// Where in a message the bytes so far have ended: each has a flag, four bytes of length, and its
/// content.
#[derive(Debug, Default)]
struct Framing {
    head: Vec<u8>,
    /// What is to come of the content, once the head is complete.
    left: usize,
    /// Bytes of the message that is not complete.
    unfinished: usize,
}

impl Framing {
    const HEAD_BYTES: usize = 5;

    fn take(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let wanted = match self.left {
                0 => Self::HEAD_BYTES - self.head.len(),
                left => left,
            };
            let (now, rest) = data.split_at(wanted.min(data.len()));
            data = rest;
            self.unfinished += now.len();
            if self.left > 0 {
                self.left -= now.len();
            } else {
                self.head.extend_from_slice(now);
                let Ok([_, length @ ..]) = <[u8; Self::HEAD_BYTES]>::try_from(&self.head[..])
                else {
                    continue;
                };
                self.head.clear();
                self.left = u32::from_be_bytes(length) as usize;
            }
            if self.left == 0 {
                self.unfinished = 0;
            }
        }
    }
}

/// A request's body.
struct Coming {
    body: Body,
    call: Arc<Call>,
    framing: Framing,
    /// Whether messages may come at any time.
    is_stream: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Coming {
    fn take(&mut self, data: &[u8]) -> Result<(), Failure> {
        let began = self.framing.unfinished;
        self.framing.take(data);
        let unfinished = self.framing.unfinished;
        if self.is_stream && unfinished == 0 {
            self.timer = None;
        } else if self.is_stream && (began == 0 || unfinished <= data.len()) {
            self.timer = Some(Box::pin(sleep(REQUEST_TIME)));
        }
        self.call.hold(unfinished)
    }
}

impl http_body::Body for Coming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let refuse = |failure| Poll::Ready(Some(Err(Status::from(failure).into())));
        if let Some(timer) = &mut this.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            return refuse(Failure::RequestTimeout);
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => {
                this.timer = None;
                return Poll::Ready(None);
            }
        };
        if let Some(data) = frame.data_ref()
            && let Err(failure) = this.take(data)
        {
            return refuse(failure);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body; the call is open until it has been taken.
struct Answer {
    body: Body,
    _call: Arc<Call>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        bytes.resize(bytes.len() + length, 7);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_unfinished_is_what_came_of_the_last_message(
            lengths in prop::collection::vec(0usize..40, 1..6),
            cut in 0usize..200,
            pieces in prop::collection::vec(1usize..20, 1..50),
        ) {
            let messages: Vec<Vec<u8>> = lengths.into_iter().map(message).collect();
            let all = messages.concat();
            let mut came = &all[..cut.min(all.len())];
            let mut expected = came.len();
            for message in &messages {
                if expected >= message.len() {
                    expected -= message.len();
                } else {
                    break;
                }
            }
            let mut framing = Framing::default();
            let mut pieces = pieces.into_iter().cycle();
            while !came.is_empty() {
                let (now, rest) = came.split_at(pieces.next().unwrap().min(came.len()));
                framing.take(now);
                came = rest;
            }
            prop_assert_eq!(framing.unfinished, expected);
        }
    }

    fn counts() -> Arc<Counts> {
        Arc::new(Counts::new(Bounds {
            connection_bytes: 10,
            bytes: 15,
            connection_calls: 2,
            calls: 3,
        }))
    }

    fn peer(port: u16) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], port).into())
    }

    fn limit<T>(result: Result<T, Failure>) -> Option<usize> {
        match result {
            Err(Failure::RequestLimit { limit, .. }) => Some(limit),
            _ => None,
        }
    }

    #[test]
    fn calls_and_bytes_are_bounded_for_each_connection_and_in_all() {
        let counts = counts();
        let begin = |port| counts.clone().begin(peer(port));
        let first = begin(1).unwrap();
        let second = begin(1).unwrap();
        assert_eq!(limit(begin(1)), Some(2));
        let other = begin(2).unwrap();
        assert_eq!(limit(begin(3)), Some(3));

        assert!(first.hold(6).is_ok());
        assert!(second.hold(4).is_ok());
        assert_eq!(limit(second.hold(5)), Some(10));
        assert!(second.hold(0).is_ok());
        assert!(other.hold(9).is_ok());
        assert_eq!(limit(other.hold(10)), Some(15));
        drop((first, second, other));
        let held = counts.lock();
        assert!(held.connections.is_empty() && held.all.calls == 0 && held.all.bytes == 0);
    }
}
