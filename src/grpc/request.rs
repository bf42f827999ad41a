//! Validates requests. An error names the fields that are wrong, and why.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::status::{Failure, Violation};
use crate::{
    auth::Grant,
    event::TextKey,
    fanout::{Encoding, ExpiredAction, Past, Request, Start},
    filter::{Filter, Scope, Selector},
    log::cursor::Cursor,
    proto::{
        EventFilter, EventType, EventView, ExpiredCursorAction, ListEventsRequest, StartPosition,
        SubscribeRequest, subscribe_request,
    },
    view::View,
};

/// The most values in one field of a filter.
const FILTER_VALUES_MAX: usize = 1_000;
/// The most bytes in one value of a filter, and in a subscriber's name.
const TEXT_BYTES_MAX: usize = 256;
const PROGRESS_INTERVAL_DEFAULT: Duration = Duration::from_secs(30);
const PROGRESS_INTERVAL_MIN: Duration = Duration::from_secs(1);
const PROGRESS_INTERVAL_MAX: Duration = Duration::from_secs(300);
const PAGE_SIZE_DEFAULT: usize = 100;
const PAGE_SIZE_MAX: usize = 1_000;
/// The times that protobuf allows: the years 1 to 9999.
const SECONDS_MIN: i64 = -62_135_596_800;
const SECONDS_MAX: i64 = 253_402_300_799;

/// A valid `ListEventsRequest`, except for its page token, which is checked elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListEvents {
    pub selector: Selector,
    pub start_time: Option<Timestamp>,
    pub end_time: Option<Timestamp>,
    pub page_size: usize,
    pub view: View,
    pub newest_first: bool,
}

/// What a subscriber at `peer` asks for, restricted to what it may read.
pub(super) fn subscribe(
    request: SubscribeRequest,
    encoding: Encoding,
    peer: String,
    grant: &Grant,
) -> Result<Request, Failure> {
    let mut check = Check::default();
    let view = check.view(request.view);
    let expired = check.expired_action(request.expired_cursor_action);
    let progress_interval = check.progress_interval(request.progress_interval);
    check.text("subscriber_name", &request.subscriber_name, 0);
    check.filter(request.filter.as_ref());

    use subscribe_request::Start as Asked;
    let start = match request.start {
        None => Start::Latest,
        Some(Asked::StartPosition(position)) => match StartPosition::try_from(position) {
            Ok(StartPosition::Latest) => Start::Latest,
            Ok(StartPosition::Earliest) => Start::Past(Past::Earliest),
            _ => {
                check.violated(
                    "start_position",
                    "is not LATEST or EARLIEST; leave start unset for LATEST",
                );
                Start::Latest
            }
        },
        Some(Asked::StartTime(time)) => match check.time("start_time", Some(time)) {
            Some(time) => Start::Past(Past::At(time)),
            None => Start::Latest,
        },
        Some(Asked::AfterCursor(text)) => {
            let cursor = Cursor::decode(&text).map_err(|_| Failure::CursorInvalid {
                empty: text.is_empty(),
            })?;
            Start::Past(Past::After(cursor))
        }
    };
    check.done()?;
    let filter = Arc::new(Filter::new(request.filter.unwrap_or_default()));
    Ok(Request {
        selector: Selector::new(filter.clone(), &grant.scope),
        filter,
        view,
        redaction: grant.redaction,
        encoding,
        start,
        progress_interval,
        expired,
        name: request.subscriber_name,
        peer,
    })
}

/// What a caller of `ListEvents` asks for, restricted to what it may read.
pub(super) fn list_events(
    request: &ListEventsRequest,
    scope: &Scope,
) -> Result<ListEvents, Failure> {
    let mut check = Check::default();
    check.filter(request.filter.as_ref());
    let start_time = check.time("start_time", request.start_time);
    let end_time = check.time("end_time", request.end_time);
    if let (Some(start), Some(end)) = (start_time, end_time)
        && end <= start
    {
        check.violated("end_time", "is not after start_time");
    }
    let page_size = check.page_size(request.page_size);
    let view = check.view(request.view);
    check.done()?;
    let filter = Filter::new(request.filter.clone().unwrap_or_default());
    Ok(ListEvents {
        selector: Selector::new(Arc::new(filter), scope),
        start_time,
        end_time,
        page_size,
        view,
        newest_first: request.newest_first,
    })
}

/// The page size of a request in which nothing else needs a check.
pub(super) fn page_size(asked: i32) -> Result<usize, Failure> {
    let mut check = Check::default();
    let page_size = check.page_size(asked);
    check.done()?;
    Ok(page_size)
}

/// Collects everything that is wrong, so that a caller can correct it at once.
#[derive(Default)]
pub(super) struct Check {
    violations: Vec<Violation>,
}

impl Check {
    pub(super) fn done(self) -> Result<(), Failure> {
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(Failure::InvalidRequest(self.violations))
        }
    }

    fn violated(&mut self, field: impl Into<String>, description: impl Into<String>) {
        // A request can break a rule a thousand times, but the answer must fit into headers.
        const VIOLATIONS_MAX: usize = 10;
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation {
                field: field.into(),
                description: description.into(),
            });
        }
    }

    fn filter(&mut self, filter: Option<&EventFilter>) {
        let Some(filter) = filter else { return };
        self.count("filter.event_types", filter.event_types.len());
        for (index, &value) in filter.event_types.iter().enumerate() {
            if matches!(
                EventType::try_from(value),
                Err(_) | Ok(EventType::Unspecified)
            ) {
                self.violated(
                    format!("filter.event_types[{index}]"),
                    format!(
                        "is {value}, which is no type of event; leave the list empty for all types"
                    ),
                );
            }
        }
        for key in TextKey::ALL {
            let (field, values) = (key.filter_field(), key.values(filter));
            self.count(&format!("filter.{field}"), values.len());
            for (index, value) in values.iter().enumerate() {
                self.text(&format!("filter.{field}[{index}]"), value, 1);
            }
        }
    }

    fn count(&mut self, field: &str, count: usize) {
        if count > FILTER_VALUES_MAX {
            self.violated(
                field,
                format!("has {count} values, more than {FILTER_VALUES_MAX}"),
            );
        }
    }

    pub(super) fn text(&mut self, field: &str, text: &str, bytes_min: usize) {
        if text.len() < bytes_min {
            self.violated(field, "is empty; leave the list empty to match every value");
        } else if text.len() > TEXT_BYTES_MAX {
            self.violated(
                field,
                format!("has {} bytes, more than {TEXT_BYTES_MAX}", text.len()),
            );
        }
    }

    fn view(&mut self, view: i32) -> View {
        match EventView::try_from(view) {
            Ok(EventView::Unspecified | EventView::Standard) => View::Standard,
            Ok(EventView::Basic) => View::Basic,
            Ok(EventView::Raw) => View::Raw,
            Err(_) => {
                self.violated("view", format!("is {view}, which is no view"));
                View::Standard
            }
        }
    }

    fn expired_action(&mut self, action: i32) -> ExpiredAction {
        match ExpiredCursorAction::try_from(action) {
            Ok(ExpiredCursorAction::Unspecified | ExpiredCursorAction::Fail) => ExpiredAction::Fail,
            Ok(ExpiredCursorAction::Earliest) => ExpiredAction::Earliest,
            Err(_) => {
                self.violated(
                    "expired_cursor_action",
                    format!("is {action}, which is no action"),
                );
                ExpiredAction::Fail
            }
        }
    }

    fn progress_interval(&mut self, interval: Option<prost_types::Duration>) -> Duration {
        let Some(interval) = interval else {
            return PROGRESS_INTERVAL_DEFAULT;
        };
        // duration.proto does not allow other nanoseconds, but the conversion would accept them.
        let whole = (0..1_000_000_000).contains(&interval.nanos);
        let duration = Duration::try_from(interval).ok();
        match duration.filter(|duration| {
            whole && (PROGRESS_INTERVAL_MIN..=PROGRESS_INTERVAL_MAX).contains(duration)
        }) {
            Some(duration) => duration,
            None => {
                self.violated("progress_interval", "is not between 1 second and 5 minutes");
                PROGRESS_INTERVAL_DEFAULT
            }
        }
    }

    fn time(&mut self, field: &str, time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
        let time = time?;
        let valid = (SECONDS_MIN..=SECONDS_MAX).contains(&time.seconds)
            && (0..1_000_000_000).contains(&time.nanos);
        let nanos = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
        if !valid {
            self.violated(field, "is not a time between the years 1 and 9999");
            return None;
        }
        // The largest `Timestamp` is a day before the end of the year 9999.
        Some(Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::MAX))
    }

    fn page_size(&mut self, asked: i32) -> usize {
        match usize::try_from(asked) {
            Ok(0) => PAGE_SIZE_DEFAULT,
            Ok(size) => size.min(PAGE_SIZE_MAX),
            Err(_) => {
                self.violated("page_size", "is negative");
                PAGE_SIZE_DEFAULT
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields that the error names.
    fn violated<T>(result: Result<T, Failure>) -> Vec<String> {
        match result {
            Ok(_) => Vec::new(),
            Err(Failure::InvalidRequest(violations)) => violations
                .into_iter()
                .map(|violation| violation.field)
                .collect(),
            Err(other) => vec![format!("{other:?}")],
        }
    }

    #[test]
    fn a_subscription_is_checked_field_by_field() {
        let check = |request: SubscribeRequest, expected: &[&str]| {
            assert_eq!(
                violated(subscribe(
                    request.clone(),
                    Encoding::Identity,
                    String::new(),
                    &Grant::anonymous(false),
                )),
                expected,
                "{request:?}"
            );
        };
        let filter = |filter: EventFilter| SubscribeRequest {
            filter: Some(filter),
            ..SubscribeRequest::default()
        };
        let start = |start| SubscribeRequest {
            start: Some(start),
            ..SubscribeRequest::default()
        };
        let interval = |seconds, nanos| SubscribeRequest {
            progress_interval: Some(prost_types::Duration { seconds, nanos }),
            ..SubscribeRequest::default()
        };
        use subscribe_request::Start::{AfterCursor, StartPosition, StartTime};

        check(SubscribeRequest::default(), &[]);
        check(
            filter(EventFilter {
                event_types: vec![1, 99],
                ..EventFilter::default()
            }),
            &[],
        );
        check(
            filter(EventFilter {
                event_types: vec![1, 0],
                ..EventFilter::default()
            }),
            &["filter.event_types[1]"],
        );
        check(
            filter(EventFilter {
                event_types: vec![5],
                ..EventFilter::default()
            }),
            &["filter.event_types[0]"],
        );
        check(
            filter(EventFilter {
                agent_ids: vec!["a".repeat(256)],
                ..EventFilter::default()
            }),
            &[],
        );
        check(
            filter(EventFilter {
                agent_ids: vec!["a".repeat(257)],
                ..EventFilter::default()
            }),
            &["filter.agent_ids[0]"],
        );
        check(
            filter(EventFilter {
                call_ids: vec!["c".into(), String::new()],
                ..EventFilter::default()
            }),
            &["filter.call_ids[1]"],
        );
        check(
            filter(EventFilter {
                statuses: vec!["s".into(); 1000],
                ..EventFilter::default()
            }),
            &[],
        );
        check(
            filter(EventFilter {
                statuses: vec!["s".into(); 1001],
                ..EventFilter::default()
            }),
            &["filter.statuses"],
        );
        check(interval(1, 0), &[]);
        check(interval(300, 0), &[]);
        check(interval(0, 999_999_999), &["progress_interval"]);
        check(interval(300, 1), &["progress_interval"]);
        check(interval(2, -1), &["progress_interval"]);
        check(interval(2, 1_000_000_000), &["progress_interval"]);
        check(interval(-5, 0), &["progress_interval"]);
        check(start(StartPosition(0)), &["start_position"]);
        check(start(StartPosition(3)), &["start_position"]);
        check(start(StartPosition(2)), &[]);
        check(
            start(StartTime(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: 0,
            })),
            &["start_time"],
        );
        check(
            start(StartTime(prost_types::Timestamp {
                seconds: 0,
                nanos: -1,
            })),
            &["start_time"],
        );
        check(
            start(AfterCursor(String::new())),
            &["CursorInvalid { empty: true }"],
        );
        check(
            start(AfterCursor("nonsense".into())),
            &["CursorInvalid { empty: false }"],
        );
        check(
            SubscribeRequest {
                view: 4,
                ..SubscribeRequest::default()
            },
            &["view"],
        );
        check(
            SubscribeRequest {
                expired_cursor_action: 3,
                ..SubscribeRequest::default()
            },
            &["expired_cursor_action"],
        );
        check(
            SubscribeRequest {
                subscriber_name: "n".repeat(257),
                ..SubscribeRequest::default()
            },
            &["subscriber_name"],
        );
    }

    #[test]
    fn a_list_is_checked_field_by_field() {
        let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let check = |request: ListEventsRequest, expected: &[&str]| {
            assert_eq!(
                violated(list_events(&request, &Scope::ALL)),
                expected,
                "{request:?}"
            );
        };
        check(
            ListEventsRequest {
                page_size: -1,
                ..ListEventsRequest::default()
            },
            &["page_size"],
        );
        check(
            ListEventsRequest {
                start_time: time(5),
                end_time: time(5),
                ..ListEventsRequest::default()
            },
            &["end_time"],
        );
        check(
            ListEventsRequest {
                start_time: time(5),
                end_time: time(6),
                ..ListEventsRequest::default()
            },
            &[],
        );
    }

    #[test]
    fn a_page_size_has_a_default_and_a_maximum() {
        let check = |asked, expected| assert_eq!(page_size(asked).unwrap(), expected);
        check(0, 100);
        check(1, 1);
        check(1000, 1000);
        check(i32::MAX, 1000);
    }
}
