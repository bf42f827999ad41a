//! The `verbex-gateway` program: parse, run, exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use verbex_gateway::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = Cli::parse().run().await else {
        return ExitCode::SUCCESS;
    };
    let code = cli::exit_code(&error);
    if code != 0 {
        for line in cli::message(&error).lines() {
            // Nobody is left to tell if this fails.
            let _ = writeln!(io::stderr(), "verbex-gateway: {line}");
        }
    }
    code.into()
}
