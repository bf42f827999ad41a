//! A subscription as the body of an HTTP/2 response.
//!
//! The generated handler answers with an empty stream, and with an [`Outgoing`] in the response's
//! extensions. [`swap`] replaces that stream by the subscription. So tonic still decodes requests
//! and reports errors, but frames skip its encoder, which takes one message at a time: many
//! messages go out in one chunk, as they were framed. This file sends the trailers.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::{Sleep, sleep_until};
use tonic::Status;

use super::{deadline::Deadline, status::Failure};
use crate::{
    event::Epoch,
    fanout::{EndReason, Subscription},
};

/// A subscription on its way from the handler to the body. Extensions must be `Clone`, so all
/// clones share the subscription, and it is taken out once.
#[derive(Clone)]
pub(super) struct Outgoing(Arc<Mutex<Option<Sending>>>);

struct Sending {
    subscription: Subscription,
    deadline: Option<(Pin<Box<Sleep>>, EndReason)>,
    epoch: Epoch,
}

impl Outgoing {
    pub(super) fn new(
        subscription: Subscription,
        deadline: Option<Deadline>,
        epoch: Epoch,
    ) -> Self {
        let deadline = deadline.map(|end| (Box::pin(sleep_until(end.at)), end.reason));
        Self(Arc::new(Mutex::new(Some(Sending {
            subscription,
            deadline,
            epoch,
        }))))
    }
}

/// Replaces the empty stream of a response that carries a subscription.
pub(super) fn swap(mut response: Response<axum::body::Body>) -> Response<axum::body::Body> {
    let outgoing = response.extensions_mut().remove::<Outgoing>();
    let sending = outgoing
        .and_then(|Outgoing(slot)| slot.lock().unwrap_or_else(PoisonError::into_inner).take());
    match sending {
        Some(sending) => response.map(|_| axum::body::Body::new(StreamBody::new(sending.frames()))),
        None => response,
    }
}

impl Sending {
    fn frames(self) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
        stream::unfold(Some(self), async |sending| {
            let mut sending = sending?;
            Some(match sending.next().await {
                Ok(bytes) => (Ok(Frame::data(bytes)), Some(sending)),
                Err(failure) => (Ok(Frame::trailers(trailers(failure))), None),
            })
        })
    }

    async fn next(&mut self) -> Result<Bytes, Failure> {
        let deadline = &mut self.deadline;
        let passed = async {
            match deadline {
                Some((timer, reason)) => {
                    timer.await;
                    *reason
                }
                None => std::future::pending().await,
            }
        };
        let next = tokio::select! {
            // The deadline comes first: else a subscription that always has messages would never
            // end.
            biased;
            reason = passed => {
                self.subscription.end(reason);
                Err(reason)
            }
            next = self.subscription.next() => next,
        };
        next.map_err(|reason| Failure::end(reason, self.epoch))
    }
}

fn trailers(failure: Failure) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(status) = Status::from(failure).add_header(&mut trailers) {
        tracing::error!(%status, "cannot write a status");
        trailers.insert("grpc-status", (tonic::Code::Internal as i32).into());
    }
    trailers
}
