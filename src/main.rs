//! The `verbex-gateway` program: parses the command line, runs the command, sets the exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::Context;
use mimalloc::MiMalloc;
use tokio::runtime::Runtime;
use verbex_gateway::cli::{self, Cli};

/// A webhook makes about fifty pieces of memory, and another thread frees some of them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long the last message may take to be written, since nobody may be reading it.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::typed();
    let outcome = match Runtime::new() {
        Ok(runtime) => {
            let outcome = runtime.block_on(cli.run());
            // Tasks that still run do not change the outcome, and some of them may block for long.
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

/// Writes to standard error in a thread, which is abandoned if it blocks for too long.
fn say(message: String) {
    let (written, wait) = mpsc::channel();
    let writer = thread::Builder::new().spawn(move || {
        for line in message.lines() {
            let _ = writeln!(io::stderr(), "verbex-gateway: {line}");
        }
        let _ = written.send(());
    });
    // An error here cannot be reported anywhere.
    if writer.is_ok() {
        let _ = wait.recv_timeout(LAST_WORDS);
    }
}
