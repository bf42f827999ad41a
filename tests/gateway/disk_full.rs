//! A disk that takes no more: refused, told, and over when there is space again, without a restart.
//!
//! The limit on the size of files (`ulimit -f`) stands for the full disk: it needs no rights and no
//! file system of its own, and `prlimit` moves it while the gateway runs. By default a write beyond
//! it would end the process with SIGXFSZ.

use std::process::Command;

use verbex_gateway::proto::{GetStatusRequest, SubscribeRequest, SubscriptionState};

use crate::support::{
    PATIENCE,
    bodies::{call_started, large},
    eventually_asking,
    grpc::{from_earliest, impatient},
    history::covered,
    process::{Gateway, Setup},
    webhook::Http,
};

fn limit_files(gateway: &Gateway, bytes: &str) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args([
        "--pid",
        &gateway.pid().to_string(),
        &format!("--fsize={bytes}:unlimited"),
    ]);
    assert!(prlimit.status().expect("prlimit runs").success());
}

#[tokio::test]
async fn without_space_nothing_is_answered_with_200_and_all_goes_on_when_there_is_some() {
    let gateway = Gateway::start().await;
    let (mut stream, _) = gateway
        .subscribe(impatient(SubscribeRequest::default()))
        .await;
    let client = gateway.http(Http::One);
    let mut stored = vec![gateway.post(call_started(1)).await];
    assert_eq!(stream.event().await.1.id, stored[0].id);

    limit_files(&gateway, "65536");
    let mut number = 2;
    let refused = eventually_asking(PATIENCE, "a refusal", async || {
        let answer = gateway.send(&client, large(number, 20_000)).await;
        number += 1;
        if answer.status != 200 {
            return Some(answer);
        }
        stored.push(answer.stored());
        None
    });
    let refused = refused.await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "LOG_UNAVAILABLE")
    );
    assert!(refused.header("retry-after").is_some());
    // Now not even the small write fits with which the log tries whether it can go on.
    limit_files(&gateway, "1");
    let refused = eventually_asking(PATIENCE, "the last refusal", async || {
        let answer = gateway.send(&client, call_started(number)).await;
        number += 1;
        if answer.status == 200 {
            stored.push(answer.stored());
            return None;
        }
        Some(answer.code())
    });
    assert_eq!(refused.await, "LOG_UNAVAILABLE");
    assert_eq!(gateway.operations("/readyz").await.status, 503);
    assert_eq!(gateway.operations("/livez").await.status, 200);
    // Open streams stay open, and are told in each interval.
    let mut told = stream.state(SubscriptionState::Stalled).await;
    for _ in 0..2 {
        let before = told;
        told = stream.state(SubscriptionState::Stalled).await;
        assert!(covered(&told.cursor) >= covered(&before.cursor));
    }

    limit_files(&gateway, "unlimited");
    let taken = eventually_asking(PATIENCE, "it takes events again", async || {
        let answer = gateway.send(&client, call_started(9999)).await;
        (answer.status == 200).then(|| answer.stored())
    });
    stored.push(taken.await);
    let ready = eventually_asking(PATIENCE, "it is ready again", async || {
        let ready = gateway.operations("/readyz").await;
        (ready.status == 200).then_some(())
    });
    ready.await;
    stream.state(SubscriptionState::Live).await;
    // Whoever had a 200 is there, after a crash too, and what was refused is not.
    let gateway = gateway.kill().await.start().await;
    let events = gateway
        .all(from_earliest(Default::default()), stored.len())
        .await;
    let ids: Vec<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(
        ids,
        stored.iter().map(|stored| &stored.id).collect::<Vec<_>>()
    );
    let status = gateway.admin().await.get_status(GetStatusRequest {}).await;
    assert_eq!(
        status.unwrap().into_inner().event_count,
        stored.len() as u64
    );
}

#[tokio::test]
async fn a_gateway_that_starts_without_space_serves_what_it_has() {
    let gateway = Gateway::start().await;
    gateway
        .post_all((0..20).map(|number| large(number, 20_000)))
        .await;
    let setup = gateway.stop().await.shell("ulimit -S -f 64");
    let gateway = setup.start().await;
    let events = gateway.all(from_earliest(Default::default()), 20).await;
    assert_eq!(events.len(), 20);
    let client = gateway.http(Http::One);
    let refused = eventually_asking(PATIENCE, "a refusal", async || {
        let answer = gateway.send(&client, large(100, 200_000)).await;
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.await.code(), "LOG_UNAVAILABLE");
}

#[tokio::test]
async fn a_gateway_that_cannot_even_make_its_files_says_so_and_ends() {
    let finished = Setup::new().shell("ulimit -S -f 8").refused().await;
    assert_eq!(finished.code, Some(1), "{finished}");
    let message = finished.stderr.lines().last().unwrap_or_default();
    assert!(message.contains("events.db"), "{finished}");
}
