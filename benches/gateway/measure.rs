//! What the operating system says about a process, and what several runs say about a figure.

use std::{fs, time::Duration};

use anyhow::Context;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use serde::Serialize;

/// Ticks in a second of `/proc/PID/stat`: a constant of Linux's interface on every architecture
/// that it runs on today.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time that all threads of a process have taken, in the program and in the kernel, to 10 ms.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the command's name in parentheses, with whatever in it.
    let (_, fields) = stat.rsplit_once(')').context("a /proc/PID/stat")?;
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    let [user, system] = ticks[..] else {
        anyhow::bail!("/proc/{pid}/stat has no CPU times");
    };
    Ok(Duration::from_millis(
        (user + system) * 1000 / TICKS_PER_SECOND,
    ))
}

/// CPU time of those threads of a process whose names are such, in the program and in the kernel.
/// Threads that have ended do not count.
pub(crate) fn threads_time(pid: u32, is_such: impl Fn(&str) -> bool) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let of_thread = |file| fs::read_to_string(thread.as_ref().ok()?.path().join(file)).ok();
        // It may end meanwhile.
        if let (Some(name), Some(times)) = (of_thread("comm"), of_thread("schedstat"))
            && is_such(name.trim_end())
        {
            let on_cpu = times.split(' ').next().and_then(|time| time.parse().ok());
            nanos += on_cpu.unwrap_or(0_u64);
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// Memory of a process that is in RAM, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.context("no VmRSS")? * 1024)
}

/// The monotonic clock, which all processes share.
pub(crate) fn now_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Lets this process and its children open as many files as the system allows this user.
pub(crate) fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// Measures contestants in turn, several times, forwards and backwards: what changes on the machine
/// meanwhile touches all of them. Returns the samples of each.
pub(crate) fn interleaved<C, T>(
    runs: usize,
    contestants: &[C],
    mut measure: impl FnMut(&C) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<Vec<T>>> {
    let mut samples: Vec<Vec<T>> = contestants.iter().map(|_| Vec::new()).collect();
    for run in 0..runs {
        let mut turn: Vec<usize> = (0..contestants.len()).collect();
        if run % 2 == 1 {
            turn.reverse();
        }
        for place in turn {
            samples[place].push(measure(&contestants[place])?);
        }
    }
    Ok(samples)
}

/// A figure from several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub median: f64,
    pub least: f64,
    pub most: f64,
    pub n: usize,
}

impl Summary {
    /// Of at least one sample.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            median: quantile(&sorted, 0.5),
            least: sorted.first().copied().unwrap_or(f64::NAN),
            most: sorted.last().copied().unwrap_or(f64::NAN),
            n: sorted.len(),
        }
    }

    /// From least to most, as a part of the median.
    pub(crate) fn spread(&self) -> f64 {
        (self.most - self.least) / self.median
    }
}

/// How long each arrival took, in microseconds and in order, if nothing was published before all
/// that was published earlier had arrived.
pub(crate) fn latencies(published_at: &[u64], arrivals: &[u64]) -> Vec<f64> {
    let mut latencies: Vec<f64> = arrivals
        .iter()
        .filter_map(|&arrival| {
            let event = published_at
                .partition_point(|&time| time <= arrival)
                .checked_sub(1)?;
            Some((arrival - published_at[event]) as f64 / 1e3)
        })
        .collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// Of values in order; NaN of none.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = part * last as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}
