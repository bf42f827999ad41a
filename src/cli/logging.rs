//! The gateway's own log lines: on standard error, since standard output belongs to the banner.

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

/// Starts logging, once in a process. Nothing that logs ever waits for standard error.
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
        // Its own errors would be written to standard error right here.
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

/// The hook of the standard library writes to standard error from the thread that panics.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        // Text that was put together may hold something of a call.
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

/// Libraries quote what was sent, such as a path that cannot be one, in their lines for debugging.
/// The gateway does not.
fn is_discreet(line: &Metadata<'_>) -> bool {
    line.target().starts_with("verbex_gateway") || *line.level() <= Level::INFO
}
