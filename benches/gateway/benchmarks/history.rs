//! What depends on how much is in the log.

use std::time::Duration;

use super::Plan;
use crate::{
    load::{
        history,
        subscribers::{self, Grpc, Protocol},
    },
    logs::{self, KeptLog, ReaderSetup},
    measure::{Summary, cpu_time, interleaved},
    process::{Child, Role},
    report::{Curve, Figure, Findings, Ratio, Row, Target, grouped},
    servers::{
        Ready,
        binary::Gateway,
        gateway::{self, Source},
    },
};

/// Questions of each kind in one run.
const QUESTIONS: usize = 200;

enum Contestant {
    Subscriber,
    Reader,
}

/// One replay.
struct Replay {
    events_per_second: f64,
    /// Of the server, in nanoseconds.
    cpu_per_event: f64,
}

pub(crate) fn replay(plan: &Plan) -> anyhow::Result<Findings> {
    let log = KeptLog::of(plan.million())?;
    let contestants = [Contestant::Subscriber, Contestant::Reader];
    let samples = interleaved(plan.runs, &contestants, |contestant| match contestant {
        Contestant::Subscriber => to_a_subscriber(&log),
        Contestant::Reader => to_nobody(&log),
    })?;
    let what = format!("{} events to one subscriber", grouped(log.events));
    let rate = |replay: &Replay| replay.events_per_second;
    let cpu = |replay: &Replay| replay.cpu_per_event;
    Ok(Findings::of([
        Row::new(&what, "events / s", samples[0].iter().map(rate))
            .against(
                "reading them",
                samples[1].iter().map(rate),
                Ratio::OursToPeer,
            )
            .target(Target::AtLeast(0.7)),
        Row::new(&what, "ns CPU / event", samples[0].iter().map(cpu)).against(
            "reading them",
            samples[1].iter().map(cpu),
            Ratio::OursToPeer,
        ),
    ]))
}

fn to_a_subscriber(log: &KeptLog) -> anyhow::Result<Replay> {
    let setup = gateway::Setup::new(&log.folder, Source::Log);
    let (server, ready): (Child, Ready) = Child::start(Role::Gateway(setup))?;
    let cpu_before = cpu_time(server.pid())?;
    let (mut client, _): (Child, subscribers::Ready) =
        Child::start(Role::Subscribers(subscribers::Setup {
            protocol: Protocol::Grpc(Grpc::default()),
            addr: ready.addr,
            count: 1,
            from_earliest: true,
            pace: None,
            pace_step: log.count,
            noted: false,
        }))?;
    let elapsed: Duration = client.ask(&subscribers::Order::Until(log.count))?;
    Replay::of(log, elapsed, cpu_time(server.pid())? - cpu_before)
}

fn to_nobody(log: &KeptLog) -> anyhow::Result<Replay> {
    let setup = ReaderSetup {
        data_dir: log.folder.clone(),
    };
    let (mut reader, ()) = Child::start(Role::LogReader(setup))?;
    let cpu_before = cpu_time(reader.pid())?;
    let elapsed: Duration = reader.ask(&())?;
    Replay::of(log, elapsed, cpu_time(reader.pid())? - cpu_before)
}

impl Replay {
    fn of(log: &KeptLog, elapsed: Duration, cpu: Duration) -> anyhow::Result<Self> {
        let events = log.count as f64;
        Ok(Self {
            events_per_second: events / elapsed.as_secs_f64(),
            cpu_per_event: cpu.as_nanos() as f64 / events,
        })
    }
}

/// One run with one log: milliseconds.
struct Answers {
    cold_start_up: f64,
    start_up: f64,
    resume: f64,
    list: f64,
}

pub(crate) fn log_sizes(plan: &Plan) -> anyhow::Result<Findings> {
    let logs = plan.log_sizes().into_iter().map(KeptLog::of);
    let logs = logs.collect::<anyhow::Result<Vec<KeptLog>>>()?;
    let samples = interleaved(plan.runs, &logs, |log| ask(plan, log))?;

    let figures: [(Figure<Answers>, Option<Target>); 4] = [
        (
            ("cold start-up", |answers| answers.cold_start_up),
            Some(Target::ValueBelow(1_000.0)),
        ),
        (
            ("start-up", |answers| answers.start_up),
            Some(Target::ValueBelow(1_000.0)),
        ),
        (("resume in the middle", |answers| answers.resume), None),
        (("ListEvents by agent", |answers| answers.list), None),
    ];
    let mut findings = Findings::default();
    let mut curve = Curve::new("Against the log", "events in the log", "milliseconds");
    for ((name, figure), target) in figures {
        for (log, samples) in logs.iter().zip(&samples) {
            let what = format!("{name}, {} events in the log", grouped(log.events));
            let row = Row::new(what, "ms", samples.iter().map(figure));
            curve.add(name, log.events as f64, row.ours);
            findings.rows.push(match target {
                Some(target) => row.target(target),
                None => row,
            });
        }
    }
    for log in &logs {
        let bytes = logs::folder_bytes(&log.folder)? as f64 / log.count as f64;
        let what = format!("log of {} events", grouped(log.events));
        findings.rows.push(Row::new(what, "bytes / event", [bytes]));
    }
    findings.curves.push(curve);
    Ok(findings)
}

fn ask(plan: &Plan, log: &KeptLog) -> anyhow::Result<Answers> {
    log.forget()?;
    let gateway = Gateway::start(&log.folder)?;
    let cold_start_up = gateway.start_up.as_secs_f64() * 1e3;
    gateway.stop()?;
    let gateway = Gateway::start(&log.folder)?;
    let (mut client, ()) = Child::start(Role::History(history::Setup { addr: gateway.grpc }))?;
    let after_cursor = client.ask(&history::Order::Middle)?;
    let times = plan.count(QUESTIONS);
    let resumed: Vec<f64> = client.ask(&history::Order::Resume {
        after_cursor,
        times,
    })?;
    let agents = logs::AGENTS;
    let listed: Vec<f64> = client.ask(&history::Order::List { agents, times })?;
    let answers = Answers {
        cold_start_up,
        start_up: gateway.start_up.as_secs_f64() * 1e3,
        resume: Summary::of(resumed).median / 1e3,
        list: Summary::of(listed).median / 1e3,
    };
    gateway.stop()?;
    Ok(answers)
}
