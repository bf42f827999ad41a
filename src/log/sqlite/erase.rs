//! Erasure: what is personal goes from an event, and the event stays.
//!
//! A row is written over with one of exactly the same size: its body becomes `{}` and spaces. So
//! SQLite writes over the same bytes of the same pages, and moves no other row.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use prost::Message;
use rusqlite::{
    OptionalExtension, Transaction, params, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    checksum,
    chores::{self, Chore, Next},
    copies,
    file::LogFile,
    remains::Remains,
    rows::{self, Values, column, signed},
    trouble::Trouble,
};
use crate::{
    event::Sequence,
    log::{
        erasure::{Cleaned, Job, Target},
        metrics::Metrics,
    },
};

/// How often it looks for work, and how often while somebody erases.
const INTERVAL: Duration = Duration::from_millis(200);
const INTERVAL_AT_WORK: Duration = Duration::from_millis(2);
/// For how long after a job the next one is expected.
const AT_WORK: Duration = Duration::from_secs(1);

/// What is set of a row, in the order of [`Values`].
const UPDATE: &str = "
    UPDATE events SET
        id = ?2, type = ?3, event_name = ?4, trace_id = ?5, organization_id = ?6, agent_id = ?7,
        status = ?9, event_time = ?10, receive_time = ?11, raw_json = ?12, raw_headers = ?13,
        encoded = ?14, checksum = ?15
    WHERE sequence = ?1";
/// This column has an index, so it is only set if its text cannot be read.
const UPDATE_CALL: &str = "UPDATE events SET call_id = ?2 WHERE sequence = ?1";

/// Erases events when it is asked to.
pub(super) struct Erasure {
    jobs: mpsc::Receiver<Job>,
    current: Option<Current>,
    metrics: Metrics,
    /// Counts, so that what was read before is not delivered any more.
    told: watch::Sender<u64>,
    worked: Option<Instant>,
    /// Whether copies of erased rows may be left in pages.
    has_copies: bool,
}

/// The events that are being erased, the next one last.
struct Current {
    target: Target,
    left: Vec<Sequence>,
    erased: u64,
    answer: oneshot::Sender<Result<u64, String>>,
}

impl Erasure {
    pub(super) fn new(
        jobs: mpsc::Receiver<Job>,
        metrics: Metrics,
        told: watch::Sender<u64>,
    ) -> Self {
        Self {
            jobs,
            current: None,
            metrics,
            told,
            worked: None,
            has_copies: true,
        }
    }

    fn rest(&self) -> Next {
        match self.worked {
            Some(worked) if worked.elapsed() < AT_WORK => Next::After(INTERVAL_AT_WORK),
            _ => Next::After(INTERVAL),
        }
    }

    /// Tries once to remove what was erased from everywhere else than the rows.
    fn clean(&mut self, file: &mut LogFile) -> Result<Cleaned, Trouble> {
        if self.has_copies {
            file.change(|transaction| Ok(copies::overwrite(transaction)?))?;
            self.has_copies = false;
        }
        file.empty_wal()
    }

    /// Answers a job that failed. Only what the writer has to know is an error of the step.
    fn refuse<T>(
        &self,
        answer: oneshot::Sender<Result<T, String>>,
        error: Trouble,
    ) -> Result<Next, Trouble> {
        let _ = answer.send(Err(error.to_string()));
        match chores::leaves_the_file_whole(&error) {
            true => Ok(self.rest()),
            false => Err(error),
        }
    }
}

impl Chore for Erasure {
    fn name(&self) -> &'static str {
        "erasing events"
    }

    fn step(&mut self, file: &mut LogFile, until: Instant) -> Result<Next, Trouble> {
        let mut current = match self.current.take() {
            Some(current) => current,
            None => match self.jobs.try_recv() {
                Err(_) => return Ok(self.rest()),
                Ok(Job::Clean { answer }) => {
                    self.worked = Some(Instant::now());
                    return match self.clean(file) {
                        Ok(cleaned) => {
                            let _ = answer.send(Ok(cleaned));
                            Ok(self.rest())
                        }
                        Err(error) => self.refuse(answer, error),
                    };
                }
                Ok(Job::Rows {
                    target,
                    mut rows,
                    answer,
                }) => {
                    rows.reverse();
                    Current {
                        target,
                        left: rows,
                        erased: 0,
                        answer,
                    }
                }
            },
        };
        self.worked = Some(Instant::now());
        match file.change(|transaction| current.erase_some(transaction, until)) {
            Ok((done, erased)) => {
                self.metrics.erased(erased);
                self.has_copies = true;
                current.erased += erased;
                current.left.truncate(current.left.len() - done);
                if current.left.is_empty() {
                    // Whoever has read any of these events reads again, so once for all of them.
                    self.told.send_modify(|count| *count += 1);
                    let _ = current.answer.send(Ok(current.erased));
                } else {
                    self.current = Some(current);
                }
                Ok(Next::Soon)
            }
            Err(error) if chores::is_busy(&error) => {
                self.current = Some(current);
                Err(error)
            }
            Err(error) => {
                // Some of them may be erased.
                self.told.send_modify(|count| *count += 1);
                self.refuse(current.answer, error)
            }
        }
    }
}

impl Current {
    /// Erases events until the step has had its time. Returns for how many it is decided, and how
    /// many it has erased.
    fn erase_some(
        &self,
        transaction: &Transaction<'_>,
        until: Instant,
    ) -> Result<(usize, u64), Trouble> {
        let now = Timestamp::now();
        let (mut done, mut erased) = (0, 0);
        for sequence in self.left.iter().rev() {
            erased += u64::from(erase(transaction, &self.target, *sequence, now)?);
            done += 1;
            if Instant::now() >= until {
                break;
            }
        }
        Ok((done, erased))
    }
}

/// Erases one event. False if it is not there.
fn erase(
    transaction: &Transaction<'_>,
    target: &Target,
    sequence: Sequence,
    now: Timestamp,
) -> Result<bool, Trouble> {
    let mut select = transaction.prepare_cached(&format!(
        "SELECT {} FROM events WHERE sequence = ?1",
        *rows::SELECTED
    ))?;
    let bytes = select
        .query_row([signed(sequence.0)], |row| {
            let old = rows::values(row)?;
            // The index may be damaged, and lead to an event of another call.
            if let Target::Call(call) = target
                && old[column("call_id")] != ValueRef::Text(call.as_bytes())
            {
                return Ok(None);
            }
            let checksum: i64 = row.get(column("checksum"))?;
            let remains = Remains::of(transaction, sequence, &old, checksum)?;
            let remains = match target {
                Target::Phone(phone) => remains.without(phone),
                Target::Call(_) | Target::Sequence(_) => remains,
            };
            write(transaction, &remains, &old, checksum, now).map(Some)
        })
        .optional()?;
    let Some((before, after)) = bytes.flatten() else {
        return Ok(false);
    };
    transaction
        .prepare_cached("UPDATE log SET event_bytes = event_bytes - ?1 + ?2")?
        .execute([before, after])?;
    Ok(true)
}

/// Writes what remains over a row. Returns the bytes that counted for it, and that count now.
fn write(
    transaction: &Transaction<'_>,
    remains: &Remains,
    old: &Values<'_>,
    old_checksum: i64,
    now: Timestamp,
) -> rusqlite::Result<(u64, u64)> {
    let encoded = remains.event(now).encode_to_vec();
    let headers = format!("{{\"{}\":\"{now:.0}\"}}", rows::ERASE_TIME);
    let columns = remains.columns();
    let mut new: Values<'_> = *old;
    for (index, value) in &columns {
        new[*index] = value.into();
    }
    new[column("encoded")] = ValueRef::Blob(&encoded);
    let fixed = {
        let mut fixed = new;
        fixed[column("raw_json")] = ValueRef::Null;
        fixed[column("raw_headers")] = ValueRef::Null;
        payload(&fixed, i64::MAX)
    };
    let room = payload(old, old_checksum).saturating_sub(fixed);
    let (json_spaces, header_spaces) = padding(room, 2, headers.len());
    let json = format!("{{}}{}", " ".repeat(json_spaces));
    let headers = format!("{headers}{}", " ".repeat(header_spaces));
    new[column("raw_json")] = ValueRef::Text(json.as_bytes());
    new[column("raw_headers")] = ValueRef::Text(headers.as_bytes());
    let sum = ToSqlOutput::from(checksum::of(new));
    let changed = transaction
        .prepare_cached(UPDATE)?
        .execute(params_from_iter(
            new.map(ToSqlOutput::Borrowed).into_iter().chain([sum]),
        ))?;
    if changed != 1 {
        return Err(rusqlite::Error::StatementChangedRows(changed));
    }
    let call = new[column("call_id")];
    if call != old[column("call_id")] {
        let call = ToSqlOutput::Borrowed(call);
        transaction
            .prepare_cached(UPDATE_CALL)?
            .execute(params![new[column("sequence")].as_i64()?, call])?;
    }
    Ok((rows::bytes_of(old), rows::bytes_of(&new)))
}

/// The bytes of a row's values in its record, with their lengths
/// (<https://sqlite.org/fileformat.html#record_format>). A row of version 1 has no checksum yet.
fn payload(values: &Values<'_>, checksum: i64) -> usize {
    let values = values.iter().map(|value| match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => text_bytes(bytes.len()),
        _ => 0,
    });
    let checksum = match checksum {
        0 => 0,
        sum => 1 + integer_bytes(sum),
    };
    values.sum::<usize>() + checksum
}

/// How many spaces two texts need so that they take `room` bytes together. None, if they take more.
fn padding(room: usize, one: usize, other: usize) -> (usize, usize) {
    // Where a length gets another byte, one size is passed over. The other text reaches it.
    for spaces in 0..8 {
        let rest = room.saturating_sub(text_bytes(other + spaces));
        for length in rest.saturating_sub(9)..=rest {
            if length >= one && text_bytes(length) == rest {
                return (length - one, spaces);
            }
        }
    }
    (0, 0)
}

fn text_bytes(length: usize) -> usize {
    let bits = usize::BITS - (2 * length + 13).leading_zeros();
    length + bits.div_ceil(7) as usize
}

fn integer_bytes(number: i64) -> usize {
    let bits = i64::BITS - (number ^ (number >> 63)).leading_zeros() + 1;
    match bits.div_ceil(8) as usize {
        bytes @ 0..=4 => bytes,
        5 | 6 => 6,
        _ => 8,
    }
}
