use super::*;
use crate::proto::{CallMetadata, CallSummary, Caller, PcaCompleted, TranscriptEntry};

fn time(text: &str) -> Option<prost_types::Timestamp> {
    Some(crate::event::timestamp(text.parse().unwrap()))
}

fn pretty() -> Pretty {
    Pretty {
        zone: TimeZone::get("Asia/Dhaka").unwrap(),
        color: false,
        shorten: true,
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
fn an_event_is_one_line_in_local_time_that_fits_a_screen() {
    check(
        &pretty(),
        &started(),
        "2026-04-27 18:53:25  call-started      success    69ef7c43425e3c729ab8c83f  c51aa1b1…\n",
    );
    let line = "2026-04-27 18:53:25  call-transferred  failed     69ef7c43425e3c729ab8c83f  c51aa1b1…  to sip:01751373839@115.127.146.155\n";
    check(&pretty(), &transferred(), line);
    assert!(line.trim_end().chars().count() <= 121);
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
        shorten: false,
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
    let pretty = Pretty {
        details: true,
        ..pretty()
    };
    check(
        &pretty,
        &transferred(),
        "\
2026-04-27 18:53:25  call-transferred  failed     69ef7c43425e3c729ab8c83f  c51aa1b1…  to sip:01751373839@115.127.146.155
    event         1 0123456789abcdef0123456789abcdef
    name          CallHandler.CallStarted
    agent         c51aa1b1-7eac-452d-8ba5-86a922d694e7
    happened      2026-04-27 18:53:25.241195387
    to            sip:01751373839@115.127.146.155
    caller        +8801762668080
    duration      45.621591 s
    reason        Customer requested to speak with a human agent.
    sentiment     neutral
    topics        call_transfer_request; billing
       user  Hi, I need assistance.\\nNow!
      agent  How can I help you today?
",
    );
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
        "2026-04-27 18:53:25  \u{1b}[33mcall-transferred\u{1b}[0m  \u{1b}[1m\u{1b}[31mfailed   \u{1b}[0m  69ef7c43425e3c729ab8c83f  c51aa1b1…\n",
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
