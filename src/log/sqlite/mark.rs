//! `events.mark`: how far the log was known to be durable, in a file of its own.
//!
//! A log whose end is missing looks like a log that never had more. So its end is noted elsewhere,
//! and a start compares: see [`loss`](super::loss).
//!
//! The file has room for two records, which are written in turn. A write that is torn damages one,
//! and the other still counts. Nothing but bytes within the file changes, so a write needs no
//! journal of the file system, which commits would wait for.

use std::{fmt::Write as _, fs::File, io, os::unix::fs::FileExt, path::Path};

use jiff::Timestamp;

use super::{folder, place::sync_folder_of};
use crate::event::{Epoch, Position, Sequence, from_hex, to_hex};

pub(super) const MARK_NAME: &str = "events.mark";
/// The room of a record.
const RECORD_BYTES: usize = 512;
const TITLE: &str = "verbex-gateway log mark 1";
const CHECK_BYTES: usize = 8;

/// What was known of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) epoch: Epoch,
    /// The newest durable event.
    pub(super) last: Position,
    /// The newest event in the log without its write-ahead log.
    pub(super) moved: Sequence,
    /// When this was written.
    pub(super) written: Timestamp,
}

/// The file, and the record that was written last.
pub(super) struct MarkFile {
    file: File,
    turn: u64,
}

/// Reads the newest record. None if there is no file, or nothing in it yet.
///
/// # Errors
/// If the file cannot be read, or no record in it is whole.
pub(super) fn read(path: &Path) -> io::Result<Option<Mark>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(newest(&bytes)?.map(|(_, mark)| mark)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl MarkFile {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = folder::owners_file(path)?;
        sync_folder_of(path)?;
        // What is damaged is written over.
        let found = newest(&std::fs::read(path)?).unwrap_or(None);
        Ok(Self {
            file,
            turn: found.map_or(0, |(turn, _)| turn),
        })
    }

    /// Writes a record over the older one, and syncs it.
    pub(super) fn write(&mut self, mark: &Mark) -> io::Result<()> {
        let turn = self.turn + 1;
        let place = turn % 2 * RECORD_BYTES as u64;
        self.file.write_all_at(&record(turn, mark), place)?;
        self.file.sync_data()?;
        self.turn = turn;
        Ok(())
    }
}

fn record(turn: u64, mark: &Mark) -> Vec<u8> {
    let received = mark.last.receive_time.map(|time| time.to_string());
    let mut text = format!(
        "{TITLE}\nturn {turn}\nepoch {}\nsequence {}\nid {}\nreceived {}\nmoved {}\nwritten {}\n",
        mark.epoch,
        mark.last.sequence,
        to_hex(&mark.last.id_tag),
        received.as_deref().unwrap_or("never"),
        mark.moved,
        mark.written,
    );
    let check = check_of(&text);
    let _ = writeln!(text, "check {check}");
    let mut bytes = text.into_bytes();
    bytes.resize(RECORD_BYTES - 1, b' ');
    bytes.push(b'\n');
    bytes
}

fn newest(bytes: &[u8]) -> io::Result<Option<(u64, Mark)>> {
    let records = bytes.chunks(RECORD_BYTES).filter_map(parse);
    match records.max_by_key(|(turn, _)| *turn) {
        None if !bytes.is_empty() => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is damaged, or a newer version has written it",
        )),
        found => Ok(found),
    }
}

fn parse(record: &[u8]) -> Option<(u64, Mark)> {
    let text = str::from_utf8(record).ok()?;
    let (content, check) = text.split_at(text.find("check ")?);
    if check.strip_prefix("check ")?.trim_end() != check_of(content) {
        return None;
    }
    let mut lines = content.lines();
    if lines.next() != Some(TITLE) {
        return None;
    }
    let mut value = |name| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let turn = value("turn")?.parse().ok()?;
    let epoch = Epoch(from_hex(value("epoch")?)?);
    let last = Position {
        sequence: Sequence(value("sequence")?.parse().ok()?),
        id_tag: from_hex(value("id")?)?,
        receive_time: match value("received")? {
            "never" => None,
            time => Some(time.parse().ok()?),
        },
    };
    let mark = Mark {
        epoch,
        last,
        moved: Sequence(value("moved")?.parse().ok()?),
        written: value("written")?.parse().ok()?,
    };
    Some((turn, mark))
}

fn check_of(text: &str) -> String {
    to_hex(&blake3::hash(text.as_bytes()).as_bytes()[..CHECK_BYTES])
}

#[cfg(test)]
mod tests;
