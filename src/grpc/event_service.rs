//! `EventService`: checks, asks the log or the fan-out, and hands over.

use futures_util::stream::{self, Empty};
use prost::Message;
use tokio::sync::Semaphore;
use tonic::{
    Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
};

use super::{
    PAGE_BYTES_MAX,
    access::granted,
    deadline::Deadline,
    page_token::{PageToken, Scope},
    request,
    status::Failure,
    stream::Outgoing,
};
use crate::{
    event::{Epoch, EventId, Sequence, StoredEvent},
    fanout::{Encoding, Fanout},
    filter,
    log::{Lane, Query, ReadError, Reader, cursor},
    proto::{
        Event, GetEventRequest, GetEventResponse, ListEventsRequest, ListEventsResponse,
        SubscribeRequest, SubscribeResponse, event_service_server::EventService,
    },
    server::Peer,
    view::View,
};

/// Reads that one page costs at the most: a filter that matches little ends a page early, with a
/// token, after a million events.
const PAGE_READS_MAX: usize = 200;

pub(super) struct Events {
    pub epoch: Epoch,
    pub reader: Reader,
    pub fanout: Fanout,
    /// How streams may be compressed, what is liked best first.
    pub compression: Vec<Encoding>,
    /// Places of lists.
    pub lists: Semaphore,
}

/// Lists that are made at the same time, each up to [`PAGE_BYTES_MAX`] large; the others wait.
/// Which of them reads is the log's to say: see [`Lane`].
pub(super) const LISTS_MAX: usize = 32;

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
        let deadline = request.extensions().get::<Deadline>().cloned();
        let encoding = self.encoding(request.metadata());
        let (_, message) = granted(request)?;
        let request = request::subscribe(message, encoding, peer, &filter::Scope::ALL)?;
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
        let (_, message) = granted(request)?;
        Ok(Response::new(self.list(message).await?))
    }

    async fn get_event(
        &self,
        request: Request<GetEventRequest>,
    ) -> Result<Response<GetEventResponse>, Status> {
        let id = granted(request)?.1.id;
        let not_found = || Failure::EventNotFound {
            id: id.chars().take(64).collect(),
        };
        let parsed: EventId = id.parse().map_err(|_| not_found())?;
        let stored = self
            .reader
            .get(parsed)
            .await
            .map_err(|error| Failure::read(&error, self.epoch))?;
        let event = decode(View::Raw, &stored.ok_or_else(not_found)?)?;
        Ok(Response::new(GetEventResponse { event: Some(event) }))
    }
}

impl Events {
    /// The best that the client accepts (gRPC over HTTP/2, "Message-Accept-Encoding").
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

    async fn list(&self, request: ListEventsRequest) -> Result<ListEventsResponse, Failure> {
        let asked = request::list_events(&request, &filter::Scope::ALL)?;
        let scope = Scope::new(
            "ListEvents",
            &ListEventsRequest {
                // A selector of nothing has no filter, and every other has one.
                filter: asked.selector.as_filter().map(|filter| filter.to_proto()),
                page_size: 0,
                page_token: String::new(),
                view: crate::proto::EventView::from(asked.view).into(),
                ..request
            },
            self.epoch,
        );
        let token = scope.decode(&request.page_token)?;
        let read_failure = |error: ReadError| Failure::read(&error, self.epoch);

        // The semaphore is never closed.
        let _place = self.lists.acquire().await;
        let bounds = self.reader.bounds().await.map_err(read_failure)?;
        let snapshot = token.map_or(bounds.latest, |token| token.snapshot);
        let mut after = bounds.earliest.before.sequence;
        let mut through = snapshot.sequence;
        if let Some(time) = asked.start_time {
            after = after.max(
                self.reader
                    .before_time(time)
                    .await
                    .map_err(read_failure)?
                    .sequence,
            );
        }
        if let Some(time) = asked.end_time {
            through = through.min(
                self.reader
                    .before_time(time)
                    .await
                    .map_err(read_failure)?
                    .sequence,
            );
        }
        match token {
            Some(token) if asked.newest_first => {
                through = through.min(Sequence(token.at.saturating_sub(1)))
            }
            Some(token) => after = after.max(Sequence(token.at)),
            None => {}
        }

        let mut page = Page::default();
        let mut complete = after >= through;
        let mut at = Sequence::ZERO;
        for _ in 0..PAGE_READS_MAX {
            if complete || page.events.len() >= asked.page_size {
                break;
            }
            let query = Query {
                lane: Lane::Page,
                selector: asked.selector.clone(),
                after,
                through,
                newest_first: asked.newest_first,
                events_max: asked.page_size - page.events.len(),
                bytes_max: PAGE_BYTES_MAX.saturating_sub(page.bytes).max(1),
                with_raw: asked.view.needs_raw(),
            };
            let batch = match self.reader.read(query).await {
                Ok(batch) => batch,
                // Retention has moved on since the bounds were read.
                Err(ReadError::Expired(earliest)) => {
                    after = after.max(earliest.before.sequence);
                    complete = after >= through;
                    continue;
                }
                Err(error) => return Err(read_failure(error)),
            };
            complete = batch.complete;
            at = batch.covered.sequence;
            if let Some(cut) = page.take(asked.view, &batch.events)? {
                complete = false;
                at = cut;
                break;
            }
            match asked.newest_first {
                true => through = Sequence(at.0.saturating_sub(1)),
                false => after = at,
            }
        }
        Ok(ListEventsResponse {
            events: page.events,
            next_page_token: if complete {
                String::new()
            } else {
                scope.encode(&PageToken { snapshot, at: at.0 })
            },
            cursor: cursor::encode(self.epoch, &snapshot),
        })
    }
}

/// Its name in gRPC; none if there is nothing to say.
fn encoding_name(encoding: Encoding) -> Option<&'static str> {
    match encoding {
        Encoding::Identity => None,
        Encoding::Gzip => Some("gzip"),
        Encoding::Zstd => Some("zstd"),
    }
}

#[derive(Default)]
struct Page {
    events: Vec<Event>,
    bytes: usize,
    /// The last event taken.
    at: Sequence,
}

impl Page {
    /// Takes events until the page is full. If some are left, says after which event the next page
    /// begins.
    fn take(&mut self, view: View, events: &[StoredEvent]) -> Result<Option<Sequence>, Failure> {
        for stored in events {
            let event = decode(view, stored)?;
            // Key and length of a repeated field take at most six bytes.
            let bytes = event.encoded_len() + 6;
            if !self.events.is_empty() && self.bytes + bytes > PAGE_BYTES_MAX {
                return Ok(Some(self.at));
            }
            self.events.push(event);
            self.bytes += bytes;
            self.at = stored.sequence;
        }
        Ok(None)
    }
}

fn decode(view: View, stored: &StoredEvent) -> Result<Event, Failure> {
    let damaged = |error: prost::DecodeError| {
        tracing::error!(sequence = stored.sequence.0, %error, "the log is damaged");
        Failure::LogDamaged
    };
    Event::decode(view.render(stored).map_err(damaged)?).map_err(damaged)
}
