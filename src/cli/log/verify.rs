//! `log verify`: reads all of the log, and says what is damaged.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use anyhow::anyhow;
use indicatif::{DecimalBytes, HumanCount};

use super::{place::Place, work::watched};
use crate::{
    event::{EventId, StoredEvent},
    log::verify::{Remedy, Verified, verify},
    verbex::{Rules, normalize},
};

const EXAMPLES: &str = "\
Examples:
  verbex-gateway log verify
  verbex-gateway log verify --config /etc/verbex-gateway.toml";

/// Read all of the log, and say what is damaged and what to do
///
/// Checks each page, each event against its checksum and its body, the order of the events, and
/// that the indexes have all of them. Beside a running gateway or without one. Changes nothing.
/// The exit code is 0 if all is well, and 1 with a line for each fault, by sequence, if not.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let data_dir = args.place.load()?.log.data_dir;
    let found = watched(move |progress| Ok(verify(&data_dir, &id, progress)?)).await?;
    let counts = counts(&found);
    let (faults, more) = found.faults.sorted();
    let mut stdout = io::stdout().lock();
    for fault in &faults {
        writeln!(stdout, "{}: {}", fault.place, fault.what)?;
    }
    if more > 0 {
        writeln!(stdout, "and {} more faults", HumanCount(more))?;
    }
    let remedies: BTreeSet<Remedy> = faults.iter().map(|fault| fault.remedy).collect();
    for remedy in &remedies {
        writeln!(stdout, "{remedy}")?;
    }
    writeln!(stdout, "{counts}")?;
    stdout.flush()?;
    match faults.len() as u64 + more {
        0 => Ok(()),
        1 => Err(anyhow!("the log has 1 fault")),
        faults => Err(anyhow!("the log has {} faults", HumanCount(faults))),
    }
}

/// The id that the body of an event has.
fn id(key: &[u8; 32], event: &StoredEvent) -> Option<EventId> {
    let raw = event.raw.as_ref()?;
    let rules = Rules {
        organization: None,
        id_key: *key,
    };
    let normalized = normalize(
        &rules,
        raw.headers.clone(),
        raw.json.clone(),
        event.receive_time,
    );
    // A body that is none any more has no id at all.
    Some(normalized.map_or(EventId([0; 16]), |normalized| normalized.event.id))
}

fn counts(found: &Verified) -> String {
    let mut counts = format!(
        "{} events are whole, up to sequence {}",
        HumanCount(found.events),
        found.latest
    );
    if found.unchecked > 0 {
        let unchecked = HumanCount(found.unchecked);
        counts += &format!("; {unchecked} of them had no checksum yet");
    }
    if found.lost_pages > 0 {
        let bytes = DecimalBytes(found.lost_pages * found.page_bytes);
        counts += &format!("; {bytes} of the file are lost until it is copied with log backup");
    }
    counts
}
