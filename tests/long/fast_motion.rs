//! Thirty days in fast motion: the same number of events each day, of which the log keeps those of
//! seven days. Its files should grow for seven days, and then stay as they are.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use prometheus_client::registry::Registry;
use verbex_gateway::inside::log::{Config, Limits, Metrics, open};

use crate::events::{Maker, Payload};

const DAYS: u64 = 30;
const KEPT_DAYS: f64 = 7.0;
const AGENTS: u64 = 1_000;
/// Events that come at the same time.
const GROUP: u64 = 64;
/// How often its files are looked at.
const LOOKS_A_DAY: u64 = 8;
/// A file that no longer grows is at most so many times as large as it was after nine days. Until
/// the write-ahead log is moved into it, it is smaller than it will be.
const GROWTH_MAX: f64 = 1.25;
const NOT_MOVED_MAX: f64 = 32.0;

/// The files at a moment.
struct Look {
    day: f64,
    file: f64,
    write_ahead_log: f64,
}

pub(crate) async fn thirty_days(per_day: u64, day_seconds: f64, svg: Option<PathBuf>) -> String {
    let folder = tempfile::tempdir().unwrap();
    // Whole seconds, as the setting is.
    let age = (KEPT_DAYS * day_seconds).ceil();
    let limits = Limits {
        age: format!("{age}s").parse().unwrap(),
        ..Limits::NONE
    };
    let config = Config {
        data_dir: folder.path().to_owned(),
        consent: Default::default(),
        limits,
    };
    let log = open(&config, Metrics::register(&mut Registry::default())).unwrap();
    let maker = Maker::new(Payload::Small, AGENTS);
    let begun = Instant::now();
    let at = |day: f64| Duration::from_secs_f64(day * day_seconds);
    let (mut looks, mut number, mut late) = (Vec::new(), 0, Duration::ZERO);
    while number < per_day * DAYS {
        let group = (number..number + GROUP).map(|number| {
            let mut event = maker.event(0, number);
            // The time of its commit.
            event.event.receive_time = Some(std::time::SystemTime::now().into());
            log.appender.append(event)
        });
        try_join_all(group).await.unwrap();
        number += GROUP;
        let day = number as f64 / per_day as f64;
        if looks.len() as f64 <= day * LOOKS_A_DAY as f64 {
            let look = Look::at(day, folder.path());
            if (looks.len() as u64).is_multiple_of(LOOKS_A_DAY * 5) {
                eprintln!("day {:.1}: {:.0} MB", look.day, look.file);
            }
            looks.push(look);
        }
        let due = at(day);
        match due.checked_sub(begun.elapsed()) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => late = late.max(begun.elapsed() - due),
        }
    }
    log.appender.finish().await;

    let size = |days: std::ops::Range<f64>| {
        let there = looks.iter().filter(|look| days.contains(&look.day));
        there.map(|look| look.file).fold(0.0, f64::max)
    };
    let full = size(0.0..KEPT_DAYS + 2.0);
    let last = size(DAYS as f64 - 7.0..f64::MAX);
    let longest = looks.iter().map(|look| look.write_ahead_log);
    let longest = longest.fold(0.0, f64::max);
    if let Some(path) = &svg {
        fs::write(path, draw(&looks, per_day)).unwrap();
    }
    let found = format!(
        "thirty days: {number} events, {per_day} a day of {day_seconds} s, {KEPT_DAYS} days kept; \
         largest file {full:.1} MB up to day 9, {last:.1} MB in the last week; largest write-ahead \
         log {longest:.1} MB; at most {:.1} s behind",
        late.as_secs_f64()
    );
    let most = full * GROWTH_MAX + NOT_MOVED_MAX;
    assert!(last <= most, "the file goes on growing: {found}");
    found
}

impl Look {
    fn at(day: f64, folder: &Path) -> Self {
        let megabytes = |name: &str| {
            let file = fs::metadata(folder.join(name));
            file.map_or(0.0, |file| file.len() as f64 / 1e6)
        };
        Self {
            day,
            file: megabytes("events.db"),
            write_ahead_log: megabytes("events.db-wal"),
        }
    }
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 56.0;

fn draw(looks: &[Look], per_day: u64) -> String {
    let most = looks.iter().map(|look| look.file).fold(1.0, f64::max);
    // Five lines, at round numbers.
    let step = 10_f64.powf((most / 5.0).log10().floor());
    let step = step
        * [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .find(|n| n * step * 5.0 >= most)
            .unwrap();
    let x = |day: f64| MARGIN + (WIDTH - 2.0 * MARGIN) * day / DAYS as f64;
    let y = |size: f64| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * size / (5.0 * step);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\">Files of the log in MB: {per_day} events a day, \
         {KEPT_DAYS} days kept</text>\n"
    );
    let mut text = |at: (f64, f64), anchor: &str, what: String| {
        let (x, y) = at;
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>"
        );
    };
    for line in 0..=5 {
        let size = f64::from(line) * step;
        text((MARGIN - 8.0, y(size) + 4.0), "end", format!("{size}"));
    }
    for day in (0..=DAYS).step_by(5) {
        text(
            (x(day as f64), HEIGHT - MARGIN + 18.0),
            "middle",
            format!("{day}"),
        );
    }
    text((WIDTH - MARGIN, HEIGHT - 12.0), "end", "days".into());
    let files = ["events.db", "events.db-wal"];
    for (place, (colour, name)) in (0..).zip(["#1f77b4", "#d95f02"].into_iter().zip(files)) {
        let path = looks.iter().fold(String::new(), |mut path, look| {
            let size = [look.file, look.write_ahead_log][place as usize];
            let _ = write!(path, "{:.1},{:.1} ", x(look.day), y(size));
            path
        });
        let (left, top) = (WIDTH - 160.0, 24.0 + 16.0 * f64::from(place));
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{left}\" y=\"{top}\" fill=\"{colour}\">{name}</text>",
            path.trim_end()
        );
    }
    svg.push_str("</svg>\n");
    svg
}
