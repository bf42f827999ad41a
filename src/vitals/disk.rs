//! The size of the log, and the free space on its disk.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};
use rustix::fs::statvfs;

/// How often the values are read.
const INTERVAL: Duration = Duration::from_secs(5);
/// Older values are not reported, because the disk hangs.
const STALE: Duration = Duration::from_secs(60);

/// The last values. The thread that reads them ends when this is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    seen: Arc<Mutex<Option<(Instant, Look)>>>,
    #[expect(dead_code, reason = "held for its drop: it ends the thread")]
    ends: Option<mpsc::Sender<()>>,
}

/// The values of one moment, in bytes.
#[derive(Clone, Debug)]
struct Look {
    files: Vec<(String, u64)>,
    free: u64,
    size: u64,
}

impl Disk {
    pub(super) fn watch(files: Vec<PathBuf>) -> Self {
        let seen = Arc::default();
        let (ends, ended) = mpsc::channel();
        let watching = Arc::clone(&seen);
        let thread = thread::Builder::new().name("disk".into());
        let started = thread.spawn(move || watch(&files, &watching, &ended));
        if let Err(error) = &started {
            tracing::warn!(
                %error,
                "cannot start the thread that looks at the disk: its metrics are missing",
            );
        }
        let ends = started.is_ok().then_some(ends);
        Self { seen, ends }
    }
}

fn watch(files: &[PathBuf], seen: &Mutex<Option<(Instant, Look)>>, ended: &mpsc::Receiver<()>) {
    loop {
        match Look::at(files) {
            Ok(look) => {
                let now = Some((Instant::now(), look));
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
            }
            Err(error) => tracing::debug!(%error, "cannot look at the disk"),
        }
        if ended.recv_timeout(INTERVAL) != Err(mpsc::RecvTimeoutError::Timeout) {
            return;
        }
    }
}

impl Look {
    fn at(files: &[PathBuf]) -> io::Result<Self> {
        let folder = files.first().and_then(|file| file.parent());
        let disk = statvfs(folder.unwrap_or(Path::new(".")))?;
        let of_each = files.iter().map(|file| {
            let name = file.file_name().unwrap_or_default();
            // The write-ahead log does not always exist.
            let bytes = fs::metadata(file).map_or(0, |file| file.len());
            (name.to_string_lossy().into_owned(), bytes)
        });
        Ok(Self {
            files: of_each.collect(),
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            size: disk.f_blocks.saturating_mul(disk.f_frsize),
        })
    }
}

impl Collector for Disk {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let look = seen.clone().filter(|(at, _)| at.elapsed() < STALE);
        drop(seen);
        let (_, look) = look.unzip();
        let gauge = |bytes: u64| ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));

        let mut files = encoder.encode_descriptor(
            "verbex_gateway_log_bytes",
            "Size of the log's files.",
            None,
            MetricType::Gauge,
        )?;
        for (name, bytes) in look.iter().flat_map(|look| &look.files) {
            gauge(*bytes).encode(files.encode_family(&[("file", name.as_str())])?)?;
        }
        let wholes = [
            (
                "verbex_gateway_disk_free_bytes",
                "Room that is left on the disk of the data folder.",
                look.as_ref().map(|look| look.free),
            ),
            (
                "verbex_gateway_disk_size_bytes",
                "Size of the disk of the data folder.",
                look.as_ref().map(|look| look.size),
            ),
        ];
        for (name, help, bytes) in wholes {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            if let Some(bytes) = bytes {
                gauge(bytes).encode(encoder)?;
            }
        }
        Ok(())
    }
}
