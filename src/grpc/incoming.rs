//! Bounds for requests: the time that they take to arrive, the memory that incomplete ones hold,
//! and the number of calls to the services that need no credentials.
//!
//! | what | open services | all others |
//! |---|---|---|
//! | bytes of incomplete messages: one connection; all | 1 MiB; 16 MiB | 16 MiB; 128 MiB |
//! | calls: one connection; all | 1,000; 20,000 | as HTTP/2 allows |
//! | time for a request; for each message of a request stream | 10 s | 10 s |

mod framing;
mod held;

use std::{
    pin::Pin,
    sync::Arc,
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

use framing::Framing;
use held::{Call, Counts, OPEN, OTHERS};

/// The time for a whole request; on a request stream, for each message from its first byte.
const REQUEST_TIME: Duration = Duration::from_secs(10);

/// The counts of all calls. Clones share them.
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

/// Bounds how long and how large a request message may be.
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

struct Coming {
    body: Body,
    call: Arc<Call>,
    framing: Framing,
    /// Whether the client may wait between messages for as long as it likes.
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

/// The body of an answer. The call counts as open until the client has received all of it.
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
