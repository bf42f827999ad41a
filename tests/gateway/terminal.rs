//! What people see in a terminal.

use crate::support::{
    PATIENCE,
    bodies::{SAMPLES, call_started},
    eventually_within,
    process::{Gateway, Process, Setup, run_in_shell},
    terminal::{spawn_in_columns, spawn_in_terminal},
};

/// A command against a gateway, in a terminal.
fn shown(gateway: &Gateway, args: &[&str], variables: &[(&str, &str)]) -> Process {
    let address = format!("http://{}", gateway.grpc);
    let args = [&args[..1], &["--address", &address], &args[1..]].concat();
    spawn_in_terminal(gateway.setup.folder(), &args, variables)
}

/// Waits until the terminal shows this, perhaps only after a while.
async fn shows(process: &Process, text: &str) {
    let seen = || process.stdout().contains(text).then_some(());
    eventually_within(2 * PATIENCE, text, seen).await;
}

#[tokio::test]
async fn colours_are_for_terminals_and_for_who_asks_for_them() {
    let gateway = Gateway::start().await;
    gateway.post(call_started(1)).await;
    let coloured = |stdout: &str| {
        assert!(stdout.contains("call"), "{stdout}");
        stdout.contains('\u{1b}')
    };
    for (format, variables, expected) in [
        ("pretty", &[][..], true),
        ("pretty", &[("NO_COLOR", "1")], false),
        ("pretty", &[("TERM", "dumb")], false),
        ("json", &[], false),
    ] {
        let finished = shown(&gateway, &["events", "--format", format], variables)
            .finished()
            .await;
        assert_eq!(coloured(&finished.stdout), expected, "{finished}");
    }
    for (format, variables, expected) in [
        ("pretty", "", false),
        ("pretty", "CLICOLOR_FORCE=1", true),
        ("json", "CLICOLOR_FORCE=1", false),
    ] {
        let grpc = gateway.grpc;
        let words = format!("{variables} \"$0\" events --format {format} --address http://{grpc}");
        let finished = run_in_shell(gateway.setup.folder(), &words).await;
        assert_eq!(coloured(&finished.stdout), expected, "{finished}");
    }
}

#[tokio::test]
async fn lines_fit_the_terminal_and_follow_its_size() {
    const AGENT: &str = "c51aa1b1-7eac-452d-8ba5-86a922d694e7";
    let gateway = Gateway::start().await;
    let address = format!("http://{}", gateway.grpc);
    let folder = gateway.setup.folder();
    let started = |call: &str| {
        let event = "\"eventName\":\"CallHandler.CallStarted\"";
        format!(
            "{{{event},\"status\":\"success\",\"call_id\":\"{call}\",\"agent_id\":\"{AGENT}\"}}"
        )
    };
    gateway.post_all(SAMPLES.map(str::to_owned)).await;
    gateway.post(started("narrow")).await;
    let args = ["tail", "--from-earliest", "--address", &address];
    for verbose in [&[][..], &["-v"]] {
        let args = [&args[..], verbose].concat();
        let (tail, terminal) = spawn_in_columns(folder, &args, 80);
        shows(&tail, "  narrow  ").await;
        let lines = anstream::adapter::strip_str(&tail.stdout()).to_string();
        for line in lines.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let line = lines.lines().find(|line| line.contains("  narrow  "));
        assert!(
            line.is_some_and(|line| line.ends_with("c51aa1b1…")),
            "{lines}"
        );

        terminal.set_columns(120);
        let call = format!("wide{}", verbose.len());
        gateway.post(started(&call)).await;
        shows(&tail, &format!("  {call}  ")).await;
        let lines = anstream::adapter::strip_str(&tail.stdout()).to_string();
        let line = lines
            .lines()
            .find(|line| line.contains(&format!("  {call}  ")));
        assert!(line.is_some_and(|line| line.ends_with(AGENT)), "{lines}");
        tail.signal("INT");
        let finished = tail.finished().await;
        assert_eq!(finished.code, Some(0), "{finished}");
    }
}

#[tokio::test]
async fn tail_that_is_interrupted_says_how_to_go_on_and_misses_nothing() {
    let gateway = Gateway::start().await;
    gateway.post(call_started(1)).await;
    let tail = shown(&gateway, &["tail", "--from-earliest"], &[]);
    shows(&tail, "live").await;
    shows(&tail, "call-started").await;
    tail.signal("INT");
    let finished = tail.finished().await;
    assert_eq!(finished.code, Some(0), "{finished}");
    let (_, cursor) = finished
        .stdout
        .split_once("--after ")
        .expect(&finished.stdout);
    gateway.post_all((2..4).map(call_started)).await;
    let args = [
        "tail",
        "--after",
        cursor.trim(),
        "-n",
        "2",
        "--format",
        "json",
    ];
    let finished = shown(&gateway, &args, &[]).finished().await;
    let sequences = ["\"sequence\":\"2\"", "\"sequence\":\"3\""];
    assert!(
        sequences
            .iter()
            .all(|sequence| finished.stdout.contains(sequence)),
        "{finished}"
    );
}

#[tokio::test]
async fn tail_says_after_a_while_that_nothing_has_matched() {
    let gateway = Gateway::start().await;
    gateway.post(call_started(1)).await;
    let args = ["tail", "--from-earliest", "--agent", "nobody"];
    let tail = shown(&gateway, &args, &[]);
    shows(&tail, "nothing has matched yet").await;
    tail.signal("TERM");
    let finished = tail.finished().await;
    assert_eq!(finished.code, Some(0), "{finished}");
}

#[tokio::test]
async fn a_simulation_has_a_bar_on_a_terminal_and_none_in_a_pipe() {
    let gateway = Gateway::start().await;
    let ca = gateway.ca().display().to_string();
    let args = [
        "simulate",
        "--url",
        &gateway.webhook_url,
        "--ca",
        &ca,
        "--calls",
        "3",
        "--speed",
        "1000",
    ];
    let folder = gateway.setup.folder();
    let finished = spawn_in_terminal(folder, &args, &[]).finished().await;
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!(finished.stdout.contains('█'), "{finished}");
    // The bar is gone at the end, and the sum stands by itself.
    let last = finished
        .stdout
        .trim_end()
        .rsplit(['\r', '\u{1b}', '\n'])
        .next();
    assert!(
        last.is_some_and(|last| last.contains(" stored, ")),
        "{finished}"
    );

    let words = format!("\"$0\" {}", args.join(" "));
    let finished = run_in_shell(folder, &words).await;
    assert_eq!(
        (finished.code, &*finished.stderr),
        (Some(0), ""),
        "{finished}"
    );
    assert_eq!(finished.stdout.lines().count(), 1, "{finished}");
}

#[tokio::test]
async fn nothing_binary_is_written_to_a_terminal() {
    let setup = Setup::new();
    let finished = spawn_in_terminal(setup.folder(), &["descriptor"], &[])
        .finished()
        .await;
    assert_eq!(finished.code, Some(2), "{finished}");
    assert!(
        finished.stdout.contains("verbex-gateway descriptor > "),
        "{finished}"
    );
}
