//! Metrics of this process, with the names that every Prometheus client uses.

use std::{
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use rustix::{
    param,
    process::{Resource, getrlimit},
};

/// Reads the values of this process from the kernel. Missing values, as on systems other than
/// Linux, are left out.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds since 1970.
    started: f64,
}

impl Process {
    pub(super) fn new() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            started: started.unwrap_or_default().as_secs_f64(),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let cpu = encoder.encode_descriptor(
            "process_cpu_seconds",
            "Processor time that the process has used, in user and in system mode.",
            None,
            MetricType::Counter,
        )?;
        if let Some(seconds) = cpu_seconds() {
            ConstCounter::new(seconds).encode(cpu)?;
        }
        #[allow(clippy::cast_precision_loss, reason = "below 2^53")]
        let gauges = [
            (
                "process_open_fds",
                "Open file descriptors.",
                open_descriptors().map(|count| count as f64),
            ),
            (
                "process_max_fds",
                "The most file descriptors that may be open.",
                getrlimit(Resource::Nofile).current.map(|max| max as f64),
            ),
            (
                "process_resident_memory_bytes",
                "Memory that the process holds.",
                resident_bytes().map(|bytes| bytes as f64),
            ),
            (
                "process_start_time_seconds",
                "When the process started, since 1970.",
                Some(self.started),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            if let Some(value) = value {
                ConstGauge::new(value).encode(gauge)?;
            }
        }
        Ok(())
    }
}

fn open_descriptors() -> Option<usize> {
    // Without the descriptor that reads the folder.
    Some(
        fs::read_dir("/proc/self/fd")
            .ok()?
            .count()
            .saturating_sub(1),
    )
}

fn resident_bytes() -> Option<u64> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(resident * param::page_size() as u64)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program is in parentheses and may contain any character.
    let behind_name = stat.rsplit_once(')')?.1;
    let mut fields = behind_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    #[allow(clippy::cast_precision_loss, reason = "below 2^53")]
    Some((user + system) as f64 / param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_is_read_rightly() {
        assert!(open_descriptors().unwrap() >= 3);
        let held = vec![1_u8; 64 * 1024 * 1024];
        let resident = resident_bytes().unwrap();
        assert!(
            (held.len() as u64..1 << 40).contains(&resident),
            "{resident}"
        );
        let before = cpu_seconds().unwrap();
        let mut hash = blake3::Hasher::new();
        while cpu_seconds().unwrap() < before + 0.05 {
            hash.update(&held[..1024 * 1024]);
        }
        let files: Vec<_> = (0..10)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        assert!(open_descriptors().unwrap() >= 3 + files.len());
    }
}
