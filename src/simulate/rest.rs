//! The missing webhooks of calls that an earlier simulation left unfinished.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rand::{SeedableRng, rngs::StdRng};

use super::{
    Webhook, agents,
    call::{About, Report},
};
use crate::proto::{Event, EventType};

/// What is known of a call.
struct Told {
    about: About,
    /// The time of its latest event.
    last: Timestamp,
    ended: bool,
    analyzed: bool,
}

/// Ends the unfinished calls among these events that belong to one of the first `agents_max`
/// agents. Gives the missing webhooks, to be sent at once. `events` are the newest of a log, in any
/// order.
#[must_use]
pub(crate) fn rest(events: &[Event], agents_max: usize, seed: u64) -> Vec<Webhook> {
    let mut rng = StdRng::seed_from_u64(seed);
    let agents = agents(agents_max);
    let mut calls: BTreeMap<&str, Told> = BTreeMap::new();
    for event in events {
        let Some(agent) = agents.iter().find(|agent| agent.id == event.agent_id) else {
            continue;
        };
        let time = event
            .event_time
            .and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
            .unwrap_or(Timestamp::MIN);
        let told = calls.entry(&event.call_id).or_insert_with(|| Told {
            about: About {
                call_id: event.call_id.clone(),
                trace_id: event.trace_id.clone(),
                agent_id: agent.id.clone(),
                organization_id: agent.organization_id.clone(),
            },
            last: time,
            ended: false,
            analyzed: false,
        });
        told.last = told.last.max(time);
        match event.r#type() {
            EventType::CallStarted => told.about.trace_id.clone_from(&event.trace_id),
            EventType::CallEnded => told.ended = true,
            EventType::PcaCompleted => told.analyzed = true,
            _ => {}
        }
    }

    let later = |time: Timestamp, seconds: i64| {
        let later = time.checked_add(SignedDuration::from_secs(seconds));
        later.unwrap_or(time)
    };
    let mut webhooks = Vec::new();
    for told in calls.values() {
        let (end, analysis) = (later(told.last, 1), later(told.last, 3));
        if !told.ended {
            let report = Report::enveloped(told.about.ended(), &mut rng);
            webhooks.push(webhook(&report, end, &told.about.call_id, "ended"));
        }
        if !told.analyzed {
            let report = Report::enveloped(told.about.analyzed(analysis), &mut rng);
            webhooks.push(webhook(
                &report,
                analysis,
                &told.about.call_id,
                "analysis completed",
            ));
        }
    }
    webhooks
}

fn webhook(report: &Report, sent: Timestamp, call_id: &str, what: &str) -> Webhook {
    let (headers, body) = report.request(sent);
    Webhook {
        at: Duration::ZERO,
        headers,
        body,
        description: format!("call {call_id} {what}"),
        redelivery: false,
    }
}
