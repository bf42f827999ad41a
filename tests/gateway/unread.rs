//! Output that nobody reads, or nobody can read any more, stops nothing.

use std::{
    io::{BufRead, BufReader, PipeReader},
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use verbex_gateway::proto::SubscribeRequest;

use crate::support::{
    PATIENCE,
    bodies::{call_started, large},
    eventually, eventually_asking,
    launch::full_pipe,
    process::{Gateway, Setup},
};

/// More lines than the gateway keeps: two for each.
const SUBSCRIPTIONS: u32 = 700;

/// A gateway's folder and ports, free again.
async fn stopped(setup: Setup) -> Setup {
    setup.start().await.stop().await
}

/// Has the gateway say something, again and again.
async fn make_it_talk(gateway: &Gateway) {
    let mut client = gateway.events().await;
    for _ in 0..SUBSCRIPTIONS {
        let stream = client.subscribe(SubscribeRequest::default()).await;
        drop(stream.expect("a subscription"));
    }
}

async fn dropped_lines(gateway: &Gateway) -> u64 {
    let metrics = gateway.operations("/metrics").await.text;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("verbex_gateway_log_lines_dropped_total "));
    line.expect("the metric").parse().expect("a number")
}

async fn it_works(gateway: &Gateway) {
    gateway.post(call_started(1)).await;
    assert_eq!(gateway.operations("/livez").await.status, 200);
    assert_eq!(gateway.operations("/readyz").await.status, 200);
}

/// The lines of a pipe, read from now on.
fn read(pipe: PipeReader) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let shared = lines.clone();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            shared.lock().unwrap().push(line);
        }
    });
    lines
}

#[tokio::test]
async fn lines_that_nobody_reads_are_dropped_and_counted_and_that_is_said_once_there_is_room() {
    let setup = stopped(Setup::new().set("LOGGING_FORMAT", "json")).await;
    let (pipe, stderr) = full_pipe();
    let gateway = setup.start_with(Stdio::null(), stderr).await;
    make_it_talk(&gateway).await;
    it_works(&gateway).await;
    let counted = eventually_asking(PATIENCE, "lines are dropped", async || {
        let dropped = dropped_lines(&gateway).await;
        (dropped > 0).then_some(())
    });
    counted.await;

    let lines = read(pipe);
    let said = eventually("the count", || {
        let lines = lines.lock().unwrap();
        let mut lines = lines.iter().filter(|line| !line.is_empty());
        lines.find_map(|line| {
            let line: Value = serde_json::from_str(line).expect("each line is JSON");
            let (count, rest) = line["message"].as_str()?.split_once(' ')?;
            rest.ends_with("log lines were dropped because standard error was not read")
                .then(|| count.parse::<u64>().expect("a number"))
        })
    });
    let said = said.await;
    assert!(said > 0 && said <= dropped_lines(&gateway).await, "{said}");
    it_works(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn with_both_outputs_full_it_serves_and_leaves_in_order_or_at_once() {
    for signals in [1, 2] {
        let setup = stopped(Setup::new().set("DRAIN_SECONDS", "600")).await;
        let (_stdout_pipe, stdout) = full_pipe();
        let (_stderr_pipe, stderr) = full_pipe();
        let gateway = setup.start_with(stdout, stderr).await;
        make_it_talk(&gateway).await;
        it_works(&gateway).await;
        let mut held = None;
        if signals == 2 {
            // Something to wait for.
            held = Some(gateway.subscribe(SubscribeRequest::default()).await);
            let large = (0..12).map(|number| large(number, 900_000));
            gateway.post_all(large).await;
        }
        gateway.terminate();
        if signals == 2 {
            let draining = eventually_asking(PATIENCE, "it drains", async || {
                let ready = gateway.operations("/readyz").await;
                (ready.status == 503).then_some(())
            });
            draining.await;
            gateway.terminate();
        }
        let finished = gateway.finished().await;
        let expected = if signals == 1 { 0 } else { 143 };
        assert_eq!(finished.code, Some(expected), "{finished}");
        drop(held);
    }
}

#[tokio::test]
async fn outputs_whose_readers_have_left_change_nothing() {
    let setup = stopped(Setup::new()).await;
    let (stdout_pipe, stdout) = full_pipe();
    let (stderr_pipe, stderr) = full_pipe();
    drop((stdout_pipe, stderr_pipe));
    let gateway = setup.start_with(stdout, stderr).await;
    make_it_talk(&gateway).await;
    it_works(&gateway).await;
    assert!(dropped_lines(&gateway).await > 0);
    let setup = gateway.stop().await;

    let closed = setup.shell("exec >&- 2>&-");
    let gateway = closed.start_with(Stdio::null(), Stdio::null()).await;
    it_works(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_reason_for_a_refused_start_holds_nobody_up() {
    let (_stdout_pipe, stdout) = full_pipe();
    let (_stderr_pipe, stderr) = full_pipe();
    let refused = Setup::new().set("WEBHOOK_ADDR", "nonsense");
    let finished = refused.refused_with(stdout, stderr).finished().await;
    assert_eq!(finished.code, Some(2), "{finished}");
}

#[tokio::test]
async fn the_last_lines_come_out_before_the_process_ends() {
    let gateway = Gateway::start().await;
    gateway.terminate();
    let finished = gateway.finished().await;
    assert!(
        finished.stderr.trim_end().ends_with("drained"),
        "{finished}"
    );
}
