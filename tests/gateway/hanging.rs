//! A webhook has its answer within its second, though the disk hangs or somebody holds the log.
//!
//! A hang ends only when the test ends it, so an answer before that is proof enough.

use std::collections::HashSet;

use futures_util::future::join_all;
use rusqlite::Connection;
use verbex_gateway::proto::{GetStatusRequest, SubscribeRequest, SubscriptionState};

use crate::support::{
    PATIENCE,
    bodies::{call_started, large},
    eventually_asking,
    grpc::{from_earliest, impatient},
    power::Disk,
    process::{Gateway, Setup},
    webhook::{Http, Stored},
};

async fn ready(gateway: &Gateway, status: u16) {
    eventually_asking(PATIENCE, "the probe", async || {
        (gateway.operations("/readyz").await.status == status).then_some(())
    })
    .await;
}

/// Posts until there is a 200.
async fn taken(gateway: &Gateway, client: &reqwest::Client, body: &str) -> Stored {
    eventually_asking(PATIENCE, "it takes events", async || {
        let answer = gateway.send(client, body.to_owned()).await;
        (answer.status == 200).then(|| answer.stored())
    })
    .await
}

/// Posts while nothing can become durable: each has its 503, and says when to come back.
async fn refused(gateway: &Gateway, bodies: impl IntoIterator<Item = String>) {
    let client = gateway.http(Http::Two);
    let posts = bodies.into_iter().map(|body| gateway.send(&client, body));
    for answer in join_all(posts).await {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.code(), "LOG_UNAVAILABLE");
        assert!(answer.header("retry-after").is_some());
    }
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let page = gateway.operations("/metrics").await.text;
    let line = page.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split(' ').next_back()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name}"))
}

/// What was refused while `hold` lasted is stored once when it has ended.
async fn judge(gateway: Gateway, let_go: impl FnOnce()) -> Gateway {
    let client = gateway.http(Http::One);
    refused(&gateway, (1..=3).map(call_started)).await;
    ready(&gateway, 503).await;
    assert_eq!(metric(&gateway, "verbex_gateway_log_available").await, 0);
    assert_eq!(metric(&gateway, "verbex_gateway_log_late_total").await, 3);
    // More come than may wait: all are answered, and no more wait.
    for batch in 0..6 {
        let many = (0..200).map(|number| call_started(1_000 + 200 * batch + number));
        refused(&gateway, many).await;
    }
    for batch in 0..7 {
        let few = (0..10).map(|number| large(10 * batch + number, 900_000));
        refused(&gateway, few).await;
    }
    let_go();
    ready(&gateway, 200).await;
    // It was taken before, or is now.
    for number in 1..=3 {
        taken(&gateway, &client, &call_started(number)).await;
    }
    let again = taken(&gateway, &client, &call_started(1)).await;
    assert!(again.duplicate);
    let (_, log) = gateway.output();
    let said = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(said("the log has made nothing durable for 700 ms"), 1);
    assert_eq!(said("the log makes events durable in time again"), 1);
    let status = gateway.admin().await.get_status(GetStatusRequest {}).await;
    let count = usize::try_from(status.unwrap().into_inner().event_count).unwrap();
    // The one before, those in the commit, and those in the queue.
    assert!((5..=1 + 1024 + 3).contains(&count), "{count}");
    let events = gateway.all(from_earliest(Default::default()), count).await;
    let ids: HashSet<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), count, "one was stored twice");
    gateway
}

#[tokio::test]
async fn a_disk_that_hangs_is_told_and_what_waits_is_stored_once_when_it_goes_on() {
    let (setup, disk) = Disk::under(Setup::new());
    let gateway = setup.start().await;
    gateway.post(call_started(0)).await;
    let (mut stream, _) = gateway
        .subscribe(impatient(SubscribeRequest::default()))
        .await;
    stream.state(SubscriptionState::Live).await;
    disk.hold("events.db-wal");
    refused(&gateway, [call_started(1)]).await;
    stream.state(SubscriptionState::Stalled).await;
    disk.release();
    ready(&gateway, 200).await;
    stream.state(SubscriptionState::Live).await;
    drop(gateway);

    let (setup, disk) = Disk::under(Setup::new());
    let gateway = setup.start().await;
    gateway.post(call_started(0)).await;
    disk.hold("*");
    judge(gateway, || disk.release()).await;
}

#[tokio::test]
async fn a_sync_that_hangs_and_then_fails_loses_nothing_that_was_answered() {
    let (setup, disk) = Disk::under(Setup::new());
    let gateway = setup.start().await;
    let client = gateway.http(Http::One);
    let mut stored = vec![gateway.post(call_started(0)).await.id];
    disk.hold("events.db-wal");
    refused(&gateway, [call_started(1)]).await;
    disk.fail("sync", "events.db-wal", 1, 1);
    disk.release();
    for number in 1..4 {
        stored.push(taken(&gateway, &client, &call_started(number)).await.id);
    }
    let gateway = disk.lose_power(gateway.kill().await).start().await;
    let events = gateway.all(from_earliest(Default::default()), 4).await;
    let ids: HashSet<_> = events.iter().map(|event| &event.id).collect();
    assert!(stored.iter().all(|id| ids.contains(id)));
}

#[tokio::test]
async fn while_another_program_locks_the_log_webhooks_are_refused_and_stored_later_once() {
    let gateway = Gateway::start().await;
    gateway.post(call_started(0)).await;
    let other = Connection::open(gateway.setup.log_file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let gateway = judge(gateway, || other.execute_batch("COMMIT").unwrap()).await;
    let (_, log) = gateway.output();
    assert!(!log.contains("ERROR"), "{log}");
}
