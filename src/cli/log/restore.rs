//! `verbex-gateway log restore`: makes a log from a backup.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::{backup::summary, place::Place, work::watched};
use crate::{event::Epoch, log::copy::restore};

const EXAMPLES: &str = "\
Examples:
  verbex-gateway log restore --data-dir /var/lib/verbex-gateway backup.db
  verbex-gateway log restore --config /etc/verbex-gateway.toml backup.db";

/// Make the log of a data folder from a backup, after verifying it
///
/// The folder must not have a log, and no gateway may use it: stop the gateway and move events.db,
/// events.db-wal and events.db-shm away. Cursors of events in the backup stay valid. Cursors that
/// were given out later get CURSOR_FOREIGN_LOG.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let data_dir = args.place.load()?.log.data_dir;
    let name = data_dir.display().to_string();
    let epoch = Epoch(rand::random());
    let copied = watched(move |progress| Ok(restore(&args.file, &data_dir, epoch, progress)?));
    let copied = copied.await?;
    Ok(writeln!(io::stdout(), "{name}: {}", summary(&copied))?)
}
