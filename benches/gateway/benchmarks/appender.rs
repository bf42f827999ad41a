//! What it costs to make an event durable, without the doors.

use std::{path::Path, time::Duration};

use super::Plan;
use crate::{
    logs::KeptLog,
    measure::interleaved,
    peers::{plain_file, version_1},
    process::{Child, Role},
    report::{Figure, Findings, Ratio, Row, Target, grouped},
    servers::appender::{self, Appended},
};

/// As many as the connections of [`super::ingest`].
const GROUP_EVENTS: usize = 64;

enum Contestant {
    Gateway,
    Version1,
    PlainFile,
}

pub(crate) fn durable(plan: &Plan) -> anyhow::Result<Findings> {
    let events = plan.million();
    KeptLog::of(events)?;
    KeptLog::of_version_1(events)?;
    let contestants = [
        Contestant::Gateway,
        Contestant::Version1,
        Contestant::PlainFile,
    ];
    let group_events = plan.count(GROUP_EVENTS);
    let samples = interleaved(plan.runs, &contestants, |contestant| {
        let folder = crate::temporary_folder()?;
        append(plan, contestant.role(events, group_events, folder.path())?)
    })?;

    let what = format!(
        "groups of {group_events}, {} events in the log",
        grouped(events)
    );
    let figures: [Figure<Appended>; 3] = [
        ("µs CPU of the thread / event", |appended| {
            appended.thread.as_secs_f64() * 1e6 / appended.events as f64
        }),
        ("µs CPU of all threads / event", |appended| {
            appended.threads.as_secs_f64() * 1e6 / appended.events as f64
        }),
        ("events / s", |appended| {
            appended.events as f64 / appended.elapsed.as_secs_f64()
        }),
    ];
    let mut findings = Findings::default();
    for (unit, figure) in figures {
        let of = |place: usize| samples[place].iter().map(figure);
        let ratio = match unit {
            "events / s" => Ratio::OursToPeer,
            _ => Ratio::PeerToOurs,
        };
        let row = || Row::new(&what, unit, of(0));
        let against_1 = row().against("layout of version 1", of(1), ratio);
        findings.rows.push(match unit {
            "µs CPU of the thread / event" => against_1.target(Target::AtLeast(4.0)),
            _ => against_1,
        });
        let file = "plain file, synced for each group";
        findings.rows.push(row().against(file, of(2), ratio));
    }
    let group = |appended: &Appended| appended.events as f64 / appended.groups as f64;
    let groups = Row::new(&what, "events / group", samples[0].iter().map(group));
    findings.rows.push(groups);
    Ok(findings)
}

impl Contestant {
    fn role(&self, events: u64, group_events: usize, folder: &Path) -> anyhow::Result<Role> {
        Ok(match self {
            Self::Gateway => Role::Appender(appender::Setup {
                data_dir: KeptLog::of(events)?.folder,
                group_events,
            }),
            Self::Version1 => Role::Version1(version_1::Setup {
                data_dir: KeptLog::of_version_1(events)?.folder,
                group_events,
            }),
            Self::PlainFile => Role::PlainFile(plain_file::Setup {
                file: folder.join("appended"),
                group_events,
            }),
        })
    }
}

fn append(plan: &Plan, role: Role) -> anyhow::Result<Appended> {
    let (mut appender, ()) = Child::start(role)?;
    let _warm: Appended = appender.ask(&plan.warm_up)?;
    let duration: Duration = plan.load;
    appender.ask(&duration)
}
