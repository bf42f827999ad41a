//! Long runs: the gateway under load while it is killed, loses power, or simply goes on. Each is
//! one command, and `docs/reliability.md` has what they found.
//!
//! ```text
//! cargo test --release --test long -- kills --count 200
//! cargo test --release --test long                          all of them, in short
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a run that fails so says where"
)]

mod disasters;
mod fast_motion;
mod soak;

#[path = "../../benches/gateway/events.rs"]
#[allow(dead_code, reason = "the benchmarks need more of it")]
mod events;

#[path = "../gateway/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the tests of promises need more of it"
)]
mod support;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Long runs of the gateway.
#[derive(Debug, Parser)]
#[command(name = "cargo test --test long --")]
struct Cli {
    /// All of them, in short, if none is given.
    #[command(subcommand)]
    run: Option<Run>,
}

#[derive(Clone, Debug, Subcommand)]
enum Run {
    /// Kill the gateway at random moments under load, also while it starts.
    Kills {
        #[arg(long, default_value_t = 200)]
        count: usize,
    },
    /// Take back all that was not synced at random moments under load; often a write or a sync has
    /// failed before.
    PowerLosses {
        #[arg(long, default_value_t = 200)]
        count: usize,
    },
    /// Mixed load with retention, backups, kills and restarts, while memory and files are watched.
    Soak {
        #[arg(long, default_value_t = 60.0)]
        minutes: f64,
    },
    /// Thirty days in fast motion, of which the log keeps seven. Draws the size of its files.
    ThirtyDays {
        #[arg(long, default_value_t = 1_000_000)]
        events_per_day: u64,
        /// How long a day takes.
        #[arg(long, default_value_t = 20.0)]
        day_seconds: f64,
        /// Where to draw it.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
}

/// Small enough for every day.
fn in_short() -> [Run; 4] {
    [
        Run::Kills { count: 3 },
        Run::PowerLosses { count: 3 },
        Run::Soak { minutes: 0.1 },
        Run::ThirtyDays {
            events_per_day: 1_000,
            day_seconds: 0.2,
            svg: None,
        },
    ]
}

#[tokio::main]
async fn main() {
    let runs = match Cli::parse().run {
        Some(run) => vec![run],
        None => in_short().to_vec(),
    };
    for run in runs {
        let found = match run {
            Run::Kills { count } => disasters::kills(count).await,
            Run::PowerLosses { count } => disasters::power_losses(count).await,
            Run::Soak { minutes } => soak::run(minutes).await,
            Run::ThirtyDays {
                events_per_day,
                day_seconds,
                svg,
            } => fast_motion::thirty_days(events_per_day, day_seconds, svg).await,
        };
        println!("{found}");
    }
}
