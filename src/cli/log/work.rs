//! Long work on a log, in a thread of its own.

use std::{convert::Infallible, time::Duration};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{task, time};

use crate::{
    cli::interrupt::{Signals, end_at_once},
    log::Progress,
};

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(100);

/// Runs work that blocks. Shows its progress if standard error is a terminal. The first signal
/// tells the work to stop, and a second one ends the process.
pub(super) async fn watched<T: Send + 'static>(
    work: impl FnOnce(&Progress) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    // Before the work begins, so that no signal ends it in the middle.
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let progress = Progress::default();
    let mut work = {
        let progress = progress.clone();
        task::spawn_blocking(move || work(&progress))
    };
    let bar = ProgressBar::new(0).with_style(style());
    let impatience = async {
        signals.next().await;
        progress.stop();
        signals.next().await
    };
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        never = show(&progress, &bar) => match never {},
        signal = impatience => end_at_once(signal),
    };
    bar.finish_and_clear();
    outcome.context("the thread that worked has failed")?
}

async fn show(progress: &Progress, bar: &ProgressBar) -> Infallible {
    let mut ticks = time::interval(TICK);
    loop {
        ticks.tick().await;
        let (step, done, total) = progress.now();
        bar.set_length(total);
        bar.set_position(done.min(total));
        bar.set_message(step);
    }
}

fn style() -> ProgressStyle {
    // The template is a valid constant, so the default is never used.
    ProgressStyle::with_template("{msg}  {bar:32} {percent}%  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
