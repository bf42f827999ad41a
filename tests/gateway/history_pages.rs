//! History in pages: all of it once, in both directions, and a cursor to subscribe from.

use prost::Message;
use tonic::Code;
use verbex_gateway::proto::{
    Event, EventFilter, EventType, EventView, ListEventsRequest, ListEventsResponse,
    SubscribeRequest,
};

use crate::support::{
    bodies::{call_started, large, mixed},
    grpc::{Refusal, after},
    history::covered,
    process::Gateway,
};

/// Follows the tokens to the end.
async fn pages(gateway: &Gateway, request: ListEventsRequest) -> Vec<ListEventsResponse> {
    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListEventsRequest {
            page_token,
            ..request.clone()
        };
        let page = gateway.list(request).await.unwrap();
        page_token = page.next_page_token.clone();
        pages.push(page);
        if page_token.is_empty() {
            return pages;
        }
        assert!(pages.len() < 1000, "there is an end");
    }
}

fn sequences(pages: &[ListEventsResponse]) -> Vec<u64> {
    let events = pages.iter().flat_map(|page| &page.events);
    events.map(|event| event.sequence).collect()
}

#[tokio::test]
async fn pages_hold_everything_once_in_both_directions() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..250).map(mixed)).await;
    let all: Vec<u64> = (1..=250).collect();
    let backwards: Vec<u64> = all.iter().rev().copied().collect();
    for (page_size, sizes) in [(0, vec![100, 100, 50]), (7, vec![7; 35]), (5000, vec![250])] {
        for (newest_first, expected) in [(false, &all), (true, &backwards)] {
            let request = ListEventsRequest {
                page_size,
                newest_first,
                ..ListEventsRequest::default()
            };
            let pages = pages(&gateway, request).await;
            assert_eq!(sequences(&pages), *expected);
            let lengths = pages.iter().map(|page| page.events.len());
            assert_eq!(lengths.take(sizes.len()).collect::<Vec<_>>(), sizes);
        }
    }
}

#[tokio::test]
async fn an_empty_log_has_one_empty_page() {
    let gateway = Gateway::start().await;
    let pages = pages(&gateway, ListEventsRequest::default()).await;
    assert_eq!((pages.len(), sequences(&pages)), (1, vec![]));
    let (mut stream, _) = gateway.subscribe(after(&pages[0].cursor)).await;
    gateway.post(call_started(1)).await;
    assert_eq!(stream.event().await.1.sequence, 1);
}

#[tokio::test]
async fn filters_and_times_bound_a_list() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..40).map(mixed)).await;
    let events = gateway.all(SubscribeRequest::default(), 40).await;
    let time = |event: &Event| event.receive_time.unwrap();
    let key = |event: &Event| (time(event).seconds, time(event).nanos);
    let (start, end) = (&events[10], &events[30]);
    assert!(key(start) < key(end), "forty commits take some time");
    let filter = EventFilter {
        event_types: vec![EventType::CallEnded.into()],
        ..EventFilter::default()
    };
    for newest_first in [false, true] {
        let request = ListEventsRequest {
            filter: Some(filter.clone()),
            start_time: Some(time(start)),
            end_time: Some(time(end)),
            page_size: 3,
            newest_first,
            ..ListEventsRequest::default()
        };
        let mut listed = sequences(&pages(&gateway, request).await);
        if newest_first {
            listed.reverse();
        }
        let between = events.iter().filter(|event| {
            key(start) <= key(event)
                && key(event) < key(end)
                && event.r#type() == EventType::CallEnded
        });
        let between: Vec<u64> = between.map(|event| event.sequence).collect();
        assert_eq!(listed, between);
    }
}

#[tokio::test]
async fn pages_stay_small_enough_for_every_client() {
    let gateway = Gateway::start().await;
    gateway
        .post_all((0..12).map(|number| large(number, 900_000)))
        .await;
    for (view, newest_first) in [
        (EventView::Raw, false),
        (EventView::Raw, true),
        (EventView::Standard, false),
    ] {
        let request = ListEventsRequest {
            page_size: 1000,
            view: view.into(),
            newest_first,
            ..ListEventsRequest::default()
        };
        let pages = pages(&gateway, request).await;
        let bytes = pages.iter().map(Message::encoded_len).max().unwrap();
        assert!(bytes < 3 * 1024 * 1024, "{bytes}");
        assert!(pages.len() > 3);
        let mut listed = sequences(&pages);
        listed.sort_unstable();
        assert_eq!(listed, (1..=12).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_list_and_a_subscription_from_its_cursor_are_everything_once() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..20).map(call_started)).await;
    let request = ListEventsRequest {
        page_size: 6,
        ..ListEventsRequest::default()
    };
    let first = gateway.list(request.clone()).await.unwrap();
    // What comes while somebody turns pages belongs to the subscription.
    gateway.post_all((20..30).map(call_started)).await;
    let mut listed = vec![first.clone()];
    while !listed.last().unwrap().next_page_token.is_empty() {
        let request = ListEventsRequest {
            page_token: listed.last().unwrap().next_page_token.clone(),
            ..request.clone()
        };
        listed.push(gateway.list(request).await.unwrap());
    }
    assert!(listed.iter().all(|page| page.cursor == first.cursor));
    assert_eq!(covered(&first.cursor), 20);
    assert_eq!(sequences(&listed), (1..=20).collect::<Vec<_>>());
    let (mut stream, _) = gateway.subscribe(after(&first.cursor)).await;
    let rest: Vec<u64> = stream
        .take(10)
        .await
        .iter()
        .map(|event| event.sequence)
        .collect();
    assert_eq!(rest, (21..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_token_is_good_for_its_own_request_only() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..20).map(call_started)).await;
    let request = ListEventsRequest {
        page_size: 5,
        ..ListEventsRequest::default()
    };
    let page_token = gateway.list(request.clone()).await.unwrap().next_page_token;
    let next = ListEventsRequest {
        page_token: page_token.clone(),
        ..request.clone()
    };
    // As often as one likes, and over a restart.
    let gateway = gateway.stop().await.start().await;
    for _ in 0..2 {
        let page = gateway.list(next.clone()).await.unwrap();
        assert_eq!(sequences(&[page]), [6, 7, 8, 9, 10]);
    }
    let with = |change: fn(&mut ListEventsRequest)| {
        let mut request = next.clone();
        change(&mut request);
        request
    };
    for request in [
        with(|request| request.newest_first = true),
        with(|request| request.view = EventView::Raw.into()),
        with(|request| request.start_time = Some(Default::default())),
        with(|request| request.end_time = Some(crate::support::grpc::from_now(60))),
        with(|request| {
            request.filter = Some(EventFilter {
                agent_ids: vec!["agent-1".into()],
                ..EventFilter::default()
            });
        }),
        with(|request| request.page_token.push('x')),
        with(|request| request.page_token = "no token".into()),
        with(|request| request.page_token.truncate(20)),
    ] {
        let refusal = Refusal::of(&gateway.list(request.clone()).await.unwrap_err());
        assert_eq!(refusal.row(), (Code::InvalidArgument, "INVALID_REQUEST"));
        assert_eq!(refusal.fields, ["page_token"], "{request:?}");
    }
    let another = Gateway::start().await;
    let refusal = Refusal::of(&another.list(next).await.unwrap_err());
    assert_eq!(refusal.fields, ["page_token"]);
}
