//! The gateway's own log lines, on standard error. Standard output is for the banner.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io, panic, thread,
};

use anstream::{AutoStream, ColorChoice};
use anyhow::Context;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::lines::Lines;
use crate::config::{LogFormat, Logging};

/// Starts logging, once in a process. A caller that logs never waits for standard error.
pub(super) fn start(config: &Logging) -> anyhow::Result<Lines> {
    let filter = EnvFilter::try_new(&config.level).context("logging.level")?;
    let colours = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let written = Lines::start("logging", io::stderr(), |count| {
        tracing::warn!("{count} log lines were dropped because standard error was not read");
    });
    let written = written.context("cannot start logging")?;
    let lines = fmt::layer()
        .with_writer(written.clone())
        .with_ansi(colours)
        // The subscriber would write its own errors to standard error directly.
        .log_internal_errors(false);
    let lines = match config.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter.and(filter_fn(is_discreet))))
        .try_init()
        .context("the log")?;
    log_panics();
    Ok(written)
}

/// Logs panics. The standard library's hook would write to standard error in the panicking thread.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        // A formatted message may hold content of a call.
        let fixed = panic.payload().downcast_ref::<&'static str>();
        let backtrace = Backtrace::capture();
        let captured = backtrace.status() == BacktraceStatus::Captured;
        tracing::error!(
            thread = thread::current().name(),
            place,
            backtrace = captured.then(|| backtrace.to_string()),
            "panicked: {}",
            fixed.unwrap_or(&"see the place")
        );
    }));
}

/// Debug lines of libraries may quote input, such as an invalid path. The gateway's do not.
fn is_discreet(line: &Metadata<'_>) -> bool {
    line.target().starts_with("verbex_gateway") || *line.level() <= Level::INFO
}
