//! A machine's clock that is wrong for a while, or was once.

use std::time::{Duration, SystemTime};

use verbex_gateway::proto::{Event, GetStatusRequest, ListEventsRequest, SubscribeRequest};

use crate::log_commands::good;
use crate::support::{
    PATIENCE,
    bodies::call_started,
    clock::Clock,
    eventually_asking,
    grpc::since,
    process::{Gateway, Setup},
};

const YEARS: i64 = 50 * 365 * 24 * 60 * 60;
/// How far times may lie from those that are expected.
const SLACK: i64 = 10 * 60;

fn now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}

/// How many seconds before now an event was received; negative if that is to come.
fn age(event: &Event) -> i64 {
    now() - event.receive_time.as_ref().unwrap().seconds
}

/// Without a certificate, whose time would be wrong, too.
fn plain() -> Setup {
    Setup::new().arg("--webhook-plain-http")
}

/// Posts so many events. Returns the last of all that the log has then.
async fn last_of(gateway: &Gateway, numbers: std::ops::Range<usize>, count: usize) -> Event {
    for number in numbers {
        gateway.post(call_started(number)).await;
    }
    let events = gateway.all(SubscribeRequest::default(), count).await;
    events.last().unwrap().clone()
}

async fn held(gateway: &Gateway, is_held: bool) {
    let expected = format!("verbex_gateway_log_clock_held {}\n", u8::from(is_held));
    eventually_asking(PATIENCE, &expected, async || {
        let metrics = gateway.operations("/metrics").await.text;
        metrics.contains(&expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_jumps_while_the_gateway_runs_is_not_followed_until_it_comes_back() {
    let (setup, clock) = Clock::in_machine(plain());
    let gateway = setup.arg("--retention-age").arg("1h").start().await;
    assert!(age(&last_of(&gateway, 0..1, 1).await).abs() < SLACK);
    held(&gateway, false).await;
    for (number, ahead) in [(1, YEARS), (3, -YEARS)] {
        clock.set_ahead(ahead);
        held(&gateway, true).await;
        let wrong = last_of(&gateway, number..number + 1, number + 1).await;
        assert!(age(&wrong).abs() < SLACK, "{wrong:?}");
        clock.set_ahead(0);
        held(&gateway, false).await;
        let right = last_of(&gateway, number + 1..number + 2, number + 2).await;
        assert!(age(&right).abs() < SLACK, "{right:?}");
    }
    // Nothing was removed for an age that it only seemed to have.
    let status = gateway.admin().await.get_status(GetStatusRequest {}).await;
    assert_eq!(status.unwrap().into_inner().event_count, 5);
    let said = gateway.output().1;
    assert_eq!(said.matches("--trust-clock").count(), 2, "{said}");
    assert_eq!(said.matches("is followed again").count(), 2, "{said}");
}

/// A log whose first three events were received 50 years from now, and two before them today.
async fn spoilt() -> Setup {
    let gateway = plain().start().await;
    last_of(&gateway, 0..2, 2).await;
    let (setup, clock) = Clock::in_machine(gateway.stop().await);
    clock.set_ahead(YEARS);
    let gateway = setup.start().await;
    let last = last_of(&gateway, 2..5, 5).await;
    assert!((age(&last) + YEARS).abs() < SLACK, "{last:?}");
    let setup = gateway.stop().await;
    setup
        .environment("LD_PRELOAD", None)
        .environment("CLOCK_AHEAD", None)
}

async fn listed(gateway: &Gateway, start: SystemTime, end: SystemTime) -> Vec<u64> {
    let request = ListEventsRequest {
        start_time: Some(start.into()),
        end_time: Some(end.into()),
        ..Default::default()
    };
    let events = gateway.list(request).await.unwrap().events;
    events.iter().map(|event| event.sequence).collect()
}

#[tokio::test]
async fn a_log_that_a_wrong_clock_has_spoilt_gets_right_times_again_once_the_clock_is_trusted() {
    let gateway = spoilt().await.start().await;
    // Without a word from the operator, times run on, and nothing is removed.
    held(&gateway, true).await;
    let last = last_of(&gateway, 5..6, 6).await;
    assert!((age(&last) + YEARS).abs() < SLACK, "{last:?}");
    assert!(gateway.output().1.contains("--trust-clock"));
    let setup = gateway.stop().await;

    let trusted = SystemTime::now();
    let gateway = setup.clone().arg("--trust-clock").start().await;
    held(&gateway, false).await;
    // Streams are not disturbed by times that go back.
    let (mut stream, _) = gateway.subscribe(SubscribeRequest::default()).await;
    let last = last_of(&gateway, 6..8, 8).await;
    assert!(age(&last).abs() < SLACK, "{last:?}");
    assert_eq!(stream.take(2).await[1], last);
    // By time, the events of the future count as received when the clock was trusted.
    let day = Duration::from_secs(24 * 60 * 60);
    let (early, late) = (trusted - day, SystemTime::now() + day);
    assert_eq!(listed(&gateway, early, trusted).await, [1, 2]);
    assert_eq!(listed(&gateway, early, late).await.len(), 8);
    assert_eq!(listed(&gateway, late, late + 36_500 * day).await, [0; 0]);
    let (mut stream, _) = gateway.subscribe(since(trusted)).await;
    assert_eq!(stream.event().await.1.sequence, 3);

    good(&setup.data(), &["verify"]).await;

    // It need not be said again, and the events go in their time.
    gateway.kill().await;
    let gateway = setup.arg("--retention-age").arg("3s").start().await;
    held(&gateway, false).await;
    let last = gateway.post(call_started(8)).await;
    assert_eq!(last.sequence, 9);
    eventually_asking(PATIENCE, "all are too old", async || {
        let status = gateway.admin().await.get_status(GetStatusRequest {}).await;
        let status = status.unwrap().into_inner();
        (status.event_count == 0).then_some(())
    })
    .await;
}
