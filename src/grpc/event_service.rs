//! `EventService`: checks requests and passes them to the log or the fan-out.

use futures_util::stream::{self, Empty};
use tonic::{
    Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
};

use super::{
    access::granted, deadline::Deadline, list::Lists, request, status::Failure, stream::Outgoing,
};
use crate::{
    event::{Epoch, EventId},
    fanout::{Encoding, Fanout},
    log::Reader,
    proto::{
        GetEventRequest, GetEventResponse, ListEventsRequest, ListEventsResponse, SubscribeRequest,
        SubscribeResponse, event_service_server::EventService,
    },
    server::Peer,
    view::View,
};

pub(super) struct Events {
    pub epoch: Epoch,
    pub reader: Reader,
    pub fanout: Fanout,
    /// How streams may be compressed, in order of preference.
    pub compression: Vec<Encoding>,
    pub lists: Lists,
}

#[tonic::async_trait]
impl EventService for Events {
    /// Never yields: [`super::stream::swap`] puts the subscription's own frames in its place.
    type SubscribeStream = Empty<Result<SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let peer = request
            .extensions()
            .get::<Peer>()
            .map(|peer| peer.0.to_string())
            .unwrap_or_default();
        let deadline = request.extensions().get::<Deadline>().copied();
        let encoding = self.encoding(request.metadata());
        let (grant, message) = granted(request)?;
        let request = request::subscribe(message, encoding, peer, &grant)?;
        let subscription = self
            .fanout
            .subscribe(request)
            .await
            .map_err(|error| Failure::subscribe(&error, self.epoch))?;
        let mut response = Response::new(stream::empty());
        if let Some(name) = encoding_name(encoding) {
            response
                .metadata_mut()
                .insert("grpc-encoding", MetadataValue::from_static(name));
        }
        response
            .extensions_mut()
            .insert(Outgoing::new(subscription, deadline, self.epoch));
        Ok(response)
    }

    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let (grant, message) = granted(request)?;
        Ok(Response::new(self.lists.page(message, &grant).await?))
    }

    async fn get_event(
        &self,
        request: Request<GetEventRequest>,
    ) -> Result<Response<GetEventResponse>, Status> {
        let (grant, GetEventRequest { id }) = granted(request)?;
        let not_found = || Failure::EventNotFound {
            id: id.chars().take(64).collect(),
        };
        let parsed: EventId = id.parse().map_err(|_| not_found())?;
        let stored = self
            .reader
            .get(parsed)
            .await
            .map_err(|error| Failure::read(&error, self.epoch))?
            .filter(|stored| grant.scope.allows(&stored.keys))
            .ok_or_else(not_found)?;
        let event = View::Raw
            .show(grant.redaction, &stored)
            .map_err(|error| Failure::damaged(stored.sequence, &error))?;
        Ok(Response::new(GetEventResponse { event: Some(event) }))
    }
}

impl Events {
    /// The first of our preferred encodings that the client accepts (gRPC over HTTP/2,
    /// "Message-Accept-Encoding").
    fn encoding(&self, metadata: &MetadataMap) -> Encoding {
        let accepted = metadata.get_all("grpc-accept-encoding");
        let accepted: Vec<&str> = accepted
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|names| names.split(','))
            .map(str::trim)
            .collect();
        let taken = |&encoding: &Encoding| {
            encoding_name(encoding).is_some_and(|name| accepted.contains(&name))
        };
        self.compression
            .iter()
            .copied()
            .find(taken)
            .unwrap_or(Encoding::Identity)
    }
}

/// An encoding's name in gRPC; none for identity, which is not named.
fn encoding_name(encoding: Encoding) -> Option<&'static str> {
    match encoding {
        Encoding::Identity => None,
        Encoding::Gzip => Some("gzip"),
        Encoding::Zstd => Some("zstd"),
    }
}
