//! The contract of [`crate::log`], kept: promises that hold for a log of any kind.
//!
//! A backend implements [`Backend`] for its tests and calls `keeps_the_contract!` in a module of
//! its own. That makes one test of each promise.

pub(super) mod committing;
pub(super) mod following;
pub(super) mod model;
pub(super) mod reading;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::registry::Registry;
use proptest::{
    strategy::Strategy,
    test_runner::{Config, TestRunner},
};

use crate::{
    event::{self, EventId, NewEvent, Raw, Sequence},
    filter::Selector,
    log::{Batch, Lane, Log, Metrics, Query},
    proto::{self, EventType},
};

/// A log of one kind, in a place of its own.
pub(super) trait Backend {
    fn new() -> Self;

    /// Opens the log, or makes it. A log that was open before must have finished.
    fn open_with(&self, metrics: Metrics) -> Log;

    fn open(&self) -> Log {
        self.open_with(Metrics::register(&mut Registry::default()))
    }

    /// Holds up all commits until the result is dropped, so that appends come together.
    fn stall(&self) -> impl Sized;

    /// Makes the log unreadable until the result is dropped. Only for a log that was not read yet.
    fn hide(&self) -> impl Sized;

    /// Removes the events up to this one, as retention does while the log runs.
    fn trim(&self, through: u64);

    /// Removes single events, which leaves holes.
    fn erase(&self, sequences: &[u64]);
}

/// Makes tests of all promises for a [`Backend`].
macro_rules! keeps_the_contract {
    ($backend:ident) => {
        keeps_the_contract!($backend, #[tokio::test] async committing: [
            an_answered_event_can_be_read_and_followed,
            what_waits_together_is_committed_together_in_order,
            an_event_is_stored_once_across_groups_and_restarts,
            receive_times_never_fall_and_event_times_move_along,
            an_append_that_nobody_waits_for_any_more_is_committed,
            finishing_commits_what_was_taken_and_refuses_what_follows,
            what_was_done_is_counted,
            epoch_key_and_end_outlive_a_restart,
        ]);
        keeps_the_contract!($backend, #[tokio::test] async reading: [
            a_stretch_is_read_within_its_bounds,
            bytes_count_the_body_only_where_it_is_asked_for,
            a_body_comes_back_byte_for_byte,
            a_hole_is_passed_over,
            every_place_is_told,
            a_time_is_found_between_events,
            a_log_that_lost_all_events_begins_where_it_ends,
            a_place_before_the_earliest_event_is_expired,
        ]);
        keeps_the_contract!($backend, #[tokio::test] async following: [
            whoever_follows_from_any_place_gets_all_that_comes_behind,
            a_place_within_a_group_is_begun_in_the_middle_of_it,
            a_slow_follower_reads_what_the_broadcast_has_lost_and_holds_up_nobody,
            what_retention_removes_from_a_running_log_is_told_and_passed,
            a_group_that_is_on_its_way_is_yielded_though_retention_has_removed_it,
            while_the_file_cannot_be_read_a_follower_waits_and_then_goes_on,
            whether_the_log_takes_events_is_told_also_to_who_waits_for_the_file,
            a_closed_log_ends_its_followers_and_the_next_run_goes_on,
            what_became_durable_without_a_group_is_read_once_the_tail_moves,
        ]);
        keeps_the_contract!($backend, #[test] following: [
            each_follower_gets_once_and_in_order_all_that_is_not_removed,
        ]);
        keeps_the_contract!($backend, #[test] model: [
            the_log_answers_as_a_list_would,
        ]);
    };
    ($backend:ident, #[tokio::test] async $part:ident: [$($promise:ident,)*]) => {$(
        #[tokio::test]
        async fn $promise() {
            crate::log::tests::$part::$promise::<$backend>().await;
        }
    )*};
    ($backend:ident, #[test] $part:ident: [$($promise:ident,)*]) => {$(
        #[test]
        fn $promise() {
            crate::log::tests::$part::$promise::<$backend>();
        }
    )*};
}
pub(super) use keeps_the_contract;

/// Tries this many cases, each in a runtime of its own.
pub(super) fn property<S: Strategy>(cases: u32, strategy: &S, holds: impl AsyncFn(S::Value)) {
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    };
    let result = TestRunner::new(config).run(strategy, |case| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        runtime.block_on(holds(case));
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

/// An event with `number` in its id, received as many seconds after the start of 2026.
pub(crate) fn event(number: u64) -> NewEvent {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    NewEvent {
        id: EventId(id),
        event: proto::Event {
            id: EventId(id).to_string(),
            receive_time: Some(event::timestamp(at(number))),
            r#type: EventType::CallStarted.into(),
            event_name: "CallHandler.CallStarted".into(),
            agent_id: format!("agent-{}", number % 3),
            call_id: format!("call-{}", number % 5),
            ..proto::Event::default()
        },
        event_time_given: false,
        raw: Raw {
            json: format!("{{\"n\":{number}}}").into(),
            headers: vec![
                ("content-type".into(), "application/json".into()),
                ("x-webhook-event".into(), "a \"quoted\" ✓".into()),
            ],
        },
    }
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(seconds.try_into().unwrap())
}

/// Everything, in order.
pub(crate) fn all() -> Query {
    Query {
        lane: Lane::Far,
        selector: Selector::default(),
        after: Sequence::ZERO,
        through: Sequence(u64::MAX),
        newest_first: false,
        events_max: usize::MAX,
        bytes_max: usize::MAX,
        with_raw: true,
    }
}

pub(crate) fn numbers(batch: &Batch) -> Vec<u64> {
    batch.events.iter().map(|event| event.sequence.0).collect()
}

pub(crate) async fn fill(log: &Log, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        log.appender.append(event(number)).await.unwrap();
    }
}
