//! Events for people: one line each, and what was said beneath it if asked for.

use std::{borrow::Cow, fmt::Write};

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, tz::TimeZone};

use super::selection::type_name;
use crate::proto::{CallTransferred, Event, EventType, event::Payload};

/// How lines look.
#[derive(Clone, Debug)]
pub(super) struct Pretty {
    /// The zone of the times.
    pub zone: TimeZone,
    /// Whether to colour by type.
    pub color: bool,
    /// Whether to shorten what is long, so that a line fits a screen. A pipe wants it whole.
    pub shorten: bool,
    /// Whether to add all else there is beneath the line: personal data too.
    pub details: bool,
}

const SHORT_ID_CHARS: usize = 12;
const SHORT_TEXT_CHARS: usize = 34;

impl Pretty {
    /// Adds the event's line, or lines.
    pub(super) fn render(&self, event: &Event, out: &mut String) {
        let kind = event.r#type();
        let style = self.style(type_style(kind));
        let time = self.time(event.receive_time.as_ref(), "%Y-%m-%d %H:%M:%S");
        let name = type_name(kind);
        let status = or_dash(&event.status);
        let status_style = self.style(status_style(&event.status));
        let call = or_dash(&event.call_id);
        let agent = self.id(or_dash(&event.agent_id));
        let agent_width = if self.shorten { 9 } else { 36 };
        let remark = self.text(&remark(event));
        // The padding is inside of the styles, which have no width.
        let _ = write!(
            out,
            "{time:<19}  {style}{name:<16}{style:#}  {status_style}{status:<9}{status_style:#}  \
             {call:<24}  {agent:<agent_width$}  {remark}"
        );
        out.truncate(out.trim_end().len());
        out.push('\n');
        if self.details {
            self.render_details(event, out);
        }
    }

    fn render_details(&self, event: &Event, out: &mut String) {
        self.detail(out, "event", &format!("{} {}", event.sequence, event.id));
        self.detail(out, "name", &event.event_name);
        self.detail(out, "organization", &event.organization_id);
        if self.shorten {
            self.detail(out, "agent", &event.agent_id);
        }
        self.detail(out, "trace", &event.trace_id);
        self.detail(
            out,
            "happened",
            &self.time(event.event_time.as_ref(), "%Y-%m-%d %H:%M:%S%.f"),
        );
        match &event.payload {
            Some(Payload::CallTransferred(transfer)) => self.render_transfer(transfer, out),
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
        if self.shorten {
            self.detail(out, "to", &transfer.transfer_to);
        }
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
            let (role, content) = (escape(&entry.role), escape(&entry.content));
            let _ = writeln!(out, "      {speaker}{role:>5}{speaker:#}  {content}");
        }
    }

    /// A line beneath; none if there is nothing to say.
    fn detail(&self, out: &mut String, label: &str, text: &str) {
        if !text.is_empty() {
            let dim = self.style(Style::new().dimmed());
            let _ = writeln!(out, "    {dim}{label:<12}{dim:#}  {}", escape(text));
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

    /// The part of a UUID that people know it by.
    fn id<'a>(&self, id: Cow<'a, str>) -> Cow<'a, str> {
        if !self.shorten || id.chars().count() <= SHORT_ID_CHARS {
            return id;
        }
        let mut short: String = id.chars().take(8).collect();
        short.push('…');
        short.into()
    }

    fn text(&self, text: &str) -> String {
        let text = escape(text);
        if !self.shorten || text.chars().count() <= SHORT_TEXT_CHARS {
            return text.into_owned();
        }
        let mut short: String = text.chars().take(SHORT_TEXT_CHARS - 1).collect();
        short.push('…');
        short
    }

    fn style(&self, style: Style) -> Style {
        if self.color { style } else { Style::new() }
    }
}

/// Text from callers, made safe for a terminal and for a line: control characters, and those that turn the direction of writing or end
/// a line, are written as Rust writes them.
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

/// Whether a character does something to a terminal instead of being shown. All of them have four hexadecimal digits or fewer.
#[must_use]
pub(super) fn is_hazard(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What sets this event apart from others of its type.
fn remark(event: &Event) -> Cow<'_, str> {
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
