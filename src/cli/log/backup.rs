//! `verbex-gateway log backup`: a copy of the log in one file.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use indicatif::{DecimalBytes, HumanCount};

use super::{place::Place, work::watched};
use crate::log::copy::{Copied, backup};

const EXAMPLES: &str = "\
Examples:
  verbex-gateway log backup /mnt/backups/$(date +%F).db
  verbex-gateway log backup --config /etc/verbex-gateway.toml today.db";

/// Copy the log into one file, as it is at this moment, and verify the copy
///
/// A gateway may run meanwhile. The file gets its name when it is complete and verified; a file
/// that exists is never replaced. Only its owner can read it, since it holds what callers said.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The new file
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let data_dir = args.place.load()?.log.data_dir;
    let name = args.file.display().to_string();
    let copied = watched(move |progress| Ok(backup(&data_dir, &args.file, progress)?)).await?;
    Ok(writeln!(io::stdout(), "{name}: {}", summary(&copied))?)
}

/// What was copied and verified.
pub(super) fn summary(copied: &Copied) -> String {
    let (events, bytes) = (HumanCount(copied.events), DecimalBytes(copied.bytes));
    match copied.received {
        Some(received) => {
            let latest = copied.latest;
            format!(
                "{events} events, the latest with sequence {latest}, received {received:.0}; \
                 {bytes}, verified"
            )
        }
        None => format!("no events; {bytes}, verified"),
    }
}
