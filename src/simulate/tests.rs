use std::collections::{HashMap, HashSet};

use super::*;
use crate::{
    proto::{Event, EventType, event::Payload},
    verbex::{Normalized, Rules, normalize},
};

fn options(calls: u64) -> Options {
    Options {
        calls: Some(calls),
        rate: 5.0,
        agents: 6,
        seed: 42,
        out_of_order: false,
        duplicates: false,
        speed: 1.0,
        start: "2026-04-27T12:53:25Z".parse().unwrap(),
    }
}

fn webhooks(options: Options) -> Vec<Webhook> {
    Simulation::new(options).collect()
}

fn take_in(webhook: &Webhook) -> Normalized {
    let rules = Rules {
        organization: None,
        id_key: [1; 32],
    };
    let headers: Vec<_> = webhook
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    normalize(
        &rules,
        headers,
        webhook.body.clone().into(),
        Timestamp::UNIX_EPOCH,
    )
    .unwrap()
}

fn event(webhook: &Webhook) -> Event {
    take_in(webhook).event.event
}

fn seconds(time: Option<prost_types::Timestamp>) -> f64 {
    let time = time.unwrap();
    time.seconds as f64 + f64::from(time.nanos) / 1e9
}

#[test]
fn every_webhook_is_an_event_of_its_type_without_surprises() {
    let mut types = HashSet::new();
    for webhook in webhooks(Options {
        out_of_order: true,
        duplicates: true,
        ..options(200)
    }) {
        let normalized = take_in(&webhook);
        assert_eq!(normalized.surprises, [], "{}", webhook.body);
        let event = normalized.event.event;
        assert_eq!(event.unmodeled_fields, None);
        assert_ne!(event.r#type(), EventType::Other);
        assert!(
            !event.agent_id.is_empty() && !event.call_id.is_empty() && !event.status.is_empty()
        );
        let flat = event.r#type() == EventType::CallTransferred;
        assert!(!event.trace_id.is_empty());
        assert_eq!(event.organization_id.is_empty(), flat);
        assert!(normalized.event.event_time_given);
        types.insert((event.r#type(), event.status));
    }
    // Start, end and analysis, and the four states of a transfer.
    assert_eq!(types.len(), 7);
}

#[test]
fn redeliveries_are_the_same_event_and_no_other_two_are() {
    let mut first = HashMap::new();
    let mut redeliveries = 0;
    let mut with_another_time = 0;
    for webhook in webhooks(Options {
        duplicates: true,
        ..options(500)
    }) {
        let id = take_in(&webhook).event.id;
        if webhook.redelivery {
            let before: &Webhook = &first[&id];
            redeliveries += 1;
            with_another_time +=
                usize::from(before.body != webhook.body || before.headers != webhook.headers);
        } else {
            let before = first.insert(id, webhook);
            assert_eq!(before, None);
        }
    }
    assert!(redeliveries > first.len() / 8);
    assert!(with_another_time > 0 && with_another_time < redeliveries);
}

#[test]
fn a_call_is_told_whole_and_in_order_unless_asked_otherwise() {
    let told = |out_of_order| {
        let mut calls: HashMap<String, Vec<String>> = HashMap::new();
        for webhook in webhooks(Options {
            out_of_order,
            ..options(300)
        }) {
            let event = event(&webhook);
            calls
                .entry(event.call_id)
                .or_default()
                .push(format!("{}/{}", event.event_name, event.status));
        }
        calls
    };
    let whole = |mut told: Vec<String>| {
        let last = told.split_off(told.len() - 2);
        assert_eq!(
            last,
            [
                "CallHandler.CallEnded/success",
                "callAnalysis.pcaCompleted/success"
            ]
        );
        assert_eq!(told.remove(0), "CallHandler.CallStarted/success");
        let states: Vec<_> = told
            .iter()
            .map(|told| told.strip_prefix("CallHandler.CallTransferred/").unwrap())
            .collect();
        assert!(
            matches!(
                states[..],
                [] | ["pending", "initiated", "success" | "failed"]
            ),
            "{states:?}"
        );
    };
    let in_order = told(false);
    assert_eq!(in_order.len(), 300);
    in_order.values().cloned().for_each(whole);

    let out_of_order = told(true);
    let mixed = out_of_order
        .iter()
        .filter(|(call, told)| in_order[*call] != **told)
        .count();
    assert!((100..300).contains(&mixed), "{mixed}");
    for (call, mut told) in out_of_order {
        let mut expected = in_order[&call].clone();
        expected.sort();
        told.sort();
        assert_eq!(told, expected);
    }
}

#[test]
fn what_happens_in_a_call_happens_between_its_start_and_its_end() {
    let mut calls: HashMap<String, Vec<Event>> = HashMap::new();
    let fast = Options {
        speed: 20.0,
        ..options(100)
    };
    for event in webhooks(fast).iter().map(event) {
        calls.entry(event.call_id.clone()).or_default().push(event);
    }
    let mut transfers = 0;
    for events in calls.values() {
        let when = |kind| {
            let event = events.iter().find(|event| event.r#type() == kind);
            seconds(event.unwrap().event_time)
        };
        let (start, end) = (when(EventType::CallStarted), when(EventType::CallEnded));
        for event in events {
            let time = seconds(event.event_time);
            if event.r#type() == EventType::CallTransferred {
                assert!(start < time && time < end, "{start} {time} {end}");
                transfers += 1;
            }
        }
    }
    assert!(transfers > 50);
}

#[test]
fn the_rest_of_a_simulation_that_was_broken_off_ends_each_call_once() {
    let all: Vec<Event> = webhooks(options(20)).iter().map(event).collect();
    for told in [0, 1, 7, 30, all.len()] {
        let (told, untold) = all.split_at(told);
        let mut events = told.to_vec();
        // An event of an agent that no simulation has: its call must not be ended.
        events.push(Event {
            agent_id: "2".into(),
            call_id: "1".into(),
            ..Event::default()
        });
        let calls: HashSet<&str> = told.iter().map(|event| event.call_id.as_str()).collect();
        let rest = rest(&events, 6, 1);
        let missing = untold.iter().filter(|event| {
            let ends = [EventType::CallEnded, EventType::PcaCompleted];
            calls.contains(&*event.call_id) && ends.contains(&event.r#type())
        });
        assert_eq!(rest.len(), missing.count());
        for webhook in &rest {
            let normalized = take_in(webhook);
            assert_eq!(normalized.surprises, []);
            let event = normalized.event.event;
            let call = told.iter().filter(|told| told.call_id == event.call_id);
            for before in call {
                assert!(seconds(before.event_time) < seconds(event.event_time));
                assert_eq!(before.agent_id, event.agent_id);
                if before.r#type() == EventType::CallStarted {
                    assert_eq!(before.trace_id, event.trace_id);
                    assert_eq!(before.organization_id, event.organization_id);
                }
            }
            events.push(event);
        }
        assert_eq!(super::rest(&events, 6, 2), []);
    }
}

#[test]
fn the_analysis_comes_one_to_thirty_seconds_after_the_end() {
    let mut ends = HashMap::new();
    for webhook in webhooks(options(100)) {
        let event = event(&webhook);
        match event.payload {
            Some(Payload::CallEnded(_)) => {
                ends.insert(event.call_id, seconds(event.event_time));
            }
            Some(Payload::PcaCompleted(pca)) => {
                let end = ends[&event.call_id];
                assert!((1.0..30.0).contains(&(seconds(event.event_time) - end)));
                assert!((0.999..30.0).contains(&(seconds(pca.pca_time) - end)));
            }
            _ => {}
        }
    }
    assert_eq!(ends.len(), 100);
}

#[test]
fn nothing_is_sent_before_it_happens_nor_out_of_turn() {
    for speed in [0.5, 1.0, 50.0] {
        let options = Options {
            out_of_order: true,
            duplicates: true,
            speed,
            ..options(200)
        };
        let start = seconds(Some(crate::event::timestamp(options.start)));
        let mut last = Duration::ZERO;
        for webhook in webhooks(options) {
            assert!(last <= webhook.at);
            last = webhook.at;
            let normalized = take_in(&webhook);
            if normalized.event.event_time_given {
                let happened = seconds(normalized.event.event.event_time) - start;
                assert!(happened <= webhook.at.as_secs_f64() + 1e-6);
            }
        }
    }
}

#[test]
fn calls_begin_at_the_rate_and_go_at_the_speed() {
    let spread = |rate, speed| {
        let sent = webhooks(Options {
            rate,
            speed,
            ..options(50)
        });
        sent.last().unwrap().at
    };
    assert!(spread(0.5, 1e6) >= Duration::from_secs(98));
    assert!(spread(0.5, 1e6) < Duration::from_secs(99));
    assert!(spread(1e6, 1.0) > Duration::from_secs(100));
    assert!(spread(1e6, 1000.0) < Duration::from_secs(1));
}

#[test]
fn the_speed_changes_nothing_in_what_calls_say_of_their_length() {
    let lengths = |speed| {
        let mut calls: HashMap<String, (Vec<f64>, Vec<f64>)> = HashMap::new();
        for webhook in webhooks(Options {
            speed,
            ..options(100)
        }) {
            let event = event(&webhook);
            let (times, told) = calls.entry(event.call_id).or_default();
            match event.payload {
                Some(Payload::CallTransferred(transfer)) => {
                    told.extend(transfer.call_summary.unwrap().duration_seconds);
                }
                _ => times.push(seconds(event.event_time)),
            }
        }
        let mut lengths: Vec<_> = calls
            .into_values()
            .flat_map(|(times, told)| {
                let length = times.last().unwrap() - times[0];
                [vec![length], told].concat()
            })
            .map(|seconds| (seconds * 1e3).round() as i64)
            .collect();
        lengths.sort_unstable();
        lengths
    };
    let real = lengths(1.0);
    assert!(real[0] > 10_000, "{real:?}");
    for speed in [0.5, 30.0, 1e4] {
        assert_eq!(lengths(speed), real);
    }
}

#[test]
fn the_same_seed_tells_the_same_and_another_one_other_calls_of_the_same_agents() {
    assert_eq!(webhooks(options(20)), webhooks(options(20)));
    let keys = |seed| {
        let events: Vec<_> = webhooks(Options {
            seed,
            ..options(200)
        })
        .iter()
        .map(event)
        .collect();
        let calls: HashSet<_> = events.iter().map(|event| event.call_id.clone()).collect();
        let agents: HashSet<_> = events.into_iter().map(|event| event.agent_id).collect();
        (calls, agents)
    };
    let ((calls, agents), (other_calls, other_agents)) = (keys(1), keys(2));
    assert_eq!(calls.len(), 200);
    assert!(calls.is_disjoint(&other_calls));
    assert_eq!(agents.len(), 6);
    assert_eq!(agents, other_agents);
}

#[test]
fn without_an_end_it_goes_on_lazily() {
    let endless = Simulation::new(Options {
        calls: None,
        ..options(0)
    });
    assert_eq!(endless.take(1000).count(), 1000);
    assert_eq!(webhooks(options(0)), []);
}

#[test]
fn phone_numbers_are_nobodys_and_transcripts_are_filled_in() {
    let fiction = [
        "+120255501",
        "+130355501",
        "+141555501",
        "+161755501",
        "+171355501",
        "+447700900",
        "+442079460",
        "+3363998",
        "+3319900",
        "+493023125",
        "+498999998",
    ];
    let mut languages = HashSet::new();
    for webhook in webhooks(options(300)) {
        let Some(Payload::CallTransferred(call)) = event(&webhook).payload else {
            continue;
        };
        let number = call.caller.unwrap().phone_number;
        assert!(
            fiction.iter().any(|prefix| number.starts_with(prefix))
                && (11..=14).contains(&number.len()),
            "{number}"
        );
        assert!(!webhook.description.contains(&number));
        assert!(call.transcript.len() > 5);
        assert!(
            call.transcript
                .iter()
                .all(|entry| !entry.content.contains(['{', '}']))
        );
        let metadata = call.metadata.unwrap();
        let length = seconds(metadata.call_end_time) - seconds(metadata.call_start_time);
        assert!((length - call.call_summary.unwrap().duration_seconds.unwrap()).abs() < 1e-5);
        languages.insert(metadata.language);
    }
    assert_eq!(languages.len(), 7);
}

#[test]
fn bodies_and_headers_look_as_in_the_guide() {
    let shape = |body: &str| {
        let mut shape: serde_json::Value = serde_json::from_str(body).unwrap();
        blank(&mut shape);
        shape
    };
    let mut seen = HashSet::new();
    for webhook in webhooks(options(50)) {
        let event = event(&webhook);
        let sample = match event.r#type() {
            EventType::CallStarted => {
                include_str!("../../tests/fixtures/verbex/call_started.json")
            }
            EventType::CallEnded => include_str!("../../tests/fixtures/verbex/call_ended.json"),
            EventType::PcaCompleted => {
                include_str!("../../tests/fixtures/verbex/pca_completed.json")
            }
            _ => include_str!("../../tests/fixtures/verbex/call_transferred.json"),
        };
        assert_eq!(shape(&webhook.body), shape(sample));
        let names: Vec<_> = webhook.headers.iter().map(|(name, _)| *name).collect();
        let full = [
            "Content-Type",
            "User-Agent",
            "X-Webhook-Event",
            "X-Webhook-Traceid",
            "X-Webhook-Timestamp",
        ];
        assert_eq!(names, full);
        seen.insert(event.r#type());
    }
    assert_eq!(seen.len(), 4);
}

/// Keeps names and types of values. Times and ids become patterns without their digits, and all
/// other texts become empty.
fn blank(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => fields.values_mut().for_each(blank),
        Value::Array(items) => {
            items.truncate(1);
            items.iter_mut().for_each(blank);
            if items.first().is_some_and(|item| !item.is_object()) {
                items.clear();
            }
        }
        Value::Number(number) => *value = number.is_f64().into(),
        Value::String(text) => {
            let is_time = text.parse::<Timestamp>().is_ok();
            let pattern: String = text
                .chars()
                .map(|c| if c.is_ascii_hexdigit() { '0' } else { c })
                .collect();
            let fixed = is_time || pattern.starts_with("00000000");
            *text = if fixed { pattern } else { String::new() };
        }
        _ => {}
    }
}
