//! What it was measured on.

use std::{fmt, fs, thread};

use serde::Serialize;

/// The machine, as far as figures depend on it.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    /// Of the minute before the run: what others were doing.
    load_before: String,
    /// Of the program that is measured.
    version: &'static str,
    optimized: bool,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key))
                .map(|value| value.trim_start_matches([':', ' ', '\t']).trim().to_owned())
                .unwrap_or_default()
        };
        let memory_kib = value(&read("/proc/meminfo"), "MemTotal");
        let memory_kib = memory_kib
            .split(' ')
            .next()
            .and_then(|kib| kib.parse().ok());
        Self {
            processor: value(&read("/proc/cpuinfo"), "model name"),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory_kib.unwrap_or(0_u64) / (1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: read("/proc/loadavg")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            version: env!("CARGO_PKG_VERSION"),
            optimized: !cfg!(debug_assertions),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "verbex-gateway {} ({}) on {} cores of {}, {} GiB, Linux {}, load before {}",
            self.version,
            if self.optimized {
                "optimized"
            } else {
                "NOT optimized"
            },
            self.cores,
            self.processor,
            self.memory_gib,
            self.kernel,
            self.load_before
        )
    }
}
