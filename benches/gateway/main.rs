//! The measurements behind `docs/performance.md`, with the peers inside.
//!
//! ```text
//! cargo bench --bench gateway                        everything: an hour, and the filling of logs
//! cargo bench --bench gateway -- fanout idle         some of it
//! cargo bench --bench gateway -- --quick             less time, wider spread
//! cargo test --bench gateway                         only whether everything runs
//! ```
//!
//! Servers, peers and clients are processes of their own (this executable again, see [`process`])
//! and talk over loopback sockets. CPU and memory are what the operating system says about the
//! server's process. Contestants take turns within a run, and a ratio is made of figures of the
//! same run. It prints a table, and writes JSON, Markdown and a plot to `target/bench/`.
//!
//! Linux only: it reads `/proc`.

#![allow(
    clippy::disallowed_methods,
    clippy::exit,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it serves nobody, and its output is for people"
)]

mod benchmarks;
mod events;
mod load;
mod logs;
mod measure;
mod pace;
mod peers;
mod process;
mod report;
mod servers;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::bail;
use clap::Parser;

use benchmarks::{ALL, Benchmark, Depth, Plan};
use report::{Machine, Report};

/// Descriptors that 10,000 connections take, with room for the rest.
const FILES_LEAST: u64 = 10_500;

/// Measures the gateway against its peers.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench gateway --")]
struct Cli {
    /// Which benchmarks, by the beginning of their names. All if none is given.
    names: Vec<String>,
    /// Fewer and shorter runs, on smaller logs.
    #[arg(long)]
    quick: bool,
    /// Also with a log of 10 million events, which takes long to fill.
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// Only whether everything runs: tiny sizes, no figures worth reading. The way of `cargo test
    /// --bench gateway`.
    #[arg(long, conflicts_with_all = ["quick", "full"])]
    smoke: bool,
    /// Where to write the results; the Markdown table and the plot go beside it.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only fill the logs that are kept, which takes long: what is measured then has a quiet disk.
    #[arg(long)]
    fill: bool,
    /// Say which benchmarks there are.
    #[arg(long)]
    list: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some(process::CHILD_ARGUMENT) {
        process::live();
    }
    let cli = Cli::parse();
    if cli.list {
        for benchmark in ALL {
            println!("{:18} {}", benchmark.name, benchmark.about);
        }
        return Ok(());
    }
    let plan = Plan::new(match &cli {
        Cli { smoke: true, .. } => Depth::Smoke,
        Cli { quick: true, .. } => Depth::Quick,
        Cli { full: true, .. } => Depth::Full,
        Cli { bench: true, .. } => Depth::Normal,
        _ => Depth::Smoke,
    });
    if cli.fill {
        return benchmarks::fill(&plan);
    }
    let chosen = chosen(&cli.names)?;
    let files = measure::raise_file_limit();
    if plan.depth != Depth::Smoke && files < FILES_LEAST {
        bail!("{files} open files are too few for 10,000 connections; raise the hard limit");
    }

    let json = cli.json.unwrap_or_else(|| {
        let name = match plan.depth {
            Depth::Smoke => "smoke.json",
            _ => "gateway.json",
        };
        folder().join(name)
    });
    let mut report = Report::new(Machine::here(), format!("{:?}", plan.depth));
    for benchmark in chosen {
        let start = Instant::now();
        let findings = (benchmark.run)(&plan.of(&benchmark))?;
        report.add(benchmark.name, findings);
        // After each, so that one that fails takes nothing with it.
        report.write(&json)?;
        eprintln!(
            "{:18} took {:.1} s",
            benchmark.name,
            start.elapsed().as_secs_f64()
        );
    }
    match plan.depth {
        Depth::Smoke => println!("everything ran; its figures mean nothing"),
        _ => println!("\n{}\n\nin {}", report.text(), json.display()),
    }
    Ok(())
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Benchmark>> {
    if let Some(unknown) = names
        .iter()
        .find(|name| !ALL.iter().any(|known| known.name.starts_with(*name)))
    {
        bail!("there is no benchmark {unknown}; --list says which there are");
    }
    let wanted = |benchmark: &Benchmark| {
        names.is_empty() || names.iter().any(|name| benchmark.name.starts_with(name))
    };
    Ok(ALL.into_iter().filter(wanted).collect())
}

/// Where results, logs and all that is temporary go: `target/bench`, so that the disk is the one
/// that the project is on.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench")
}

/// Removed when it is dropped.
fn temporary_folder() -> anyhow::Result<tempfile::TempDir> {
    fs::create_dir_all(folder())?;
    Ok(tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(folder())?)
}
