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

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One line an event for people, in local time; without conversations unless -v asks for them
    Pretty,
    /// One object an event in canonical protobuf JSON
    Json,
    /// The webhook's body as it came; line breaks between its tokens and a byte order mark are left
    /// out
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

/// For a terminal that does not say how wide it is.
const UNKNOWN_COLUMNS: usize = 80;

/// Writes events. What was pushed is out only after a flush.
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
    /// Standard output as it is now: colours and lines that fit on a terminal, neither in a pipe.
    ///
    /// # Errors
    /// Never, in a sound build.
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
                // People make their terminals wider and narrower.
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
            Writer::Raw => {
                push_one_line(&event.raw_json, &mut self.buffer);
                self.buffer.push(b'\n');
            }
        }
        Ok(())
    }

    /// Writes out what was pushed.
    ///
    /// # Errors
    /// If standard output does not take it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        // Only what has colours may pass through what knows colours: the rest is data.
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

/// What to ask the gateway for: no more than what is written.
///
/// # Errors
/// If a flag is for another format.
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

/// A line for people, on standard error. If the terminal or the pipe is gone, there is nobody left
/// to tell.
pub(super) fn tell(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Resolves when nobody reads standard output any more, as after `| head -1`: no need to wait for
/// the next event to find out. Never, where the system cannot tell.
pub(super) async fn reader_gone() {
    let gone = async {
        // Only watched, never written to: so it need not be in non-blocking mode, and is none where
        // it is a file.
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        let stdout = pipe::Sender::from_owned_fd_unchecked(stdout)?;
        stdout.ready(Interest::ERROR).await.map(drop)
    };
    if gone.await.is_err() {
        std::future::pending().await
    }
}

/// How wide the terminal is; none if standard output is no terminal.
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

/// Canonical protobuf JSON. What could do something to a terminal is written as an escape, which
/// reads as the same text.
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

/// The body on one line. JSON has line breaks only between tokens: each goes, with the white space
/// after it. So do a byte order mark before and NULs behind; all else stays byte for byte.
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
