//! What the process and its disk have used up, as metrics.
//!
//! The process is looked at when the metrics are asked for: the kernel answers from memory. The
//! disk has a thread of its own, since one that hangs would hold up whoever looks at it.

mod disk;
mod process;

use std::path::PathBuf;

use prometheus_client::registry::Registry;

/// Makes the metrics of this process known, and those of the disk with these files of the log.
pub(crate) fn register(log_files: Vec<PathBuf>, registry: &mut Registry) {
    registry.register_collector(Box::new(process::Process::new()));
    registry.register_collector(Box::new(disk::Disk::watch(log_files)));
}
