//! Events for people: one line each, and with `-v` all fields and the conversation below it.

use std::{borrow::Cow, fmt::Write};

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, tz::TimeZone};
use unicode_width::UnicodeWidthChar;

use super::filter_flags::type_name;
use crate::proto::{CallTransferred, Event, EventType, event::Payload};

/// How lines look.
#[derive(Clone, Debug)]
pub(super) struct Pretty {
    /// The zone of the times.
    pub zone: TimeZone,
    /// Whether to colour by type.
    pub color: bool,
    /// The width of the terminal, which no line exceeds. None if the output is not a terminal; then
    /// nothing is shortened.
    pub columns: Option<usize>,
    /// Whether to add all other fields below the line, including personal data.
    pub details: bool,
}

/// The columns of a line, with their usual widths.
const TIME_COLUMNS: usize = 19;
const TYPE_COLUMNS: usize = 16;
const STATUS_COLUMNS: usize = 9;
const CALL_COLUMNS: usize = 24;
const AGENT_COLUMNS: usize = 36;
const SHORT_AGENT_COLUMNS: usize = 9;
/// Between two columns.
const GAP: usize = 2;
/// The width of a line with the full time. On a narrower terminal the time has no year.
const LINE_COLUMNS: usize =
    TIME_COLUMNS + TYPE_COLUMNS + STATUS_COLUMNS + CALL_COLUMNS + SHORT_AGENT_COLUMNS + 4 * GAP;
/// A remark with less space is left out.
const REMARK_COLUMNS_MIN: usize = 12;

/// Which values are not shortened in an event's line.
struct Whole {
    agent: bool,
    remark: bool,
}

impl Pretty {
    /// Adds the event's line, or lines.
    pub(super) fn render(&self, event: &Event, out: &mut String) {
        let whole = self.render_line(event, out);
        if self.details {
            self.render_details(event, &whole, out);
        }
    }

    fn render_line(&self, event: &Event, out: &mut String) -> Whole {
        let plain = Style::new();
        let remark = remark(event);
        let remark = escape(&remark);
        let columns = self.columns.unwrap_or(usize::MAX);
        let (time_format, time_columns) = if columns < LINE_COLUMNS {
            ("%m-%d %H:%M:%S", 14)
        } else {
            ("%Y-%m-%d %H:%M:%S", TIME_COLUMNS)
        };

        let start = out.len();
        let mut line = Line::new(out, columns);
        let time = self.time(event.receive_time.as_ref(), time_format);
        line.cell(&time, time_columns, plain);
        let kind = event.r#type();
        line.cell(type_name(kind), TYPE_COLUMNS, self.style(type_style(kind)));
        let status = or_dash(&event.status);
        let status_columns = self.columns.map_or(usize::MAX, |_| STATUS_COLUMNS);
        let status = cut(&status, status_columns);
        line.cell(
            &status,
            STATUS_COLUMNS,
            self.style(status_style(&event.status)),
        );
        // A long call id leaves space for a shortened agent id.
        let call = or_dash(&event.call_id);
        let call_columns = line.room().saturating_sub(GAP + SHORT_AGENT_COLUMNS);
        let call = cut(&call, call_columns.max(CALL_COLUMNS));
        line.cell(&call, CALL_COLUMNS, plain);

        // The agent id is not shortened if the whole remark still fits.
        let agent = or_dash(&event.agent_id);
        let needed = match width(&remark) {
            0 => width(&agent),
            remark => width(&agent).max(AGENT_COLUMNS) + GAP + remark,
        };
        let (agent_shown, agent_columns) = if needed <= line.room() {
            (Cow::Borrowed(&*agent), AGENT_COLUMNS)
        } else {
            (cut(&agent, SHORT_AGENT_COLUMNS), SHORT_AGENT_COLUMNS)
        };
        line.cell(&agent_shown, agent_columns, plain);
        let remark_is_whole = width(&remark) <= line.room();
        if remark_is_whole || line.room() >= REMARK_COLUMNS_MIN {
            line.cell(&remark, 0, plain);
        }
        out.truncate(start + out[start..].trim_end().len());
        out.push('\n');
        Whole {
            agent: agent_shown == agent,
            remark: remark_is_whole,
        }
    }

    fn render_details(&self, event: &Event, whole: &Whole, out: &mut String) {
        self.detail(out, "event", &format!("{} {}", event.sequence, event.id));
        self.detail(out, "name", &event.event_name);
        self.detail(out, "organization", &event.organization_id);
        if !whole.agent {
            self.detail(out, "agent", &event.agent_id);
        }
        self.detail(out, "trace", &event.trace_id);
        self.detail(
            out,
            "happened",
            &self.time(event.event_time.as_ref(), "%Y-%m-%d %H:%M:%S%.f"),
        );
        if event.erase_time.is_some() {
            let time = self.time(event.erase_time.as_ref(), "%Y-%m-%d %H:%M:%S");
            self.detail(out, "erased", &time);
        }
        match &event.payload {
            Some(Payload::CallTransferred(transfer)) => {
                if !whole.remark {
                    self.detail(out, "to", &transfer.transfer_to);
                }
                self.render_transfer(transfer, out);
            }
            Some(Payload::PcaCompleted(analysis)) if analysis.pca_time.is_some() => {
                let time = self.time(analysis.pca_time.as_ref(), "%Y-%m-%d %H:%M:%S%.f");
                self.detail(out, "analysed", &time);
            }
            _ => {}
        }
        if let Some(fields) = &event.unmodeled_fields {
            let names: Vec<&str> = fields.fields.keys().map(String::as_str).collect();
            self.detail(out, "also has", &names.join(", "));
        }
    }

    fn render_transfer(&self, transfer: &CallTransferred, out: &mut String) {
        if let Some(caller) = &transfer.caller {
            self.detail(out, "caller", &caller.phone_number);
        }
        if let Some(summary) = &transfer.call_summary {
            if let Some(seconds) = summary.duration_seconds {
                self.detail(out, "duration", &format!("{seconds} s"));
            }
            self.detail(out, "reason", &summary.transfer_reason);
            self.detail(out, "sentiment", &summary.customer_sentiment);
            self.detail(out, "topics", &summary.topics_discussed.join("; "));
            self.detail(out, "actions", &summary.actions_taken.join("; "));
            self.detail(out, "unresolved", &summary.unresolved_issues.join("; "));
        }
        for entry in &transfer.transcript {
            let speaker = self.style(speaker_style(&entry.role));
            let role = escape(&entry.role);
            let role_columns = self.columns.map_or(usize::MAX, |columns| columns / 4);
            let role = cut(&role, role_columns.max(5));
            let padding = 5_usize.saturating_sub(width(&role));
            let head = format!("      {:padding$}{speaker}{role}{speaker:#}  ", "");
            self.wrapped(out, &head, 8 + padding + width(&role), &entry.content);
        }
    }

    /// A line below the event's line; none if the value is empty.
    fn detail(&self, out: &mut String, label: &str, text: &str) {
        if !text.is_empty() {
            let dim = self.style(Style::new().dimmed());
            let head = format!("    {dim}{label:<12}{dim:#}  ");
            self.wrapped(out, &head, 18, text);
        }
    }

    /// A heading and a text beside it, in as many lines as needed.
    fn wrapped(&self, out: &mut String, head: &str, head_columns: usize, text: &str) {
        let text = escape(text);
        let Some(columns) = self.columns else {
            let _ = writeln!(out, "{head}{text}");
            return;
        };
        let text_columns = columns.saturating_sub(head_columns).max(1);
        for (number, line) in wrap(&text, text_columns).iter().enumerate() {
            let _ = match number {
                0 => writeln!(out, "{head}{line}"),
                _ => writeln!(out, "{:head_columns$}{line}", ""),
            };
        }
    }

    fn time(&self, time: Option<&prost_types::Timestamp>, format: &str) -> String {
        let time = time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok());
        time.map_or_else(
            || "-".to_owned(),
            |time| {
                time.to_zoned_datetime(self.zone.clone())
                    .strftime(format)
                    .to_string()
            },
        )
    }

    fn style(&self, style: Style) -> Style {
        if self.color { style } else { Style::new() }
    }
}

/// A line that is cut at the terminal's width.
struct Line<'o> {
    out: &'o mut String,
    columns_left: usize,
    gap: usize,
}

impl<'o> Line<'o> {
    fn new(out: &'o mut String, columns: usize) -> Self {
        Self {
            out,
            columns_left: columns,
            gap: 0,
        }
    }

    /// For the next cell.
    fn room(&self) -> usize {
        self.columns_left.saturating_sub(self.gap)
    }

    /// Adds a text, padded to this many columns.
    fn cell(&mut self, text: &str, columns: usize, style: Style) {
        let (gap, room) = (self.gap, self.room());
        if room == 0 {
            return;
        }
        let text = cut(text, room);
        let padding = columns.min(room).saturating_sub(width(&text));
        // The padding is inside the style, which takes no columns.
        let _ = write!(self.out, "{:gap$}{style}{text}{:padding$}{style:#}", "", "");
        self.columns_left = room - width(&text) - padding;
        self.gap = GAP;
    }
}

/// How many columns a text takes at the most.
fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Terminals differ on combining marks, such as Bengali vowel signs. Many give each a column, so it
/// counts as one here.
fn char_width(char: char) -> usize {
    char.width().unwrap_or(0).max(1)
}

/// How many bytes of a text fit into this many columns.
fn fitting(text: &str, columns: usize) -> usize {
    let mut columns_left = Some(columns);
    let fits = text.chars().take_while(|&char| {
        columns_left = columns_left.and_then(|left| left.checked_sub(char_width(char)));
        columns_left.is_some()
    });
    fits.map(char::len_utf8).sum()
}

/// A text in lines of at most this many columns, broken at spaces, or within a word that is longer
/// than a line.
fn wrap(text: &str, columns: usize) -> Vec<&str> {
    let (mut rest, mut lines) = (text, Vec::new());
    let mut fits = fitting(rest, columns);
    while fits < rest.len() {
        let space = if rest[fits..].starts_with(' ') {
            Some(fits)
        } else {
            rest[..fits].rfind(' ')
        };
        let space = space.filter(|&end| !rest[..end].trim_end().is_empty());
        // A character that is wider than a line still gets a line.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = space.unwrap_or(fits.max(first));
        lines.push(rest[..end].trim_end());
        rest = rest[end..].trim_start_matches(' ');
        fits = fitting(rest, columns);
    }
    if lines.is_empty() || !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// A text cut to at most this many columns.
fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return text.into();
    }
    let mut short = text[..fitting(text, columns.saturating_sub(1))].to_owned();
    if columns > 0 {
        short.push('…');
    }
    short.into()
}

/// Text from callers, made safe for one line of a terminal: control characters, and characters that
/// change the writing direction or end a line, are written as Rust escapes.
#[must_use]
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hazard) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if is_hazard(char) {
            safe.extend(char.escape_default());
        } else {
            safe.push(char);
        }
    }
    Cow::Owned(safe)
}

/// Whether a character controls a terminal instead of being shown. All of these have at most four
/// hexadecimal digits.
#[must_use]
pub(super) fn is_hazard(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The most useful detail of the event, for the end of its line.
fn remark(event: &Event) -> Cow<'_, str> {
    if event.erase_time.is_some() {
        return "erased".into();
    }
    match &event.payload {
        Some(Payload::CallTransferred(transfer)) if !transfer.transfer_to.is_empty() => {
            format!("to {}", transfer.transfer_to).into()
        }
        Some(Payload::PcaCompleted(analysis)) if analysis.reason != event.status => {
            analysis.reason.as_str().into()
        }
        None if event.r#type() == EventType::Other => event.event_name.as_str().into(),
        _ => "".into(),
    }
}

fn or_dash(text: &str) -> Cow<'_, str> {
    if text.is_empty() {
        "-".into()
    } else {
        escape(text)
    }
}

fn type_style(kind: EventType) -> Style {
    let color = match kind {
        EventType::CallStarted => AnsiColor::Green,
        EventType::CallEnded => AnsiColor::Blue,
        EventType::CallTransferred => AnsiColor::Yellow,
        EventType::PcaCompleted => AnsiColor::Magenta,
        EventType::Other | EventType::Unspecified => AnsiColor::Cyan,
    };
    color.on_default()
}

fn status_style(status: &str) -> Style {
    if status == "failed" {
        AnsiColor::Red.on_default().bold()
    } else {
        Style::new()
    }
}

fn speaker_style(role: &str) -> Style {
    if role == "agent" {
        AnsiColor::Cyan.on_default()
    } else {
        Style::new().bold()
    }
}

#[cfg(test)]
mod tests;
