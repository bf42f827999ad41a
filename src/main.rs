//! The `verbex-gateway` program: parse, run, exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::Context;
use tokio::runtime::Runtime;
use verbex_gateway::cli::{self, Cli};

/// How long the last words may take. Nobody may be reading them.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::typed();
    let outcome = match Runtime::new() {
        Ok(runtime) => {
            let outcome = runtime.block_on(cli.run());
            // What still runs has no part in the outcome, and some of it may block for long.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error).context("cannot start a thread"),
    };
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    let code = cli::exit_code(&error);
    if code != 0 {
        say(cli::message(&error));
    }
    code.into()
}

/// Writes to standard error, in a thread that may be left behind.
fn say(message: String) {
    let (written, wait) = mpsc::channel();
    let writer = thread::Builder::new().spawn(move || {
        for line in message.lines() {
            let _ = writeln!(io::stderr(), "verbex-gateway: {line}");
        }
        let _ = written.send(());
    });
    // Nobody is left to tell if any of this fails.
    if writer.is_ok() {
        let _ = wait.recv_timeout(LAST_WORDS);
    }
}
