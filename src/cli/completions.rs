//! `verbex-gateway completions`: a script for a shell.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::{Shell, generate};

/// Print a script that lets a shell complete this command line
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  verbex-gateway completions bash > /etc/bash_completion.d/verbex-gateway
  verbex-gateway completions zsh > \"${fpath[1]}/_verbex-gateway\"
  verbex-gateway completions fish > ~/.config/fish/completions/verbex-gateway.fish")]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    // The generator panics if it cannot write, so it writes to memory.
    let mut script = Vec::new();
    generate(
        args.shell,
        &mut super::Cli::command(),
        "verbex-gateway",
        &mut script,
    );
    // For bash it writes our name in two ways, and then completes no command: clap-rs/clap#6421.
    let script = String::from_utf8(script)?.replace("verbex__subcmd__gateway", "verbex__gateway");
    io::stdout().write_all(script.as_bytes())?;
    Ok(())
}
