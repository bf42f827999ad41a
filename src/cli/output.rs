//! How events are written to standard output.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
};

use anyhow::Context;
use jiff::tz::TimeZone;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde::Serialize;
use terminal_size::{Width, terminal_size_of};
use tokio::{io::Interest, net::unix::pipe};

use super::{
    UsageError,
    pretty::{Pretty, is_hazard},
};
use crate::proto::{DESCRIPTOR_SET, Event, EventView};

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One readable line for each event, in local time; conversations only with -v
    Pretty,
    /// One object for each event, in canonical protobuf JSON
    Json,
    /// The webhook's body as it was received, without line breaks and a byte order mark. Erased
    /// events have none
    Raw,
}

/// How much of each event to write as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum View {
    /// Without conversations
    Basic,
    /// All fields
    Standard,
    /// All fields, and the webhook's body and headers
    Raw,
}

/// The width of a terminal that does not report one.
const UNKNOWN_COLUMNS: usize = 80;

/// Writes events. Pushed events are buffered until a flush.
pub(super) struct Output {
    format: Writer,
    buffer: Vec<u8>,
}

enum Writer {
    Pretty(Pretty),
    Json(MessageDescriptor),
    Raw,
}

impl Output {
    /// Standard output. On a terminal it has colours and lines that fit its width.
    ///
    /// # Errors
    /// Only if the built-in descriptor set is broken.
    pub(super) fn new(format: Format, details: bool) -> anyhow::Result<Self> {
        let format = match format {
            Format::Pretty => Writer::Pretty(Pretty {
                zone: TimeZone::system(),
                color: anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
                columns: columns(),
                details,
            }),
            Format::Json => Writer::Json(event_descriptor()?),
            Format::Raw => Writer::Raw,
        };
        Ok(Self {
            format,
            buffer: Vec::new(),
        })
    }

    /// Adds an event.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(super) fn push(&mut self, event: &Event) -> anyhow::Result<()> {
        match &mut self.format {
            Writer::Pretty(pretty) => {
                // The width of the terminal may have changed.
                pretty.columns = columns();
                let mut text = String::new();
                pretty.render(event, &mut text);
                self.buffer.extend_from_slice(text.as_bytes());
            }
            Writer::Json(descriptor) => {
                let json = canonical_json(descriptor, event)?;
                self.buffer.extend_from_slice(json.as_bytes());
                self.buffer.push(b'\n');
            }
            // It has no body any more.
            Writer::Raw if event.erase_time.is_some() => {}
            Writer::Raw => {
                push_one_line(&event.raw_json, &mut self.buffer);
                self.buffer.push(b'\n');
            }
        }
        Ok(())
    }

    /// Writes all pushed events.
    ///
    /// # Errors
    /// If the write to standard output fails.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        // Only coloured text may go through the colour filter: the other forms are data.
        if let Writer::Pretty(_) = self.format {
            let mut stdout = anstream::stdout().lock();
            stdout.write_all(&self.buffer)?;
            stdout.flush()?;
        } else {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&self.buffer)?;
            stdout.flush()?;
        }
        self.buffer.clear();
        Ok(())
    }
}

/// The smallest view that has everything that is written.
///
/// # Errors
/// If a flag belongs to another format.
pub(super) fn view(
    format: Format,
    details: bool,
    json: Option<View>,
) -> Result<EventView, UsageError> {
    match (format, details, json) {
        (Format::Json | Format::Raw, true, _) => {
            Err(UsageError("--verbose is for --format pretty".into()))
        }
        (Format::Pretty | Format::Raw, _, Some(_)) => {
            Err(UsageError("--view is for --format json".into()))
        }
        (Format::Raw, ..) | (Format::Json, _, Some(View::Raw)) => Ok(EventView::Raw),
        (Format::Json, _, Some(View::Basic)) | (Format::Pretty, false, _) => Ok(EventView::Basic),
        (Format::Json, ..) | (Format::Pretty, true, _) => Ok(EventView::Standard),
    }
}

/// Writes a line to standard error. Errors are ignored: there is no other place to report them.
pub(super) fn tell(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Resolves when the reader of standard output has closed it, as `| head -1` does, so that the
/// command ends without waiting for the next event. Never resolves if the system cannot tell.
pub(super) async fn reader_gone() {
    let gone = async {
        // It is only watched, not written to, so it does not have to be non-blocking. Fails for a
        // file.
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let stdout = pipe::Sender::from_owned_fd_unchecked(stdout)?;
        stdout.ready(Interest::ERROR).await.map(drop)
    };
    if gone.await.is_err() {
        std::future::pending().await
    }
}

/// The width of the terminal; none if standard output is not a terminal.
fn columns() -> Option<usize> {
    let stdout = io::stdout();
    stdout.is_terminal().then(|| {
        terminal_size_of(&stdout).map_or(UNKNOWN_COLUMNS, |(Width(columns), _)| columns.into())
    })
}

fn event_descriptor() -> anyhow::Result<MessageDescriptor> {
    DescriptorPool::decode(DESCRIPTOR_SET)?
        .get_message_by_name("verbex.gateway.v1.Event")
        .context("the contract has no event")
}

/// Canonical protobuf JSON. Characters that could control a terminal are written as escapes, which
/// decode to the same text.
fn canonical_json(descriptor: &MessageDescriptor, event: &Event) -> anyhow::Result<String> {
    let mut message = DynamicMessage::new(descriptor.clone());
    message.transcode_from(event)?;
    let mut json = Vec::new();
    message.serialize(&mut serde_json::Serializer::new(&mut json))?;
    let json = String::from_utf8(json)?;
    if !json.contains(is_hazard) {
        return Ok(json);
    }
    let escaped = json.chars().fold(String::new(), |mut escaped, char| {
        if is_hazard(char) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            escaped.push(char);
        }
        escaped
    });
    Ok(escaped)
}

/// A text without byte order marks at its beginning, and without white space before them.
pub(super) fn without_mark(mut text: &[u8]) -> &[u8] {
    while let Some(behind) = text.trim_ascii_start().strip_prefix("\u{feff}".as_bytes()) {
        text = behind;
    }
    text
}

/// The body on one line, without a byte order mark before it and NULs after it. JSON has line
/// breaks only between tokens: they and the white space after them are removed. All else is
/// unchanged.
fn push_one_line(body: &[u8], out: &mut Vec<u8>) {
    let mut after_break = true;
    for &byte in without_mark(body) {
        match byte {
            b'\0' => {}
            b'\n' | b'\r' => after_break = true,
            b' ' | b'\t' if after_break => {}
            _ => {
                after_break = false;
                out.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests;
