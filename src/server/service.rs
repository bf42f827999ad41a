//! What a door serves, and a layer between it and hyper: it gives the service the client's address,
//! and tells the connection when requests begin and end.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service, ServiceExt, util::Oneshot};

use super::{
    Peer,
    places::{InFlight, Place},
    stream::Seen,
};

/// The service of a door. Every service with these bounds implements it.
pub trait Serves:
    Service<
        Request<Incoming>,
        Response = Response<<Self as Serves>::Body>,
        Future: Send + 'static,
        Error: Into<BoxError>,
    > + Clone
    + Send
    + 'static
{
    /// The body of an answer.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> Serves for S
where
    S: Service<
            Request<Incoming>,
            Response = Response<B>,
            Future: Send + 'static,
            Error: Into<BoxError>,
        > + Clone
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
}

/// A door's service for one connection.
#[derive(Clone)]
pub(super) struct Introduced<S> {
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) seen: Arc<Seen>,
    pub(super) place: Arc<Place>,
    pub(super) leaving: CancellationToken,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Introduced<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Answering<Oneshot<S, Request<Incoming>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.seen.request();
        request.extensions_mut().insert(self.peer);
        let unread = Unread(Arc::clone(&self.seen));
        request.extensions_mut().insert(unread);
        // HTTP/2 has GOAWAY for this, and drops the request of a client that has gone.
        let http1 = request.version() < Version::HTTP_2;
        if http1 {
            request.extensions_mut().insert(self.seen.waits());
        }
        Answering {
            leaving: http1.then(|| self.leaving.clone()),
            seen: Arc::clone(&self.seen),
            answering: self.service.clone().oneshot(request),
            in_flight: Some(self.place.request()),
        }
    }
}

/// In the extensions of every request. Tells the connection that a body which was still being read
/// after its answer has arrived completely.
#[derive(Clone, Debug)]
pub(crate) struct Unread(Arc<Seen>);

impl Unread {
    /// The bytes after the answer were that body, and not another request.
    pub(crate) fn came(self) {
        self.0.came();
    }
}

pin_project! {
    /// A request that has no answer yet.
    pub(super) struct Answering<F> {
        #[pin]
        answering: F,
        leaving: Option<CancellationToken>,
        seen: Arc<Seen>,
        in_flight: Option<InFlight>,
    }
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Answer<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answered = ready!(this.answering.poll(cx));
        this.seen.answered();
        let mut response = answered?;
        if this
            .leaving
            .as_ref()
            .is_some_and(CancellationToken::is_cancelled)
        {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        let in_flight = this.in_flight.take();
        Poll::Ready(Ok(response.map(|body| Answer { body, in_flight })))
    }
}

pin_project! {
    /// An answer's body. The request is in flight until hyper has taken all of it.
    pub(super) struct Answer<B> {
        #[pin]
        body: B,
        in_flight: Option<InFlight>,
    }
}

impl<B: Body> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
