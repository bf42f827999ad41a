//! `verbex-gateway log`: looks after a log, with or without a gateway that uses it.

mod backup;
mod erase;
mod place;
mod restore;
mod stats;
mod verify;
mod work;

use clap::Subcommand;

/// Look after the log
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Stats(stats::Args),
    Verify(verify::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Erase(erase::Args),
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Stats(args) => stats::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Backup(args) => backup::run(args).await,
        Command::Restore(args) => restore::run(args).await,
        Command::Erase(args) => erase::run(args).await,
    }
}
