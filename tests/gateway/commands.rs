//! The command line, as people and scripts use it.

use std::{collections::HashSet, fs};

use serde_json::{Value, json};

use crate::support::{
    bodies::{CALL_ENDED, CALL_STARTED, SAMPLES, call_started},
    eventually,
    grpc::from_earliest,
    history::{Recorder, covered},
    process::{Finished, Gateway, Setup, run, run_in_shell, spawn},
};

/// Runs a command against a gateway, in its folder.
async fn ask(gateway: &Gateway, args: &[&str], input: &str) -> Finished {
    let grpc = format!("http://{}", gateway.grpc);
    let ca = gateway.ca().display().to_string();
    let place: &[&str] = match args[0] {
        "send" | "simulate" => &["--url", &gateway.webhook_url, "--ca", &ca],
        _ => &["--address", &grpc],
    };
    let args = [&args[..1], place, &args[1..]].concat();
    run(gateway.setup.folder(), &args, input).await
}

async fn good(gateway: &Gateway, args: &[&str], input: &str) -> String {
    let finished = ask(gateway, args, input).await;
    assert_eq!(finished.code, Some(0), "{finished}");
    finished.stdout
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .expect("a JSON object a line")
}

#[tokio::test]
async fn send_posts_bodies_from_files_and_standard_input_and_says_what_became_of_them() {
    let gateway = Gateway::start().await;
    let mut paths = Vec::new();
    for (number, sample) in SAMPLES.iter().enumerate() {
        let path = gateway.setup.folder().join(format!("{number}.json"));
        fs::write(&path, sample).unwrap();
        paths.push(path.display().to_string());
    }
    let files: Vec<&str> = paths.iter().map(String::as_str).collect();
    let sent = good(&gateway, &[&["send"], &files[..]].concat(), "").await;
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for (line, number) in sent.lines().zip(1..) {
        assert_eq!(words(line)[..2], ["stored".to_owned(), number.to_string()]);
    }
    assert_eq!(sent.lines().count(), 4);
    let again = good(&gateway, &["send"], CALL_STARTED).await;
    assert_eq!(words(&again)[..2], ["duplicate", "1"]);
    let events = gateway.all(Default::default(), 4).await;
    assert_eq!(words(&again)[2], events[0].id);

    let refused = ask(&gateway, &["send"], "[1]").await;
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("BODY_INVALID"), "{refused}");
}

#[tokio::test]
async fn tail_prints_canonical_json_and_the_body_itself() {
    let gateway = Gateway::start().await;
    gateway.post_all(SAMPLES.map(String::from)).await;
    let tail = ["tail", "--from-earliest", "-n", "4", "--format"];
    let printed = good(&gateway, &[&tail[..], &["json"]].concat(), "").await;
    let events = lines(&printed);
    assert_eq!(events.len(), 4);
    let first = &events[0];
    assert_eq!(first["sequence"], "1");
    assert_eq!(first["type"], "EVENT_TYPE_CALL_STARTED");
    assert_eq!(first["eventTime"], "2026-04-27T12:53:25.241195387Z");
    assert_eq!(first["callStarted"], json!({}));
    assert_eq!(
        events[1]["callTransferred"]["callSummary"]["durationSeconds"],
        45.621591
    );
    assert_eq!(
        events[3]["pcaCompleted"]["pcaTime"],
        "2026-04-27T12:56:59.200Z"
    );

    let printed = good(&gateway, &[&tail[..], &["raw"]].concat(), "").await;
    for (line, sample) in lines(&printed).iter().zip(SAMPLES) {
        assert_eq!(*line, serde_json::from_str::<Value>(sample).unwrap());
    }
}

#[tokio::test]
async fn tail_is_clean_in_a_pipe_whatever_callers_say() {
    let gateway = Gateway::start().await;
    gateway
        .post(
            r#"{"eventName":"CallHandler.CallEnded","payload":{"call_id":"a\u001b[31m\nb\u0007"}}"#,
        )
        .await;
    for more in [&["-v"][..], &[]] {
        let args = [&["tail", "--from-earliest", "-n", "1"], more].concat();
        let printed = good(&gateway, &args, "").await;
        let odd = printed.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(odd, None, "{printed}");
    }
}

#[tokio::test]
async fn tail_filters() {
    let gateway = Gateway::start().await;
    gateway.post_all(SAMPLES.map(String::from)).await;
    for (args, expected) in [
        (&["--type", "call-ended"][..], "3"),
        (&["--status", "failed"], "2"),
        (&["--name", "callAnalysis.pcaCompleted"], "4"),
        (&["--call", "62ef5c43425e3c729ab8c83f"], "3"),
        (&["--agent", "c51aa1b1-7eac-452d-8ba5-86a922d694e7"], "1"),
        (&["--since", "10m"], "1"),
    ] {
        let all = ["tail", "-n", "1", "--format", "json"];
        let begin = if args[0] == "--since" {
            &[][..]
        } else {
            &["--from-earliest"]
        };
        let printed = good(&gateway, &[&all[..], args, begin].concat(), "").await;
        assert_eq!(lines(&printed)[0]["sequence"], expected, "{args:?}");
    }
}

#[tokio::test]
async fn tail_goes_on_where_its_cursor_file_says() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..6).map(call_started)).await;
    let args = [
        "tail",
        "--from-earliest",
        "--cursor-file",
        "cursor",
        "-n",
        "2",
        "--format",
        "json",
    ];
    let mut sequences = Vec::new();
    for _ in 0..3 {
        let printed = good(&gateway, &args, "").await;
        sequences.extend(
            lines(&printed)
                .iter()
                .map(|event| event["sequence"].clone()),
        );
    }
    assert_eq!(sequences, ["1", "2", "3", "4", "5", "6"]);
    let cursor = fs::read_to_string(gateway.setup.folder().join("cursor")).unwrap();
    assert_eq!(covered(cursor.trim()), 6);
}

#[tokio::test]
async fn tail_comes_back_after_a_restart_of_the_gateway() {
    let gateway = Gateway::start().await;
    let address = format!("http://{}", gateway.grpc);
    let args = [
        "tail",
        "--address",
        &address,
        "--from-earliest",
        "--format",
        "json",
    ];
    let tail = spawn(gateway.setup.folder(), &args);
    let printed = |count: usize| {
        let tail = &tail;
        move || (tail.stdout().lines().count() >= count).then_some(())
    };
    gateway.post(call_started(1)).await;
    eventually("the first event", printed(1)).await;
    let gateway = gateway.kill().await.start().await;
    gateway.post(call_started(2)).await;
    eventually("the second event", printed(2)).await;
    let sequences: Vec<_> = lines(&tail.stdout())
        .iter()
        .map(|event| event["sequence"].clone())
        .collect();
    assert_eq!(sequences, ["1", "2"]);
    tail.signal("INT");
    let finished = tail.finished().await;
    assert_eq!(finished.code, Some(0), "{finished}");
}

#[tokio::test]
async fn events_lists_and_exports_and_tail_goes_on_from_there() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..250).map(call_started)).await;
    let sequences = |text: &str| -> Vec<u64> {
        let events = lines(text);
        let texts = events
            .iter()
            .map(|event| event["sequence"].as_str().unwrap().parse());
        texts.collect::<Result<_, _>>().unwrap()
    };
    let all = good(&gateway, &["events", "--cursor-file", "cursor"], "").await;
    assert_eq!(sequences(&all), (1..=250).collect::<Vec<_>>());
    let newest = good(&gateway, &["events", "--newest-first", "--limit", "3"], "").await;
    assert_eq!(sequences(&newest), [250, 249, 248]);
    let one = lines(&newest).remove(0);
    let id = one["id"].as_str().unwrap();
    let got = good(&gateway, &["events", "--id", id], "").await;
    assert_eq!(sequences(&got), [250]);
    let missing = ask(&gateway, &["events", "--id", "0"], "").await;
    assert_eq!(missing.code, Some(1), "{missing}");
    gateway.post(call_started(300)).await;
    let args = [
        "tail",
        "--cursor-file",
        "cursor",
        "-n",
        "1",
        "--format",
        "json",
    ];
    assert_eq!(sequences(&good(&gateway, &args, "").await), [251]);
    // An export can be sent elsewhere as it is.
    let raw = good(&gateway, &["events", "--format", "raw"], "").await;
    let other = Gateway::start().await;
    assert_eq!(good(&other, &["send"], &raw).await.lines().count(), 251);
}

#[tokio::test]
async fn made_up_calls_come_once_each_however_they_are_sent() {
    let gateway = Gateway::start().await;
    let recorder = Recorder::start(gateway.grpc, Default::default());
    recorder.subscribed().await;
    let args = [
        "simulate",
        "--calls",
        "200",
        "--rate",
        "1000",
        "--speed",
        "10000",
        "--seed",
        "7",
        "--out-of-order",
        "--duplicates",
    ];
    let finished = ask(&gateway, &args, "").await;
    assert_eq!(finished.code, Some(0), "{finished}");
    let said = finished.stdout.clone() + &finished.stderr;
    let count = |what: &str| -> usize {
        let words: Vec<&str> = said.split_whitespace().collect();
        let at = words.iter().position(|word| word.trim_matches(',') == what);
        let at = at.unwrap_or_else(|| panic!("no {what}: {finished}"));
        words[at - 1].parse().unwrap()
    };
    let stored = count("stored");
    assert!(count("duplicates") > 0, "{finished}");
    assert_eq!((count("refused"), count("unanswered")), (0, 0));
    let subscriber = recorder.until(stored as u64).await;
    let ids: Vec<&str> = subscriber.events().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), stored);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), stored);
    let calls: HashSet<&str> = subscriber
        .events()
        .map(|event| event.call_id.as_str())
        .collect();
    assert_eq!(calls.len(), 200);
    let times: Vec<_> = subscriber
        .events()
        .map(|event| event.event_time.map(|time| (time.seconds, time.nanos)))
        .collect();
    assert!(!times.is_sorted(), "out of order");
}

#[tokio::test]
async fn what_the_banner_offers_works() {
    let setup = Setup::new();
    let at = |addr: &str| {
        let setup = Setup::new().set("WEBHOOK_ADDR", addr);
        setup.set("ALLOW_INSECURE_WEBHOOK", "true")
    };
    for (setup, simulates) in [
        (setup, true),
        (at("127.0.0.2:0"), true),
        (at("0.0.0.0:0"), true),
        (at("127.0.0.1:0").set("WEBHOOK_PLAIN_HTTP", "true"), false),
    ] {
        let gateway = setup.start().await;
        let (banner, _) = gateway.output();
        let offered = |what: &str| banner.lines().find_map(|line| line.strip_prefix(what));
        let post = format!("{} --fail --silent", offered("Post:").expect(&banner));
        let tail = format!("{} --from-earliest -n 1", offered("Watch:").expect(&banner));
        let simulate = offered("Make up calls:");
        assert_eq!(simulate.is_some(), simulates, "{banner}");
        let simulate = simulate.map(|command| format!("{command} --calls 1 --speed 10000"));
        for command in [post, tail].into_iter().chain(simulate) {
            let finished = run_in_shell(gateway.setup.folder(), &command).await;
            assert_eq!(finished.code, Some(0), "{finished}");
        }
    }
}

#[tokio::test]
async fn who_reads_no_further_makes_no_error() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..3).map(call_started)).await;
    for command in ["events", "tail --from-earliest"] {
        let words = format!(
            "{{ \"$0\" {command} --address http://{}; echo \"ended with $?\" >&2; }} | head -n 1",
            gateway.grpc
        );
        let finished = run_in_shell(gateway.setup.folder(), &words).await;
        assert_eq!(finished.stdout.lines().count(), 1, "{finished}");
        assert_eq!(finished.stderr, "ended with 0\n", "{finished}");
    }
}

#[tokio::test]
async fn a_wrong_configuration_is_named_by_file_line_and_key() {
    let folder = Setup::new();
    let file = folder.folder().join("gateway.toml");
    let path = file.display().to_string();
    let check = async |toml: &str, code: i32, says: &[&str]| {
        fs::write(&file, toml).unwrap();
        let args = ["check-config", "--config", &path];
        let finished = run(folder.folder(), &args, "").await;
        assert_eq!(finished.code, Some(code), "{finished}");
        for words in says {
            let said = finished.stdout.contains(words) || finished.stderr.contains(words);
            assert!(said, "not said: {words}\n{finished}");
        }
    };
    check(
        "drain_seconds = 7\n",
        0,
        &["drain_seconds = 7", "configuration ok"],
    )
    .await;
    let place = format!("{path}:3:");
    check("\n\ndrain = 7\n", 2, &[&place, "drain"]).await;
    check(
        "[webhook]\n\nbody_bytes_max = 99999999\n",
        2,
        &[&place, "webhook.body_bytes_max"],
    )
    .await;
    check(
        "[webhook]\n\naddr = \"here\"\n",
        2,
        &[&place, "webhook.addr"],
    )
    .await;
    check("[webhook]\nsecret = \"s3cret\"\n", 0, &["secret = \"***\""]).await;
}

#[tokio::test]
async fn a_new_token_opens_the_door_that_its_entry_is_for() {
    let setup = Setup::new();
    let args = ["token", "new", "--name", "crm", "--expires", "90d"];
    let made = run(setup.folder(), &args, "").await;
    assert_eq!(made.code, Some(0), "{made}");
    let token = made.stderr.lines().find(|line| line.starts_with("vgw_"));
    let token = token.unwrap_or_else(|| panic!("{made}"));
    assert!(!made.stdout.contains(token), "{made}");
    let gateway = setup.file(&made.stdout).start().await;
    gateway.post(CALL_ENDED).await;
    let shown = ask(&gateway, &["events", "--token", token], "").await;
    assert_eq!(
        (shown.code, shown.stdout.lines().count()),
        (Some(0), 1),
        "{shown}"
    );
    let refused = ask(&gateway, &["events", "--token", "vgw_wrong"], "").await;
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stderr.contains("CREDENTIALS_INVALID"), "{refused}");
}

#[tokio::test]
async fn help_shows_examples_and_wrong_usage_is_2() {
    let folder = Setup::new();
    let help = |command: &'static [&'static str]| {
        let args = [command, &["--help"]].concat();
        let folder = folder.folder().to_owned();
        async move { run(&folder, &args, "").await }
    };
    for command in [
        &["serve"][..],
        &["tail"],
        &["events"],
        &["send"],
        &["simulate"],
        &["check-config"],
        &["token", "new"],
        &["completions"],
        &["descriptor"],
        &[],
    ] {
        let finished = help(command).await;
        assert_eq!(finished.code, Some(0), "{finished}");
        assert!(finished.stdout.contains("Examples:"), "{finished}");
    }
    for args in [
        &["nothing"][..],
        &["tail", "--nothing"],
        &[],
        &["tail", "--type", "none"],
        &["simulate", "--rate", "-1"],
        &["events", "--since", "1h", "--until", "2h"],
        &["events", "--status", ""],
        &["events", "--id", "1", "--type", "call-ended"],
        &["events", "--id", "1", "--limit", "3"],
        &["tail", "--view", "raw"],
        &["tail", "--format", "json", "-v"],
        &["tail", "--after", ""],
        &["tail", "--address", "ftp://127.0.0.1"],
    ] {
        let finished = run(folder.folder(), args, "").await;
        assert_eq!(finished.code, Some(2), "{finished}");
    }
}

#[tokio::test]
async fn shells_complete_commands_flags_and_values() {
    let setup = Setup::new();
    let folder = setup.folder();
    for shell in ["bash", "zsh", "fish"] {
        let finished = run(folder, &["completions", shell], "").await;
        assert_eq!(finished.code, Some(0), "{finished}");
        fs::write(folder.join(shell), &finished.stdout).unwrap();
    }
    // As bash itself asks: what was typed, word by word, and the function that `complete` knows.
    let script = r#"
        source ./bash
        function=$(complete -p verbex-gateway | sed 's/.*-F \([^ ]*\).*/\1/')
        COMP_WORDS=(verbex-gateway "$@")
        COMP_CWORD=$#
        "$function" verbex-gateway "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
        echo "${COMPREPLY[@]}"
    "#;
    fs::write(folder.join("ask"), script).unwrap();
    for (typed, completed) in [
        ("ta", "tail"),
        ("tail --from", "--from-earliest"),
        ("tail --format j", "json"),
        ("events --type call-s", "call-started"),
        ("token n", "new"),
        ("check-config --webhook-pl", "--webhook-plain-http"),
    ] {
        let finished = run_in_shell(folder, &format!("bash ./ask {typed}")).await;
        assert_eq!(finished.stdout.trim(), completed, "{finished}");
    }
}

#[tokio::test]
async fn a_demo_keeps_its_calls_apart_and_lets_them_be_seen() {
    let data = Setup::new();
    let folder = data
        .folder()
        .join("verbex-gateway-demo")
        .display()
        .to_string();
    let gateway = data.set("DATA_DIR", &folder).arg("--demo").start().await;
    let (mut stream, _) = gateway.subscribe(from_earliest(Default::default())).await;
    assert!(!stream.event().await.1.call_id.is_empty());
}
