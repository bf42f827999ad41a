//! `AdminService`: shows the running gateway, and ends subscriptions.

use std::time::Instant;

use prost::Message;
use tonic::{Request, Response, Status};

use super::{
    PAGE_BYTES_MAX,
    access::granted,
    erase,
    page_token::{PageToken, Pages},
    request,
    status::Failure,
};
use crate::{
    event::{Epoch, Position, timestamp},
    fanout::{Fanout, SubscriberInfo},
    log::{Eraser, Reader},
    proto::{
        DisconnectSubscriberRequest, DisconnectSubscriberResponse, EraseEventsRequest, EventView,
        GetStatusRequest, GetStatusResponse, ListSubscribersRequest, ListSubscribersResponse,
        Subscriber, admin_service_server::AdminService,
    },
};

pub(super) struct Admin {
    pub epoch: Epoch,
    pub reader: Reader,
    pub eraser: Eraser,
    pub fanout: Fanout,
    pub started: Instant,
}

#[tonic::async_trait]
impl AdminService for Admin {
    type EraseEventsStream = erase::Progress;

    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        granted(request)?;
        let bounds = self
            .reader
            .bounds()
            .await
            .map_err(|error| Failure::read(&error, self.epoch))?;
        Ok(Response::new(GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            log_epoch: self.epoch.to_string(),
            earliest_sequence: bounds.earliest_sequence.unwrap_or_default().0,
            latest_sequence: bounds.latest.sequence.0,
            event_count: bounds.event_count,
            event_bytes: bounds.event_bytes,
            uptime: self.started.elapsed().try_into().ok(),
            subscriber_count: u32::try_from(self.fanout.subscriber_count()).unwrap_or(u32::MAX),
        }))
    }

    async fn list_subscribers(
        &self,
        request: Request<ListSubscribersRequest>,
    ) -> Result<Response<ListSubscribersResponse>, Status> {
        let request = granted(request)?.1;
        let page_size = request::page_size(request.page_size)?;
        let pages = Pages::of(
            "ListSubscribers",
            &ListSubscribersRequest::default(),
            self.epoch,
        );
        let after = pages
            .decode(&request.page_token)?
            .map_or(0, |token| token.at);

        let latest = self.fanout.head();
        let page = self.fanout.subscribers(after, page_size);
        let subscriber = |info: SubscriberInfo| Subscriber {
            id: info.id,
            name: info.name,
            peer: info.peer,
            filter: Some(info.filter.to_proto()),
            view: EventView::from(info.view).into(),
            state: info.state.into(),
            position_sequence: info.position.0,
            events_behind: latest.0.saturating_sub(info.position.0),
            events_delivered: info.delivered,
            connect_time: Some(timestamp(info.connect_time)),
        };
        let mut response = ListSubscribersResponse::default();
        let mut bytes = 0;
        let mut next_after = page.next_after;
        for info in page.subscribers {
            let serial = info.serial;
            let subscriber = subscriber(info);
            bytes += subscriber.encoded_len();
            // Filters can be large, and a page must stay within what every client accepts.
            if bytes > PAGE_BYTES_MAX && !response.subscribers.is_empty() {
                next_after = Some(serial - 1);
                break;
            }
            response.subscribers.push(subscriber);
        }
        if let Some(at) = next_after {
            let snapshot = Position::ORIGIN;
            response.next_page_token = pages.encode(&PageToken { snapshot, at });
        }
        Ok(Response::new(response))
    }

    async fn disconnect_subscriber(
        &self,
        request: Request<DisconnectSubscriberRequest>,
    ) -> Result<Response<DisconnectSubscriberResponse>, Status> {
        let id = granted(request)?.1.id;
        self.fanout
            .disconnect(&id)
            .map_err(|error| Failure::disconnect(&error, id.chars().take(64).collect()))?;
        Ok(Response::new(DisconnectSubscriberResponse {}))
    }

    async fn erase_events(
        &self,
        request: Request<EraseEventsRequest>,
    ) -> Result<Response<Self::EraseEventsStream>, Status> {
        let (grant, message) = granted(request)?;
        let progress = erase::begin(&self.eraser, self.epoch, message, grant).await?;
        Ok(Response::new(progress))
    }
}
