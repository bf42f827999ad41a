//! `verbex-gateway check-config`: what `serve` would run with.

use std::io::{self, Write};

use super::settings::{PRECEDENCE, Settings};
use crate::config;

/// Read and check the configuration without serving, and print what counts
///
/// Takes the flags of `serve` and prints all settings as TOML: secrets masked, and behind each value that is no default
/// where it came from.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  verbex-gateway check-config --config gateway.toml
  verbex-gateway check-config --config gateway.toml --webhook-addr 0.0.0.0:8443

{PRECEDENCE}"))]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let loaded = args.settings.load()?;
    let mut stdout = io::stdout().lock();
    write!(stdout, "{}", loaded.effective)?;
    for token in &loaded.config.tokens {
        write!(stdout, "\n{}", config::token_entry(token))?;
    }
    stdout.flush()?;
    writeln!(io::stderr(), "configuration ok")?;
    Ok(())
}
