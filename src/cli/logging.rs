//! The gateway's own log lines: on standard error, since standard output belongs to the banner.

use std::io;

use anstream::{AutoStream, ColorChoice};
use anyhow::Context;
use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat};

/// Starts logging, once in a process.
pub(super) fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level).context("log.level")?;
    let colours = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(colours);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()
        .context("the log")
}
