//! What any layout writes for an event, and a thread that writes groups of events.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use jiff::Timestamp;
use verbex_gateway::inside::event::{NewEvent, Sequence};

use crate::{
    events::{Maker, Payload},
    logs,
    measure::threads_time,
    process::Control,
    servers::appender::Appended,
};

/// Groups that wait, so that the thread never does.
const GROUPS_AHEAD: usize = 2;
const THREAD: &str = "peer-writer";

/// An event as a row.
pub(super) struct Record {
    pub sequence: u64,
    pub id: [u8; 16],
    /// The columns of text behind the id, without the times.
    pub texts: [String; 7],
    pub event_time: String,
    pub receive_time: String,
    pub json: bytes::Bytes,
    pub headers: String,
    pub encoded: bytes::Bytes,
}

impl Record {
    pub(super) fn of(new: NewEvent, sequence: u64) -> anyhow::Result<Self> {
        let receive_time = Timestamp::try_from(SystemTime::now())?;
        let event = &new.event;
        let texts = [
            "CALL_ENDED",
            &event.event_name,
            &event.trace_id,
            &event.organization_id,
            &event.agent_id,
            &event.call_id,
            &event.status,
        ]
        .map(str::to_owned);
        let time = event.event_time.context("a time of the event")?;
        let event_time = Timestamp::new(time.seconds, time.nanos)?;
        let headers = new.raw.headers.iter().cloned();
        let headers: serde_json::Map<_, _> = headers.map(|(k, v)| (k, v.into())).collect();
        let stored = new.place(Sequence(sequence), receive_time);
        Ok(Self {
            sequence,
            id: stored.id.0,
            texts,
            event_time: format!("{event_time:.9}"),
            receive_time: format!("{receive_time:.9}"),
            json: stored.raw.map(|raw| raw.json).unwrap_or_default(),
            headers: serde_json::Value::Object(headers).to_string(),
            encoded: stored.encoded,
        })
    }

    /// Bytes of its contents.
    pub(super) fn bytes(&self) -> usize {
        self.json.len() + self.headers.len() + self.encoded.len()
    }
}

/// Makes the groups of events durable that a thread gets.
pub(super) trait Writer: Send + 'static {
    fn write(&mut self, group: Vec<NewEvent>) -> anyhow::Result<()>;
}

/// Answers as [`crate::servers::appender::run`] does, with another writer.
pub(super) async fn run(
    writer: impl Writer,
    group_events: usize,
    mut control: Control,
) -> anyhow::Result<()> {
    let (groups, waiting) = sync_channel::<Vec<NewEvent>>(GROUPS_AHEAD);
    let (written, done) = sync_channel(GROUPS_AHEAD);
    let builder = thread::Builder::new().name(THREAD.into());
    builder.spawn(move || write(writer, &waiting, &written))?;
    control.answer(&())?;
    let maker = Maker::new(Payload::Small, logs::AGENTS);
    let series: u64 = rand::random();
    let mut number = 0;
    while let Some(duration) = control.order::<Duration>().await? {
        let appended = tokio::task::block_in_place(|| {
            let before = threads_time(std::process::id(), |name| name == THREAD)?;
            let (start, mut groups_written) = (Instant::now(), 0);
            while groups_written == 0 || start.elapsed() < duration {
                let numbers = number..number + group_events as u64;
                number = numbers.end;
                groups.send(numbers.map(|number| maker.event(series, number)).collect())?;
                groups_written += 1;
                if groups_written > GROUPS_AHEAD as u64 {
                    done.recv()??;
                }
            }
            for _ in 0..groups_written.min(GROUPS_AHEAD as u64) {
                done.recv()??;
            }
            let elapsed = start.elapsed();
            let cpu = threads_time(std::process::id(), |name| name == THREAD)? - before;
            anyhow::Ok(Appended {
                events: groups_written * group_events as u64,
                groups: groups_written,
                elapsed,
                thread: cpu,
                threads: cpu,
            })
        });
        control.answer(&appended?)?;
    }
    Ok(())
}

fn write(
    mut writer: impl Writer,
    groups: &Receiver<Vec<NewEvent>>,
    written: &SyncSender<anyhow::Result<()>>,
) {
    for group in groups {
        if written.send(writer.write(group)).is_err() {
            break;
        }
    }
}
