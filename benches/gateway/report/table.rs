//! The report as a table: aligned for a terminal, or in Markdown.

use std::fmt::Write;

use super::{Peer, Report, Row, Target};
use crate::measure::Summary;

const HEAD: [&str; 9] = [
    "benchmark",
    "what",
    "figure",
    "spread",
    "n",
    "peer",
    "its figure",
    "ratio",
    "target",
];

pub(super) fn text(report: &Report) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(report.rows.iter().map(cells));
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = format!("{}\n\n", report.machine);
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for curve in &report.curves {
        let _ = write!(text, "\n{}: {}\n", curve.title, curve.unit);
        for series in &curve.series {
            let points = series.points.iter();
            let points: Vec<String> = points
                .map(|(place, figure)| format!("{} at {}", number(figure.median), number(*place)))
                .collect();
            let _ = writeln!(text, "  {}: {}", series.name, points.join(", "));
        }
    }
    for remark in &report.remarks {
        let _ = write!(text, "\n{remark}");
    }
    text
}

pub(super) fn markdown(report: &Report) -> String {
    let mut text = format!("{}\n\n", report.machine);
    let mut line = |cells: &[String]| {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    line(&HEAD.map(str::to_owned));
    line(&HEAD.map(|_| "---".to_owned()));
    for row in &report.rows {
        line(&cells(row));
    }
    for remark in &report.remarks {
        let _ = write!(text, "\n{remark}\n");
    }
    text
}

fn cells(row: &Row) -> [String; HEAD.len()] {
    let peer = row.peer.as_ref();
    let of_peer = |cell: fn(&Peer) -> String| peer.map(cell).unwrap_or_default();
    [
        row.benchmark.to_owned(),
        row.what.clone(),
        format!("{} {}", number(row.ours.median), row.unit),
        spread(&row.ours),
        row.ours.n.to_string(),
        of_peer(|peer| peer.name.clone()),
        of_peer(|peer| number(peer.figure.median)),
        of_peer(|peer| format!("{} ({})", number(peer.ratio.median), spread(&peer.ratio))),
        verdict(row),
    ]
}

/// How far the runs are apart.
fn spread(summary: &Summary) -> String {
    match summary.spread() * 100.0 {
        percent if summary.n > 1 && percent.is_finite() => format!("±{:.0} %", percent / 2.0),
        _ => "–".to_owned(),
    }
}

fn verdict(row: &Row) -> String {
    let (Some(target), Some(met)) = (row.target, row.met) else {
        return String::new();
    };
    let target = match target {
        Target::AtLeast(least) | Target::ValueAtLeast(least) => format!("≥ {}", number(least)),
        Target::AtMost(most) => format!("≤ {}", number(most)),
        Target::ValueBelow(bound) => format!("< {}", number(bound)),
    };
    let reached = if met { "met" } else { "missed" };
    format!("{target}: {reached}")
}

/// Three digits, or a whole number with thousands apart.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    match value {
        size if size >= 100.0 || size.fract() == 0.0 => grouped(value.round() as u64),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A number with thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
