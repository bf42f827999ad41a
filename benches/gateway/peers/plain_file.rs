//! The least that makes events durable: their bytes at the end of a plain file, synced for each
//! group.

use std::{fs::File, io::Write, path::PathBuf};

use serde::{Deserialize, Serialize};
use verbex_gateway::inside::event::NewEvent;

use super::rows::{self, Record, Writer};
use crate::process::Control;

/// How it is set up.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub file: PathBuf,
    pub group_events: usize,
}

struct PlainFile {
    file: File,
    events: u64,
}

pub(crate) async fn run(setup: Setup, control: Control) -> anyhow::Result<()> {
    let writer = PlainFile {
        file: File::create(setup.file)?,
        events: 0,
    };
    rows::run(writer, setup.group_events, control).await
}

impl Writer for PlainFile {
    fn write(&mut self, group: Vec<NewEvent>) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        for event in group {
            self.events += 1;
            let row = Record::of(event, self.events)?;
            bytes.extend_from_slice(&row.sequence.to_le_bytes());
            bytes.extend_from_slice(&row.id);
            for text in row.texts.iter().chain([&row.event_time, &row.receive_time]) {
                bytes.extend_from_slice(text.as_bytes());
            }
            bytes.extend_from_slice(&row.json);
            bytes.extend_from_slice(row.headers.as_bytes());
            bytes.extend_from_slice(&row.encoded);
        }
        self.file.write_all(&bytes)?;
        Ok(self.file.sync_data()?)
    }
}
