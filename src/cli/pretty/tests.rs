use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    proto::{CallMetadata, CallSummary, Caller, PcaCompleted, TranscriptEntry},
    verbex::{Rules, normalize},
};

fn time(text: &str) -> Option<prost_types::Timestamp> {
    Some(crate::event::timestamp(text.parse().unwrap()))
}

fn pretty() -> Pretty {
    Pretty {
        zone: TimeZone::get("Asia/Dhaka").unwrap(),
        color: false,
        columns: Some(120),
        details: false,
    }
}

fn started() -> Event {
    Event {
        sequence: 1,
        id: "0123456789abcdef0123456789abcdef".into(),
        r#type: EventType::CallStarted.into(),
        event_name: "CallHandler.CallStarted".into(),
        agent_id: "c51aa1b1-7eac-452d-8ba5-86a922d694e7".into(),
        call_id: "69ef7c43425e3c729ab8c83f".into(),
        status: "success".into(),
        event_time: time("2026-04-27T12:53:25.241195387Z"),
        receive_time: time("2026-04-27T12:53:25.9Z"),
        ..Event::default()
    }
}

fn transferred() -> Event {
    let entry = |role: &str, content: &str| TranscriptEntry {
        role: role.into(),
        content: content.into(),
    };
    Event {
        r#type: EventType::CallTransferred.into(),
        status: "failed".into(),
        payload: Some(Payload::CallTransferred(CallTransferred {
            transfer_to: "sip:01751373839@115.127.146.155".into(),
            caller: Some(Caller {
                phone_number: "+8801762668080".into(),
            }),
            call_summary: Some(CallSummary {
                duration_seconds: Some(45.621_591),
                topics_discussed: vec!["call_transfer_request".into(), "billing".into()],
                transfer_reason: "Customer requested to speak with a human agent.".into(),
                customer_sentiment: "neutral".into(),
                ..CallSummary::default()
            }),
            transcript: vec![
                entry("user", "Hi, I need assistance.\nNow!"),
                entry("agent", "How can I help you today?"),
            ],
            metadata: Some(CallMetadata::default()),
        })),
        ..started()
    }
}

fn check(pretty: &Pretty, event: &Event, expected: &str) {
    let mut lines = String::new();
    pretty.render(event, &mut lines);
    assert_eq!(lines, expected);
}

#[test]
fn an_erased_event_says_so_and_when() {
    let pretty = Pretty {
        columns: None,
        details: true,
        ..pretty()
    };
    let mut lines = String::new();
    let erased = Event {
        payload: None,
        erase_time: time("2026-05-01T08:00:00Z"),
        ..transferred()
    };
    pretty.render(&erased, &mut lines);
    assert!(
        lines.lines().next().unwrap().ends_with("  erased"),
        "{lines}"
    );
    assert!(
        lines.contains("    erased        2026-05-01 14:00:00\n"),
        "{lines}"
    );
}

#[test]
fn an_event_is_one_line_in_local_time_that_fits_a_screen() {
    check(
        &pretty(),
        &started(),
        "2026-04-27 18:53:25  call-started      success    69ef7c43425e3c729ab8c83f  c51aa1b1-7eac-452d-8ba5-86a922d694e7\n",
    );
    // The target gets space before the whole of an id.
    check(
        &pretty(),
        &transferred(),
        "2026-04-27 18:53:25  call-transferred  failed     69ef7c43425e3c729ab8c83f  c51aa1b1…  to sip:01751373839@115.127.146.1…\n",
    );
    let analysis = PcaCompleted {
        reason: "no_answer".into(),
        pca_time: None,
    };
    let analysed = Event {
        r#type: EventType::PcaCompleted.into(),
        payload: Some(Payload::PcaCompleted(analysis)),
        ..started()
    };
    check(
        &pretty(),
        &analysed,
        "2026-04-27 18:53:25  pca-completed     success    69ef7c43425e3c729ab8c83f  c51aa1b1…  no_answer\n",
    );
}

#[test]
fn a_wider_terminal_shows_more() {
    let check = |columns: usize, event: &Event, expected: &str| {
        let pretty = Pretty {
            columns: Some(columns),
            ..pretty()
        };
        check(&pretty, event, expected);
    };
    check(
        80,
        &started(),
        "04-27 18:53:25  call-started      success    69ef7c43425e3c729ab8c83f  c51aa1b1…\n",
    );
    check(
        80,
        &transferred(),
        "04-27 18:53:25  call-transferred  failed     69ef7c43425e3c729ab8c83f  c51aa1b1…\n",
    );
    check(
        100,
        &transferred(),
        "2026-04-27 18:53:25  call-transferred  failed     69ef7c43425e3c729ab8c83f  c51aa1b1…  to sip:01751…\n",
    );
    check(
        150,
        &transferred(),
        "2026-04-27 18:53:25  call-transferred  failed     69ef7c43425e3c729ab8c83f  c51aa1b1-7eac-452d-8ba5-86a922d694e7  to sip:01751373839@115.127.146.155\n",
    );
    let longer = Event {
        call_id: "c51aa1b1-7eac-452d-8ba5-86a922d694e7".into(),
        ..started()
    };
    check(
        80,
        &longer,
        "04-27 18:53:25  call-started      success    c51aa1b1-7eac-452d-8ba5…  c51aa1b1…\n",
    );
    check(
        100,
        &longer,
        "2026-04-27 18:53:25  call-started      success    c51aa1b1-7eac-452d-8ba5-86a922d694e7  c51aa1b1…\n",
    );
    check(20, &started(), "04-27 18:53:25  cal…\n");
}

proptest! {
    #[test]
    fn no_line_is_wider_than_the_terminal(
        columns in 40_usize..200,
        text in "(\\PC|[a-z -]|\\n){0,90}",
        details: bool,
    ) {
        let pretty = Pretty { columns: Some(columns), details, ..pretty() };
        let mut event = transferred();
        event.call_id.clone_from(&text);
        event.agent_id.clone_from(&text);
        event.status.clone_from(&text);
        event.event_name.clone_from(&text);
        if let Some(Payload::CallTransferred(transfer)) = &mut event.payload {
            transfer.transfer_to.clone_from(&text);
            transfer.transcript[0].content.clone_from(&text);
            transfer.transcript[1].role.clone_from(&text);
        }
        let mut lines = String::new();
        pretty.render(&event, &mut lines);
        for line in lines.lines() {
            prop_assert!(width(line) <= columns, "{} of {columns}: {line}", width(line));
        }
    }
}

/// In many terminals a Bengali vowel sign takes a column. No Bengali character takes more.
#[test]
fn bengali_is_not_wider_than_the_terminal() {
    let words = "আমার বিলটা দুইবার কাটা হয়েছে, একজনের সাথে কথা বলতে চাই। ";
    for columns in 40..130 {
        let mut event = transferred();
        event.status = "ব্যর্থ হয়েছে".into();
        if let Some(Payload::CallTransferred(transfer)) = &mut event.payload {
            transfer.transfer_to = words.into();
            transfer.transcript[0].role = "গ্রাহক".into();
            transfer.transcript[0].content = words.repeat(5);
            transfer.transcript[1].content = words.replace(' ', "");
        }
        let pretty = Pretty {
            columns: Some(columns),
            details: true,
            ..pretty()
        };
        let mut lines = String::new();
        pretty.render(&event, &mut lines);
        for line in lines.lines() {
            let taken = line.chars().count();
            assert!(taken <= columns, "{taken} of {columns}: {line}");
        }
        assert!(lines.contains("সাথে"), "{lines}");
    }
}

#[test]
fn a_text_is_broken_at_spaces_and_within_words_that_are_too_long() {
    let check = |text: &str, columns: usize, expected: &[&str]| {
        assert_eq!(wrap(text, columns), expected, "{text:?} in {columns}");
    };
    check("", 5, &[""]);
    check("one two three", 7, &["one two", "three"]);
    check("one two three", 6, &["one", "two", "three"]);
    check("one   two", 5, &["one", "two"]);
    check("abcdefgh ij", 3, &["abc", "def", "gh", "ij"]);
    check("  abc", 3, &["  a", "bc"]);
    check("你好吗", 4, &["你好", "吗"]);
    check("你好", 1, &["你", "好"]);
    check("কথা", 2, &["কথ", "া"]);
}

#[test]
fn what_is_missing_keeps_its_column() {
    let bare = Event {
        r#type: EventType::Other.into(),
        event_name: "CallHandler.CallParked".into(),
        receive_time: time("2026-04-27T12:53:25Z"),
        ..Event::default()
    };
    check(
        &pretty(),
        &bare,
        "2026-04-27 18:53:25  other             -          -                         -          CallHandler.CallParked\n",
    );
    check(
        &pretty(),
        &Event::default(),
        "-                    other             -          -                         -\n",
    );
}

#[test]
fn a_pipe_gets_ids_and_texts_whole() {
    let pretty = Pretty {
        columns: None,
        ..pretty()
    };
    let mut event = transferred();
    if let Some(Payload::CallTransferred(transfer)) = &mut event.payload {
        transfer.transfer_to = "x".repeat(50);
    }
    check(
        &pretty,
        &event,
        &format!(
            "2026-04-27 18:53:25  call-transferred  failed     69ef7c43425e3c729ab8c83f  c51aa1b1-7eac-452d-8ba5-86a922d694e7  to {}\n",
            "x".repeat(50)
        ),
    );
}

#[test]
fn what_was_said_is_shown_only_if_asked_for() {
    let narrow = Pretty {
        details: true,
        columns: Some(60),
        ..pretty()
    };
    check(
        &narrow,
        &transferred(),
        "\
04-27 18:53:25  call-transferred  failed     69ef7c43425e3c…
    event         1 0123456789abcdef0123456789abcdef
    name          CallHandler.CallStarted
    agent         c51aa1b1-7eac-452d-8ba5-86a922d694e7
    happened      2026-04-27 18:53:25.241195387
    to            sip:01751373839@115.127.146.155
    caller        +8801762668080
    duration      45.621591 s
    reason        Customer requested to speak with a human
                  agent.
    sentiment     neutral
    topics        call_transfer_request; billing
       user  Hi, I need assistance.\\nNow!
      agent  How can I help you today?
",
    );
    let pipe = Pretty {
        columns: None,
        ..narrow
    };
    let mut lines = String::new();
    pipe.render(&transferred(), &mut lines);
    assert!(lines.contains("    reason        Customer requested to speak with a human agent.\n"));
    // What the first line shows in full is not repeated.
    assert!(
        !lines.contains("    agent    ") && !lines.contains("    to    "),
        "{lines}"
    );
}

/// The README shows these events as `tail` prints them on a terminal of 80 columns.
#[test]
fn the_readme_shows_what_tail_prints() {
    let readme = include_str!("../../../README.md");
    let rules = Rules {
        organization: None,
        id_key: [0; 32],
    };
    let event = |sequence: u64, receive_time: &str, body: serde_json::Value| {
        let body = body.to_string().into();
        let normalized =
            normalize(&rules, Vec::new(), body, receive_time.parse().unwrap()).unwrap();
        Event {
            sequence,
            ..normalized.event.event
        }
    };
    let enveloped = |sequence, time: &str, name: &str| {
        event(
            sequence,
            time,
            json!({
                "eventName": name, "traceId": "69ef5c43425e3c729ab8c83f", "timestamp": time,
                "organizationId": "27117463-c11e-4c75-affd-f743216f1bef",
                "payload": {"call_id": "69ef7c43425e3c729ab8c83f", "status": "success",
                    "reason": "success", "agent_id": "c51aa1b1-7eac-452d-8ba5-86a922d694e7"},
            }),
        )
    };
    let transfer = event(
        2,
        "2026-04-27T14:53:48.4Z",
        json!({
            "call_id": "69ef7c43425e3c729ab8c83f", "status": "pending",
            "agent_id": "c51aa1b1-7eac-452d-8ba5-86a922d694e7",
            "timestamp": "2026-04-27T14:53:48.241195Z",
            "transfer_to": "sip:2078@192.0.2.71",
            "caller": {"phone_number": "+12025550123"},
            "call_summary": {"duration_seconds": 22.9, "topics_discussed": ["billing"],
                "transfer_reason": "The caller was charged twice and wants to speak with a person.",
                "customer_sentiment": "negative"},
            "transcript": [
                {"role": "user",
                    "content": "You charged me twice this month. Can I talk to somebody?"},
                {"role": "agent", "content": "Of course. I am putting you through to a colleague."},
            ],
        }),
    );
    let events = [
        enveloped(1, "2026-04-27T14:53:25.4Z", "CallHandler.CallStarted"),
        transfer.clone(),
        enveloped(3, "2026-04-27T14:56:41.4Z", "CallHandler.CallEnded"),
        enveloped(4, "2026-04-27T14:56:59.4Z", "callAnalysis.pcaCompleted"),
    ];
    let mut pretty = Pretty {
        zone: TimeZone::UTC,
        columns: Some(80),
        ..pretty()
    };
    let printed = |pretty: &Pretty, events: &[Event]| {
        let mut lines = String::new();
        events
            .iter()
            .for_each(|event| pretty.render(event, &mut lines));
        format!("```text\n{lines}```\n")
    };
    let plain = printed(&pretty, &events);
    assert!(readme.contains(&plain), "not in the README:\n{plain}");
    pretty.details = true;
    let verbose = printed(&pretty, &[transfer]);
    assert!(readme.contains(&verbose), "not in the README:\n{verbose}");
}

#[test]
fn colours_follow_type_and_status() {
    let pretty = Pretty {
        color: true,
        ..pretty()
    };
    let mut event = transferred();
    event.payload = None;
    check(
        &pretty,
        &event,
        "2026-04-27 18:53:25  \u{1b}[33mcall-transferred\u{1b}[0m  \u{1b}[1m\u{1b}[31mfailed   \u{1b}[0m  69ef7c43425e3c729ab8c83f  c51aa1b1-7eac-452d-8ba5-86a922d694e7\n",
    );
}

#[test]
fn nothing_from_a_caller_reaches_the_terminal_as_a_command() {
    let hostile = "\u{1b}[2J\u{9b}31m\r\n\u{7}\u{202e}txt\u{2066}\u{2028}".to_owned();
    let mut event = transferred();
    event.call_id.clone_from(&hostile);
    event.agent_id.clone_from(&hostile);
    event.status.clone_from(&hostile);
    event.event_name.clone_from(&hostile);
    event.organization_id.clone_from(&hostile);
    event.trace_id.clone_from(&hostile);
    if let Some(Payload::CallTransferred(transfer)) = &mut event.payload {
        transfer.transfer_to.clone_from(&hostile);
        transfer.caller = Some(Caller {
            phone_number: hostile.clone(),
        });
        transfer.call_summary = Some(CallSummary {
            topics_discussed: vec![hostile.clone()],
            transfer_reason: hostile.clone(),
            ..CallSummary::default()
        });
        transfer.transcript = vec![TranscriptEntry {
            role: hostile.clone(),
            content: hostile.clone(),
        }];
    }
    event.unmodeled_fields = Some(prost_types::Struct {
        fields: [(hostile, prost_types::Value::default())].into(),
    });
    let mut lines = String::new();
    let pretty = Pretty {
        details: true,
        ..pretty()
    };
    pretty.render(&event, &mut lines);
    assert_eq!(lines.replace('\n', "").find(is_hazard), None, "{lines}");
    assert_eq!(lines.lines().count(), 13, "{lines}");
}

#[test]
fn plain_text_in_any_script_is_not_escaped() {
    for text in ["", "plain", "স্বাগতম ‌‍", "مرحبا", "👩‍👩‍👧", "back\\slash"]
    {
        assert_eq!(escape(text), text);
    }
    assert_eq!(escape("a\tb\u{1b}[0m"), "a\\tb\\u{1b}[0m");
    assert_eq!(escape("\u{202e}gnp"), "\\u{202e}gnp");
}
