//! `verbex-gateway log stats`: what the log holds, and when the disk will be full.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use indicatif::{DecimalBytes, HumanCount};
use jiff::Timestamp;
use rustix::fs::statvfs;
use serde_json::json;

use super::{place::Place, work::watched};
use crate::log::stats::{Space, Stats, stats};

/// Newest days that are shown to people.
const DAYS_SHOWN: usize = 14;

const EXAMPLES: &str = "\
Examples:
  verbex-gateway log stats
  verbex-gateway log stats --config /etc/verbex-gateway.toml
  verbex-gateway log stats --format json | jq .days_until_disk_full";

/// Show what the log holds, what takes its space, and how fast it grows
///
/// Reads the whole log, beside a running gateway or without one.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Plain)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Text for people
    Plain,
    /// One JSON object
    Json,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let data_dir = args.place.load()?.log.data_dir;
    let report = watched(move |progress| {
        Ok(Report {
            stats: stats(&data_dir, Timestamp::now(), progress)?,
            disk_free: disk_free(&data_dir)?,
            data_dir,
        })
    })
    .await?;
    let mut stdout = io::stdout().lock();
    match args.format {
        Format::Plain => write!(stdout, "{report}")?,
        Format::Json => writeln!(stdout, "{:#}", report.json())?,
    }
    Ok(stdout.flush()?)
}

struct Report {
    data_dir: PathBuf,
    stats: Stats,
    disk_free: u64,
}

impl Report {
    /// None if the log does not grow.
    fn days_until_disk_full(&self) -> Option<f64> {
        let growth = self.stats.growth?;
        (growth.bytes_per_day > 0.0).then(|| self.disk_free as f64 / growth.bytes_per_day)
    }

    /// Events of each type, over all days.
    fn types(&self) -> BTreeMap<&str, u64> {
        let mut types = BTreeMap::new();
        for (kind, events) in self.stats.days.values().flatten() {
            *types.entry(kind.as_str()).or_default() += events;
        }
        types
    }

    fn json(&self) -> serde_json::Value {
        let Stats {
            bounds,
            schema,
            space,
            days,
            growth,
        } = &self.stats;
        let place = |sequence: Option<u64>, time: Option<Timestamp>| {
            let time = time.map(|time| time.to_string());
            json!({ "sequence": sequence, "receive_time": time })
        };
        let latest = bounds.latest.sequence.0;
        json!({
            "data_dir": self.data_dir,
            "schema_version": schema,
            "earliest": place(bounds.earliest_sequence.map(|first| first.0), bounds.earliest.time),
            "latest": place((latest > 0).then_some(latest), bounds.latest.receive_time),
            "event_count": bounds.event_count,
            "bytes": {
                "file": space.file,
                "write_ahead_log": space.wal,
                "bodies": space.bodies,
                "headers": space.headers,
                "encoded": space.encoded,
                "indexes": space.indexes,
                "free": space.free,
                "other": space.other(),
            },
            "types": self.types(),
            "days": days,
            "growth_events_per_day": growth.map(|growth| growth.events_per_day.round()),
            "growth_bytes_per_day": growth.map(|growth| growth.bytes_per_day.round()),
            "disk_free_bytes": self.disk_free,
            "days_until_disk_full": self.days_until_disk_full().map(f64::floor),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats {
            bounds,
            schema,
            space,
            days,
            growth,
        } = &self.stats;
        let folder = self.data_dir.display();
        writeln!(f, "log        in {folder}, schema version {schema}")?;
        writeln!(f, "events     {}", HumanCount(bounds.event_count))?;
        if let (Some(sequence), Some(time)) = (bounds.earliest_sequence, bounds.earliest.time) {
            writeln!(f, "earliest   {sequence}, received {time:.0}")?;
        }
        if let Some(time) = bounds.latest.receive_time {
            let sequence = bounds.latest.sequence;
            writeln!(f, "latest     {sequence}, received {time:.0}")?;
        }
        if let Some(growth) = growth {
            let bytes = DecimalBytes(growth.bytes_per_day as u64);
            let events = HumanCount(growth.events_per_day as u64);
            let over = growth.over.as_hours();
            writeln!(
                f,
                "growth     {bytes} and {events} events a day, measured over {over} hours"
            )?;
        }
        let free = DecimalBytes(self.disk_free);
        write!(f, "disk       {free} free")?;
        match self.days_until_disk_full() {
            Some(days) => writeln!(f, ", full in {} days", HumanCount(days as u64))?,
            None => writeln!(f)?,
        }
        write!(f, "\nbytes\n{}", Bytes(space))?;
        if days.is_empty() {
            return Ok(());
        }
        write!(f, "\n{}", Days { report: self })
    }
}

struct Bytes<'s>(&'s Space);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(space) = self;
        for (what, bytes) in [
            ("events.db", space.file),
            ("  bodies", space.bodies),
            ("  encoded", space.encoded),
            ("  headers", space.headers),
            ("  indexes", space.indexes),
            ("  other", space.other()),
            ("  free", space.free),
            ("events.db-wal", space.wal),
        ] {
            let bytes = DecimalBytes(bytes).to_string();
            writeln!(f, "  {what:<15}{bytes:>12}")?;
        }
        Ok(())
    }
}

/// A table with a row for each day, newest last, and a column for each type.
struct Days<'r> {
    report: &'r Report,
}

impl fmt::Display for Days<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.report.types();
        let mut row = |name: &str, cell: &dyn Fn(&str) -> String| {
            write!(f, "{name:<12}")?;
            for kind in types.keys() {
                let width = kind.len().max(9) + 2;
                write!(f, "{:>width$}", cell(kind))?;
            }
            writeln!(f)
        };
        let count = |events: u64| HumanCount(events).to_string();
        row("received", &str::to_owned)?;
        let days = &self.report.stats.days;
        let hidden = days.len().saturating_sub(DAYS_SHOWN);
        for (day, events) in days.iter().skip(hidden) {
            row(day, &|kind| count(events.get(kind).copied().unwrap_or(0)))?;
        }
        row("all days", &|kind| count(types[kind]))
    }
}

/// What others than the superuser may still write on the disk of this folder.
fn disk_free(folder: &Path) -> anyhow::Result<u64> {
    let disk = statvfs(folder).context("cannot look at the disk")?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
