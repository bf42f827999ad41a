//! `ListEvents`: pages of past events.

use prost::Message;
use tokio::sync::Semaphore;

use super::{
    PAGE_BYTES_MAX,
    page_token::{PageToken, Pages},
    request::{self, ListEvents},
    status::Failure,
};
use crate::{
    auth::Grant,
    event::{Epoch, Position, Sequence, StoredEvent},
    log::{Bounds, Damage, Lane, Query, ReadError, Reader, cursor},
    proto::{Event, EventView, ListEventsRequest, ListEventsResponse},
    view::{Redaction, View},
};

/// The most lists that are made at the same time, each of up to [`PAGE_BYTES_MAX`]; others wait.
/// The log decides which of them reads: see [`Lane`].
const LISTS_MAX: usize = 32;

/// The most reads for one page. A filter that matches little ends a page after a million events,
/// with a token for the next one.
const PAGE_READS_MAX: usize = 200;

pub(super) struct Lists {
    epoch: Epoch,
    reader: Reader,
    places: Semaphore,
}

impl Lists {
    pub(super) fn new(epoch: Epoch, reader: Reader) -> Self {
        Self {
            epoch,
            reader,
            places: Semaphore::new(LISTS_MAX),
        }
    }

    /// The page that a caller asks for, with the events that it may see.
    pub(super) async fn page(
        &self,
        mut request: ListEventsRequest,
        grant: &Grant,
    ) -> Result<ListEventsResponse, Failure> {
        let asked = request::list_events(&request, &grant.scope)?;
        let token = std::mem::take(&mut request.page_token);
        let pages = self.pages(&asked, request);
        let token = pages.decode(&token)?;

        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let bounds = self.reader.bounds().await.map_err(self.failure())?;
        let snapshot = token.map_or(bounds.latest, |token| token.snapshot);
        let mut left = self.stretch(&asked, &bounds, &snapshot).await?;
        if let Some(token) = token {
            left.skip(Sequence(token.at));
        }
        let token = |at: Sequence| pages.encode(&PageToken { snapshot, at: at.0 });
        let (page, next) = match self.read(&asked, grant.redaction, left).await? {
            Ok(read) => read,
            Err(damage) => {
                return Err(Failure::LogDamaged {
                    sequence: Some(damage.sequence),
                    past: Some(("next_page_token", token(damage.end))),
                });
            }
        };
        let next = next.map(token);
        Ok(ListEventsResponse {
            events: page.events,
            next_page_token: next.unwrap_or_default(),
            cursor: cursor::encode(self.epoch, &snapshot),
        })
    }

    /// The request that page tokens belong to: without page size and token, and with the filter
    /// that the caller's scope leaves. So a token is refused under another scope.
    fn pages(&self, asked: &ListEvents, request: ListEventsRequest) -> Pages {
        let request = ListEventsRequest {
            // The selector has no filter only if it matches no event.
            filter: asked.selector.as_filter().map(|filter| filter.to_proto()),
            page_size: 0,
            view: EventView::from(asked.view).into(),
            ..request
        };
        Pages::of("ListEvents", &request, self.epoch)
    }

    /// The stretch of the log that all pages of the list cover.
    async fn stretch(
        &self,
        asked: &ListEvents,
        bounds: &Bounds,
        snapshot: &Position,
    ) -> Result<Stretch, Failure> {
        let mut stretch = Stretch {
            after: bounds.earliest.before.sequence,
            through: snapshot.sequence,
            newest_first: asked.newest_first,
        };
        if let Some(time) = asked.start_time {
            let before = self
                .reader
                .before_time(time)
                .await
                .map_err(self.failure())?;
            stretch.begin_after(before.sequence);
        }
        if let Some(time) = asked.end_time {
            let last = self
                .reader
                .before_time(time)
                .await
                .map_err(self.failure())?;
            stretch.through = stretch.through.min(last.sequence);
        }
        Ok(stretch)
    }

    /// Reads a page. If events may be left after it, also returns the last place of the page. None
    /// is read if its first event is damaged.
    async fn read(
        &self,
        asked: &ListEvents,
        redaction: Redaction,
        mut left: Stretch,
    ) -> Result<Result<(Page, Option<Sequence>), Damage>, Failure> {
        let mut page = Page::new(asked.view, redaction);
        for _ in 0..PAGE_READS_MAX {
            if left.is_empty() {
                return Ok(Ok((page, None)));
            }
            if page.events.len() >= asked.page_size {
                break;
            }
            let query = Query {
                lane: Lane::Page,
                selector: asked.selector.clone(),
                after: left.after,
                through: left.through,
                newest_first: left.newest_first,
                events_max: asked.page_size - page.events.len(),
                bytes_max: PAGE_BYTES_MAX.saturating_sub(page.bytes).max(1),
                with_raw: asked.view.needs_raw(redaction),
            };
            let batch = match self.reader.read(query).await {
                Ok(batch) => batch,
                // Retention has removed events since the bounds were read.
                Err(ReadError::Expired(earliest)) => {
                    left.begin_after(earliest.before.sequence);
                    continue;
                }
                // The next page meets the damage first.
                Err(ReadError::Damaged { .. }) if !page.events.is_empty() => break,
                Err(ReadError::Damaged {
                    damage: Some(damage),
                    ..
                }) => return Ok(Err(damage)),
                Err(error) => return Err(self.failure()(error)),
            };
            if let Some(last) = page.take(&batch.events)? {
                left.skip(last);
                break;
            }
            if batch.complete {
                return Ok(Ok((page, None)));
            }
            left.skip(batch.covered.sequence);
        }
        Ok(Ok((page, Some(left.last()))))
    }

    fn failure(&self) -> impl Fn(ReadError) -> Failure + use<> {
        let epoch = self.epoch;
        move |error| Failure::read(&error, epoch)
    }
}

/// What is left to read, from either end.
struct Stretch {
    after: Sequence,
    through: Sequence,
    newest_first: bool,
}

impl Stretch {
    fn is_empty(&self) -> bool {
        self.after >= self.through
    }

    fn begin_after(&mut self, place: Sequence) {
        self.after = self.after.max(place);
    }

    /// Removes everything up to `last`, in the order of the list.
    fn skip(&mut self, last: Sequence) {
        match self.newest_first {
            true => self.through = self.through.min(Sequence(last.0.saturating_sub(1))),
            false => self.begin_after(last),
        }
    }

    /// The last place that was removed, in the order of the list.
    fn last(&self) -> Sequence {
        match self.newest_first {
            true => Sequence(self.through.0.saturating_add(1)),
            false => self.after,
        }
    }
}

struct Page {
    view: View,
    redaction: Redaction,
    events: Vec<Event>,
    bytes: usize,
}

impl Page {
    fn new(view: View, redaction: Redaction) -> Self {
        Self {
            view,
            redaction,
            events: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes events until the page is full. If some are left, returns the last one taken.
    fn take(&mut self, events: &[StoredEvent]) -> Result<Option<Sequence>, Failure> {
        for stored in events {
            let event = self
                .view
                .show(self.redaction, stored)
                .map_err(|error| Failure::damaged(stored.sequence, &error))?;
            // Key and length of a repeated field take at most six bytes.
            let bytes = event.encoded_len() + 6;
            if let Some(last) = self.events.last()
                && self.bytes + bytes > PAGE_BYTES_MAX
            {
                return Ok(Some(Sequence(last.sequence)));
            }
            self.bytes += bytes;
            self.events.push(event);
        }
        Ok(None)
    }
}
