//! The commands that look after a log, beside a running gateway and without one.

mod backup;
mod erase;
mod stats;
mod verify;

use std::path::Path;

use crate::support::process::{Finished, run};

/// Runs `log` with these words on a data folder.
async fn log(data: &Path, words: &[&str]) -> Finished {
    let folder = data.parent().expect("the test's folder");
    let data = data.display().to_string();
    let args = [&["log"], words, &["--data-dir", &data]].concat();
    run(folder, &args, "").await
}

/// Runs it to a good end, and returns what it says.
pub(crate) async fn good(data: &Path, words: &[&str]) -> String {
    let finished = log(data, words).await;
    assert_eq!(finished.code, Some(0), "{finished}");
    finished.stdout
}

/// Runs it to a failure, and returns what it says.
async fn failed(data: &Path, words: &[&str]) -> String {
    let finished = log(data, words).await;
    assert_eq!(finished.code, Some(1), "{finished}");
    finished.stderr
}
