//! The report as a picture: a bar for each target, and the curves on logarithmic axes.

use std::fmt::Write;

use super::{Curve, Report, Row, table::number};

const WIDTH: f64 = 1080.0;
const MARGIN: f64 = 24.0;
const BAR: f64 = 20.0;
/// Where bars begin; their names are to the left.
const BARS_LEFT: f64 = 640.0;
/// Ratios to the target that the ends of a bar stand for.
const BARS_RANGE: (f64, f64) = (0.1, 10.0);
const CURVE_HEIGHT: f64 = 260.0;
const COLOURS: [&str; 4] = ["#1f77b4", "#d95f02", "#2a9d5c", "#7b4fa3"];

pub(super) fn svg(report: &Report) -> String {
    let rows: Vec<&Row> = report
        .rows
        .iter()
        .filter(|row| row.target.is_some())
        .collect();
    let bars_height = MARGIN * 3.0 + BAR * rows.len() as f64;
    let curves: Vec<&Curve> = report.curves.iter().filter(|curve| drawn(curve)).collect();
    let height = MARGIN * 2.0 + bars_height + (CURVE_HEIGHT + MARGIN) * curves.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    text(
        &mut svg,
        MARGIN,
        MARGIN,
        "start",
        &report.machine.to_string(),
    );
    bars(&mut svg, MARGIN * 2.0, &rows);
    for (place, curve) in curves.iter().enumerate() {
        let top = MARGIN * 2.0 + bars_height + (CURVE_HEIGHT + MARGIN) * place as f64;
        lines(&mut svg, top, curve);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Each target as a bar to the right (better) or to the left (worse) of the line where it is met
/// exactly.
fn bars(svg: &mut String, top: f64, rows: &[&Row]) {
    let axis = Axis {
        least: BARS_RANGE.0,
        most: BARS_RANGE.1,
        from: BARS_LEFT,
        to: WIDTH - MARGIN,
    };
    let title = "Targets: right of the line is better, by that factor";
    text(svg, BARS_LEFT, top + MARGIN / 2.0, "start", title);
    let first = top + MARGIN;
    for (place, row) in rows.iter().enumerate() {
        let y = first + BAR * place as f64;
        let reached = row.target.map_or(f64::NAN, |target| target.reached(row));
        let peer = row.peer.as_ref().map(|peer| peer.name.as_str());
        let name = match peer {
            Some(peer) => format!("{}: {} / {peer}", row.benchmark, row.what),
            None => format!("{}: {}", row.benchmark, row.what),
        };
        text(svg, BARS_LEFT - 6.0, y + BAR * 0.7, "end", &name);
        if reached.is_finite() && reached > 0.0 {
            let (one, end) = (axis.at(1.0), axis.at(reached));
            let colour = if row.met == Some(true) {
                COLOURS[2]
            } else {
                COLOURS[1]
            };
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
                 fill=\"{colour}\"/>",
                one.min(end),
                y + 3.0,
                (end - one).abs(),
                BAR - 6.0
            );
            let (beside, anchor) = match end >= one {
                true => (end + 3.0, "start"),
                false => (end - 3.0, "end"),
            };
            text(svg, beside, y + BAR * 0.7, anchor, &number(reached));
        }
    }
    let bottom = first + BAR * rows.len() as f64;
    line(svg, (axis.at(1.0), first), (axis.at(1.0), bottom), "#333");
}

fn lines(svg: &mut String, top: f64, curve: &Curve) {
    let all = || curve.series.iter().flat_map(|series| &series.points);
    let x = Axis::around(all().map(|(place, _)| *place), 80.0, WIDTH - 220.0);
    let y = Axis::around(
        all().flat_map(|(_, figure)| [figure.least, figure.most]),
        top + CURVE_HEIGHT - 2.0 * MARGIN,
        top + MARGIN,
    );
    let title = format!("{}: {}", curve.title, curve.unit);
    text(svg, MARGIN, top + MARGIN / 2.0, "start", &title);
    for (at, place) in y.powers() {
        line(svg, (x.from, at), (x.to, at), "#ddd");
        text(svg, x.from - 6.0, at + 4.0, "end", &number(place));
    }
    for (at, place) in x.powers() {
        line(svg, (at, y.from), (at, y.to), "#ddd");
        text(svg, at, y.from + 16.0, "middle", &number(place));
    }
    text(svg, x.to, y.from + 32.0, "end", &curve.across);
    for (place, series) in curve.series.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let shown = series
            .points
            .iter()
            .filter(|(_, figure)| figure.median > 0.0);
        let mut path = String::new();
        for (place, figure) in shown {
            let at = x.at(*place);
            let _ = write!(path, "{at:.1},{:.1} ", y.at(figure.median));
            if figure.least > 0.0 {
                line(
                    svg,
                    (at, y.at(figure.least)),
                    (at, y.at(figure.most)),
                    colour,
                );
            }
        }
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.trim_end()
        );
        let legend = top + MARGIN + 18.0 * (place + 1) as f64;
        line(
            svg,
            (x.to + 16.0, legend - 4.0),
            (x.to + 36.0, legend - 4.0),
            colour,
        );
        text(svg, x.to + 42.0, legend, "start", &series.name);
    }
}

/// Whether there is anything to draw: a smoke run has figures that are zero.
fn drawn(curve: &Curve) -> bool {
    let points = || curve.series.iter().flat_map(|series| &series.points);
    points().any(|(place, figure)| *place > 0.0 && figure.median > 0.0 && figure.most.is_finite())
}

/// A logarithmic axis.
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// From the power of ten below all values to the one above.
    fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut least, mut most) = (f64::MAX, f64::MIN_POSITIVE);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            least = least.min(value);
            most = most.max(value);
        }
        let least = 10_f64.powf(least.min(most).log10().floor());
        let most = 10_f64.powf(most.log10().ceil()).max(least * 10.0);
        Self {
            least,
            most,
            from,
            to,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.least, self.most);
        let part = (value / self.least).log10() / (self.most / self.least).log10();
        self.from + (self.to - self.from) * part
    }

    /// The powers of ten on it, and where.
    fn powers(&self) -> Vec<(f64, f64)> {
        let (first, last) = (self.least.log10().round(), self.most.log10().round());
        (first as i32..=last as i32)
            .map(|power| 10_f64.powi(power))
            .map(|value| (self.at(value), value))
            .collect()
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let escaped = what
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{escaped}</text>"
    );
}
