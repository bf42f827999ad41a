//! `log erase`: what is personal goes from every file of the folder, and the events stay.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tonic::Code;
use verbex_gateway::proto::{
    EraseEventsRequest, Event, SubscribeRequest, erase_events_request::Target,
};

use super::{failed, good, log};
use crate::support::{
    bodies::{CALL_TRANSFERRED, call_started},
    grpc::{Refusal, from_earliest},
    process::{Gateway, Setup},
};

const PHONE: &str = "+8801762668080";
/// Texts that are said over and over again. Whatever is left of them has one as a whole.
const SAID: [&str; 3] = ["8801762668080", "Grünkohl", "tractor7"];

/// A transfer that says those texts in all places that a body has, with at least so many bytes.
fn transfer(call: &str, bytes: usize) -> String {
    let mut body: Value = serde_json::from_str(CALL_TRANSFERRED).unwrap();
    let said = SAID.join(" ").repeat(bytes / 20 + 1);
    body["call_id"] = call.into();
    body["caller"]["phone_number"] = PHONE.into();
    body["transfer_to"] = format!("sip:{PHONE}@example.org").into();
    body["transcript"] = json!([{"role": "user", "content": said}]);
    body["note"] = json!({"said": said, "number": 8_801_762_668_080_u64});
    body.to_string()
}

/// Where one of those texts is in a file of a folder.
fn remains(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(remains(&path));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for said in SAID {
            let at = bytes
                .windows(said.len())
                .position(|part| part == said.as_bytes());
            found.extend(at.map(|at| format!("{said} at {at} of {}", path.display())));
        }
    }
    found
}

/// What may be left of an event.
fn left(event: &Event) -> Event {
    Event {
        payload: None,
        unmodeled_fields: None,
        unmodeled_fields_omitted: false,
        erase_time: None,
        ..event.clone()
    }
}

/// Two calls between others, of all sizes: in one page, and over many.
async fn fill(gateway: &Gateway) -> Vec<Event> {
    let mut bodies = Vec::new();
    for (number, bytes) in [1, 300, 2_000, 9_000, 30_000, 200_000]
        .into_iter()
        .enumerate()
    {
        bodies.push(call_started(number));
        bodies.push(transfer(&format!("said-{}", number % 2), bytes));
    }
    bodies.extend((100..120).map(call_started));
    let count = bodies.len();
    gateway.post_all(bodies).await;
    gateway
        .all(from_earliest(SubscribeRequest::default()), count)
        .await
}

#[tokio::test]
async fn beside_a_gateway_nothing_is_left_of_what_was_said_and_the_events_are_delivered_erased() {
    let gateway = Gateway::start().await;
    let before = fill(&gateway).await;
    let data = gateway.setup.data();
    assert!(!remains(&data).is_empty());
    let address = gateway.grpc.to_string();
    let erase = async |words: &[&str]| {
        good(&data, &[&["erase", "--address", &address], words].concat()).await
    };
    assert_eq!(
        erase(&["--phone", PHONE, "--dry-run"]).await,
        "6 events to erase\n"
    );
    assert_eq!(erase(&["--call", "said-0"]).await, "3 events erased\n");
    assert_eq!(
        erase(&["--phone", "00880 1762-668080"]).await,
        "3 events erased\n"
    );
    let again = erase(&["--call", "said-0"]).await;
    assert!(again.starts_with("no event to erase"), "{again}");
    assert_eq!(remains(&data), [""; 0]);

    let after = gateway
        .all(from_earliest(SubscribeRequest::default()), before.len())
        .await;
    for (before, after) in before.iter().zip(&after) {
        let is_erased = before.call_id.starts_with("said-");
        assert_eq!(after.erase_time.is_some(), is_erased, "{after:?}");
        match is_erased {
            true => assert_eq!(
                *after,
                Event {
                    erase_time: after.erase_time,
                    ..left(before)
                }
            ),
            false => assert_eq!(after, before),
        }
    }
    // A repeat is still a repeat, and what is stored anew is not erased.
    let repeated = gateway.post(transfer("said-1", 300)).await;
    assert_eq!((repeated.duplicate, repeated.sequence), (true, 4));
    assert_eq!(remains(&data), [""; 0]);
    let erased = "verbex_gateway_log_erased_events_total 6\n";
    assert!(gateway.operations("/metrics").await.text.contains(erased));

    // The next start finds nothing either.
    let gateway = gateway.stop().await.start().await;
    let again = gateway
        .all(from_earliest(SubscribeRequest::default()), before.len())
        .await;
    assert_eq!(again, after);
    assert_eq!(remains(&data), [""; 0]);
}

#[tokio::test]
async fn without_a_gateway_the_command_erases_by_itself() {
    let gateway = Gateway::start().await;
    let before = fill(&gateway).await;
    let setup: Setup = gateway.stop().await;
    let data = setup.data();
    let erase = async |words: &[&str]| good(&data, &[&["erase"], words].concat()).await;
    assert_eq!(erase(&["--sequence", "2"]).await, "1 event erased\n");
    assert_eq!(erase(&["--phone", PHONE]).await, "5 events erased\n");
    assert_eq!(remains(&data), [""; 0]);
    let gateway = setup.start().await;
    let after = gateway
        .all(from_earliest(SubscribeRequest::default()), before.len())
        .await;
    let erased: Vec<bool> = after
        .iter()
        .map(|event| event.erase_time.is_some())
        .collect();
    let expected: Vec<bool> = before
        .iter()
        .map(|event| event.call_id.starts_with("said-"))
        .collect();
    assert_eq!(erased, expected);
}

#[tokio::test]
async fn a_gateway_with_another_log_erases_nothing_and_a_wrong_number_is_wrong_usage() {
    let gateway = Gateway::start().await;
    let other = Gateway::start().await;
    let stored = gateway.post(transfer("said-0", 300)).await;
    let data = gateway.setup.data();
    let address = other.grpc.to_string();
    let said = failed(&data, &["erase", "--call", "said-0", "--address", &address]).await;
    assert!(said.contains("has another log than"), "{said}");
    assert!(!remains(&data).is_empty());
    for words in [
        &["--phone", "1234"][..],
        &["--phone", "x"],
        &["--call", ""],
        &[],
    ] {
        let finished = log(&data, &[&["erase"], words].concat()).await;
        assert_eq!(finished.code, Some(2), "{finished}");
    }

    let mut admin = gateway.admin().await;
    for (target, field) in [
        (None, "target"),
        (Some(Target::CallId(String::new())), "call_id"),
        (Some(Target::PhoneNumber("1234".into())), "phone_number"),
        (Some(Target::Sequence(0)), "sequence"),
    ] {
        let request = EraseEventsRequest {
            target,
            dry_run: false,
        };
        let status = admin.erase_events(request).await.expect_err("a refusal");
        let refusal = Refusal::of(&status);
        assert_eq!(refusal.row(), (Code::InvalidArgument, "INVALID_REQUEST"));
        assert_eq!(refusal.fields, [field]);
    }
    let again = gateway.post(transfer("said-0", 300)).await;
    assert_eq!((again.duplicate, again.id), (true, stored.id));
}

#[tokio::test]
async fn a_restored_log_keeps_no_copies_that_erasure_does_not_reach() {
    let gateway = Gateway::start().await;
    fill(&gateway).await;
    let file = gateway
        .setup
        .folder()
        .join("backup.db")
        .display()
        .to_string();
    good(&gateway.setup.data(), &["backup", &file]).await;
    let restored = Setup::new();
    good(&restored.data(), &["restore", &file]).await;
    let words = ["erase", "--phone", PHONE];
    assert_eq!(good(&restored.data(), &words).await, "6 events erased\n");
    assert_eq!(remains(&restored.data()), [""; 0]);
    let said = good(&restored.data(), &["verify"]).await;
    assert!(said.contains("events are whole"), "{said}");
}

#[tokio::test]
async fn a_dry_run_changes_no_file_of_a_gateway_that_was_killed() {
    let gateway = Gateway::start().await;
    fill(&gateway).await;
    let setup = gateway.kill().await;
    let files = || ["events.db", "events.db-wal"].map(|name| fs::read(setup.data().join(name)));
    let before = files().map(Result::unwrap);
    let words = ["erase", "--phone", PHONE, "--dry-run"];
    assert_eq!(good(&setup.data(), &words).await, "6 events to erase\n");
    assert!(files().map(Result::unwrap) == before);
}
