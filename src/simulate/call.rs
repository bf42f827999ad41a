//! One call: what happens in it, and the webhooks that report it.

use std::time::Duration;

use jiff::Timestamp;
use rand::{Rng, RngExt, seq::IndexedRandom};
use serde::Serialize;

use super::{
    Agent, Clock, Options, Webhook,
    scripts::{SCRIPTS, Script, Turn},
    uuid,
};

/// What happens in a call, in order.
#[derive(Debug)]
pub(super) struct Call {
    id: String,
    clock: Clock,
    moments: Vec<Moment>,
}

/// An event in a call, which Verbex reports.
#[derive(Debug)]
struct Moment {
    /// Seconds since the call began.
    seconds: f64,
    what: &'static str,
    report: Report,
}

impl Call {
    pub(super) fn make_up(agent: &Agent, clock: Clock, rng: &mut impl Rng) -> Self {
        let script = SCRIPTS.choose(rng).unwrap_or(&SCRIPTS[0]);
        let id = object_id(clock.time(0.0), rng);
        let mut call = Self {
            id,
            clock,
            moments: Vec::new(),
        };
        let about = About {
            call_id: call.id.clone(),
            trace_id: object_id(clock.time(0.0), rng),
            agent_id: agent.id.clone(),
            organization_id: agent.organization_id.clone(),
        };
        call.tell(0.0, "started", Report::enveloped(about.started(), rng));

        let mut end = rng.random_range(25.0..180.0);
        if rng.random_bool(0.4) {
            end = call.transfer(end, agent, script, rng);
        }
        call.tell(end, "ended", Report::enveloped(about.ended(), rng));

        let analyzed = end + rng.random_range(1.0..29.0);
        let analysis = about.analyzed(clock.time(analyzed));
        let sent = analyzed + rng.random_range(0.05..0.3);
        call.tell(sent, "analysis completed", Report::enveloped(analysis, rng));
        call
    }

    /// The caller asks for a person at `asked`. Gives the time when the call ends.
    fn transfer(&mut self, asked: f64, agent: &Agent, script: &Script, rng: &mut impl Rng) -> f64 {
        let name = script.names.choose(rng).copied().unwrap_or_default();
        let number = rng.random_range(10_000..100_000).to_string();
        let fill = |text: &str| text.replace("{name}", name).replace("{number}", &number);
        let begin = self.clock.time(0.0);
        let transfer = self.clock.time(asked);
        let pending = Transfer {
            call_id: self.id.clone(),
            agent_id: agent.id.clone(),
            status: "pending",
            transfer_to: destination(rng),
            caller: Caller {
                phone_number: script.phones.number(rng),
            },
            call_summary: CallSummary {
                duration_seconds: duration_seconds(begin, transfer),
                topics_discussed: script.topics,
                actions_taken: script.actions,
                transfer_reason: script.transfer_reason,
                customer_sentiment: script.sentiment,
                unresolved_issues: script.unresolved,
            },
            transcript: script
                .turns
                .iter()
                .map(|Turn(role, content)| TranscriptEntry {
                    role,
                    content: fill(content),
                })
                .collect(),
            metadata: Metadata {
                call_start_time: micros(begin),
                call_end_time: micros(transfer),
                language: script.language,
            },
        };
        let initiated = Transfer {
            status: "initiated",
            ..pending.clone()
        };
        let (what, status) = if rng.random_bool(0.7) {
            ("transferred", "success")
        } else {
            ("transfer failed", "failed")
        };
        let mut over = initiated.clone();
        over.status = status;
        if status == "failed" {
            over.transcript.push(TranscriptEntry {
                role: "agent",
                content: fill(script.failure),
            });
        }

        let dialled = asked + rng.random_range(0.5..2.0);
        let answered = dialled + rng.random_range(3.0..20.0);
        let told = Report::transfer(pending, rng);
        self.tell(asked, "transfer pending", told);
        let told = Report::transfer(initiated, rng);
        self.tell(dialled, "transfer initiated", told);
        let told = Report::transfer(over, rng);
        self.tell(answered, what, told);
        answered + rng.random_range(2.0..60.0)
    }

    fn tell(&mut self, seconds: f64, what: &'static str, report: Report) {
        self.moments.push(Moment {
            seconds,
            what,
            report,
        });
    }

    /// The webhooks of the call, not sorted.
    pub(super) fn webhooks(&self, options: &Options, rng: &mut impl Rng) -> Vec<Webhook> {
        let mut arrivals: Vec<f64> = self
            .moments
            .iter()
            .map(|moment| moment.seconds + rng.random_range(0.05..0.4))
            .collect();
        for index in 1..arrivals.len() {
            let late = arrivals[index] + rng.random_range(0.1..2.0);
            if rng.random_bool(0.3) && options.out_of_order {
                arrivals[index - 1] = late;
            }
        }

        let mut webhooks = Vec::with_capacity(self.moments.len());
        for (moment, arrival) in self.moments.iter().zip(arrivals) {
            webhooks.push(self.webhook(moment, moment.seconds, arrival, false));
            let again = arrival + rng.random_range(0.5..8.0);
            // A repeated webhook may have the time of the attempt, or that of the event.
            let sent = if rng.random() {
                again - 0.05
            } else {
                moment.seconds
            };
            if rng.random_bool(0.25) && options.duplicates {
                webhooks.push(self.webhook(moment, sent, again, true));
            }
        }
        webhooks
    }

    fn webhook(&self, moment: &Moment, sent: f64, arrival: f64, redelivery: bool) -> Webhook {
        let (headers, body) = moment.report.request(self.clock.time(sent));
        let again = if redelivery { ", again" } else { "" };
        Webhook {
            at: self.clock.at(arrival),
            headers,
            body,
            description: format!("call {} {}{again}", self.id, moment.what),
            redelivery,
        }
    }
}

/// The values that all envelopes of a call share.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) call_id: String,
    pub(super) trace_id: String,
    pub(super) agent_id: String,
    pub(super) organization_id: String,
}

impl About {
    fn started(&self) -> Envelope {
        self.envelope("CallHandler.CallStarted", "CallStarted", self.status())
    }

    pub(super) fn ended(&self) -> Envelope {
        self.envelope("CallHandler.CallEnded", "CallEnded", self.status())
    }

    pub(super) fn analyzed(&self, time: Timestamp) -> Envelope {
        let payload = Payload::Analysis {
            reason: "success",
            agent_id: self.agent_id.clone(),
            call_id: self.call_id.clone(),
            status: "success",
            timestamp: time.as_millisecond(),
        };
        self.envelope("callAnalysis.pcaCompleted", "pcaCompleted", payload)
    }

    fn status(&self) -> Payload {
        Payload::Call {
            call_id: self.call_id.clone(),
            status: "success",
            agent_id: self.agent_id.clone(),
        }
    }

    fn envelope(
        &self,
        event_name: &'static str,
        event: &'static str,
        payload: Payload,
    ) -> Envelope {
        Envelope {
            trace_id: self.trace_id.clone(),
            organization_id: self.organization_id.clone(),
            payload,
            event_name,
            event,
        }
    }
}

/// The content of a webhook.
#[derive(Debug)]
pub(super) struct Report {
    content: Content,
    /// In the guide's samples header and body have different trace ids.
    header_trace_id: String,
}

#[derive(Debug)]
enum Content {
    Enveloped(Box<Envelope>),
    Transfer(Box<Transfer>),
}

impl Report {
    pub(super) fn enveloped(envelope: Envelope, rng: &mut impl Rng) -> Self {
        Self {
            content: Content::Enveloped(Box::new(envelope)),
            header_trace_id: uuid(rng),
        }
    }

    fn transfer(transfer: Transfer, rng: &mut impl Rng) -> Self {
        Self {
            content: Content::Transfer(Box::new(transfer)),
            header_trace_id: uuid(rng),
        }
    }

    /// Headers and body of the webhook, sent at this time. As in the guide, a transfer has no
    /// envelope: only its headers have the event's name and time.
    pub(super) fn request(&self, sent: Timestamp) -> (Vec<(&'static str, String)>, String) {
        let timestamp = format!("{sent:.9}");
        let (event_name, body) = match &self.content {
            Content::Enveloped(envelope) => {
                let timestamp = timestamp.clone();
                let body = json(&Sent {
                    envelope,
                    timestamp,
                });
                (envelope.event_name, body)
            }
            Content::Transfer(transfer) => ("CallHandler.CallTransferred", json(transfer)),
        };
        let headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", "ReactorNetty/1.1.13".to_owned()),
            ("X-Webhook-Event", event_name.to_owned()),
            ("X-Webhook-Traceid", self.header_trace_id.clone()),
            ("X-Webhook-Timestamp", timestamp),
        ];
        (headers, body)
    }
}

#[derive(Serialize)]
struct Sent<'e> {
    #[serde(flatten)]
    envelope: &'e Envelope,
    timestamp: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    trace_id: String,
    organization_id: String,
    payload: Payload,
    event_name: &'static str,
    event: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Payload {
    Call {
        call_id: String,
        status: &'static str,
        agent_id: String,
    },
    Analysis {
        reason: &'static str,
        agent_id: String,
        call_id: String,
        status: &'static str,
        timestamp: i64,
    },
}

#[derive(Clone, Debug, Serialize)]
struct Transfer {
    call_id: String,
    agent_id: String,
    status: &'static str,
    transfer_to: String,
    caller: Caller,
    call_summary: CallSummary,
    transcript: Vec<TranscriptEntry>,
    metadata: Metadata,
}

#[derive(Clone, Debug, Serialize)]
struct Caller {
    phone_number: String,
}

#[derive(Clone, Debug, Serialize)]
struct CallSummary {
    duration_seconds: f64,
    topics_discussed: &'static [&'static str],
    actions_taken: &'static [&'static str],
    transfer_reason: &'static str,
    customer_sentiment: &'static str,
    unresolved_issues: &'static [&'static str],
}

#[derive(Clone, Debug, Serialize)]
struct TranscriptEntry {
    role: &'static str,
    content: String,
}

#[derive(Clone, Debug, Serialize)]
struct Metadata {
    call_start_time: String,
    call_end_time: String,
    language: &'static str,
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("structs of strings and finite numbers can be written")
}

/// An id as document databases make them: 24 hex digits, of which 8 are the seconds since 1970.
fn object_id(time: Timestamp, rng: &mut impl Rng) -> String {
    format!(
        "{:08x}{:016x}",
        time.as_second() & 0xffff_ffff,
        rng.random::<u64>()
    )
}

/// Where a call may be transferred to: hosts and numbers that belong to nobody.
fn destination(rng: &mut impl Rng) -> String {
    let extension = rng.random_range(2000..2100);
    match rng.random_range(0..4) {
        0 => format!("sip:{extension}@192.0.2.{}", rng.random_range(1..255)),
        1 => format!("sip:support-{extension}@pbx.example.com"),
        2 => format!("+1202555{:04}", rng.random_range(100..200)),
        _ => extension.to_string(),
    }
}

/// A time as transfers have it: with microseconds and an offset.
fn micros(time: Timestamp) -> String {
    format!("{time:.6}").replace('Z', "+00:00")
}

fn duration_seconds(from: Timestamp, to: Timestamp) -> f64 {
    let duration: Duration = to.duration_since(from).unsigned_abs();
    (duration.as_secs_f64() * 1e6).round() / 1e6
}
