//! Metrics of the process and of the log's disk.
//!
//! Values of the process are read at each scrape, because the kernel answers from memory. A
//! separate thread reads those of the disk, because a disk that hangs blocks its reader.

mod disk;
mod process;

use std::path::PathBuf;

use prometheus_client::registry::Registry;

/// Registers the metrics of this process, and of the disk with these files of the log.
pub(crate) fn register(log_files: Vec<PathBuf>, registry: &mut Registry) {
    registry.register_collector(Box::new(process::Process::new()));
    registry.register_collector(Box::new(disk::Disk::watch(log_files)));
}
