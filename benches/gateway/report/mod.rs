//! What was found: rows beside their targets, and curves.

mod machine;
mod plot;
mod table;

use std::{fs, path::Path};

use anyhow::Context;
use serde::Serialize;

pub(crate) use machine::Machine;
pub(crate) use table::grouped;

use crate::measure::Summary;

/// What one benchmark found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub rows: Vec<Row>,
    pub curves: Vec<Curve>,
    /// What could not be measured, and why.
    pub remarks: Vec<String>,
}

impl Findings {
    pub(crate) fn of(rows: impl IntoIterator<Item = Row>) -> Self {
        Self {
            rows: rows.into_iter().collect(),
            ..Self::default()
        }
    }

    pub(crate) fn remark(&mut self, remark: String) {
        self.remarks.push(remark);
    }
}

/// A figure, beside a peer's and a target where there are any.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub benchmark: &'static str,
    pub what: String,
    pub unit: &'static str,
    pub ours: Summary,
    pub peer: Option<Peer>,
    pub target: Option<Target>,
    /// Whether the target is met; none without one.
    pub met: Option<bool>,
    #[serde(skip)]
    samples: Vec<f64>,
}

/// A figure of a sample, with its unit or name.
pub(crate) type Figure<S> = (&'static str, fn(&S) -> f64);

/// What a figure is compared with.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Peer {
    pub name: String,
    pub figure: Summary,
    /// Of the samples of one run, which were taken one after the other.
    pub ratio: Summary,
}

/// Which way a ratio is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ratio {
    OursToPeer,
    PeerToOurs,
}

/// What a row is to reach, by its median.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) enum Target {
    /// Of the ratio.
    AtLeast(f64),
    AtMost(f64),
    /// Of the figure itself.
    ValueAtLeast(f64),
    ValueBelow(f64),
}

impl Row {
    pub(crate) fn new(
        what: impl Into<String>,
        unit: &'static str,
        samples: impl IntoIterator<Item = f64>,
    ) -> Self {
        let samples: Vec<f64> = samples.into_iter().collect();
        Self {
            benchmark: "",
            what: what.into(),
            unit,
            ours: Summary::of(samples.iter().copied()),
            peer: None,
            target: None,
            met: None,
            samples,
        }
    }

    /// Beside a peer, whose samples are of the same runs.
    pub(crate) fn against(
        mut self,
        peer: impl Into<String>,
        samples: impl IntoIterator<Item = f64>,
        ratio: Ratio,
    ) -> Self {
        let theirs: Vec<f64> = samples.into_iter().collect();
        let pairs = self.samples.iter().zip(&theirs);
        let ratios = pairs.map(|(ours, theirs)| match ratio {
            Ratio::OursToPeer => ours / theirs,
            Ratio::PeerToOurs => theirs / ours,
        });
        self.peer = Some(Peer {
            name: peer.into(),
            ratio: Summary::of(ratios),
            figure: Summary::of(theirs.iter().copied()),
        });
        self
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        let ratio = self
            .peer
            .as_ref()
            .map_or(f64::NAN, |peer| peer.ratio.median);
        self.met = Some(match target {
            Target::AtLeast(least) => ratio >= least,
            Target::AtMost(most) => ratio <= most,
            Target::ValueAtLeast(least) => self.ours.median >= least,
            Target::ValueBelow(bound) => self.ours.median < bound,
        });
        self.target = Some(target);
        self
    }
}

impl Target {
    /// How far above the target a row is: 1 is met exactly, 2 is twice as good.
    fn reached(self, row: &Row) -> f64 {
        let ratio = row.peer.as_ref().map_or(f64::NAN, |peer| peer.ratio.median);
        match self {
            Self::AtLeast(least) => ratio / least,
            Self::AtMost(most) => most / ratio,
            Self::ValueAtLeast(least) => row.ours.median / least,
            Self::ValueBelow(bound) => bound / row.ours.median,
        }
    }
}

/// How a figure changes with something.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Curve {
    pub title: String,
    /// What changes.
    pub across: String,
    pub unit: String,
    pub series: Vec<Series>,
}

/// One line of a curve.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub name: String,
    pub points: Vec<(f64, Summary)>,
}

impl Curve {
    pub(crate) fn new(title: &str, across: &str, unit: &str) -> Self {
        Self {
            title: title.to_owned(),
            across: across.to_owned(),
            unit: unit.to_owned(),
            series: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, name: &str, place: f64, figure: Summary) {
        match self.series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push((place, figure)),
            None => self.series.push(Series {
                name: name.to_owned(),
                points: vec![(place, figure)],
            }),
        }
    }
}

/// All that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    /// How thorough the run was.
    depth: String,
    rows: Vec<Row>,
    curves: Vec<Curve>,
    remarks: Vec<String>,
}

impl Report {
    pub(crate) fn new(machine: Machine, depth: String) -> Self {
        Self {
            machine,
            depth,
            rows: Vec::new(),
            curves: Vec::new(),
            remarks: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, benchmark: &'static str, findings: Findings) {
        let rows = findings.rows.into_iter();
        self.rows.extend(rows.map(|row| Row { benchmark, ..row }));
        self.curves.extend(findings.curves);
        self.remarks.extend(findings.remarks);
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        table::text(self)
    }

    /// Writes the JSON, and the plot and a Markdown table beside it.
    pub(crate) fn write(&self, json: &Path) -> anyhow::Result<()> {
        if let Some(folder) = json.parent() {
            fs::create_dir_all(folder)?;
        }
        let files = [
            (json.to_owned(), serde_json::to_string_pretty(self)?),
            (json.with_extension("svg"), plot::svg(self)),
            (json.with_extension("md"), table::markdown(self)),
        ];
        for (path, content) in files {
            fs::write(&path, content)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}
