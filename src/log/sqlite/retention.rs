//! Retention: removes the oldest events once they are too old or take too much space, and gives
//! space back.
//!
//! Rows go from the old end, with `trimmed_sequence` in the same transaction. So no row at or
//! before it is left, and readers never see a hole at the old end.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::watch;

use super::{
    chores::{Chore, Next},
    file::LogFile,
    query, rows,
    set_back::SetBacks,
    space::Space,
    trouble::Trouble,
};
use crate::{
    event::Sequence,
    log::{limits::Limits, metrics::Metrics},
};

/// How often it looks whether events are too old, and whether the log takes too much space.
const AGE_INTERVAL: Duration = Duration::from_secs(1);
const BYTES_INTERVAL: Duration = Duration::from_millis(100);
/// Rows, and bytes of rows, that are removed between two looks at the clock.
const ROWS_AT_ONCE: usize = 32;
const BYTES_AT_ONCE: u64 = 256 * 1024;
/// About the bytes of a row besides body, headers and encoded event, with its entries in indexes.
const BESIDE_BYTES: u64 = 300;
/// How long before their removal events are announced.
const ANNOUNCED_BEFORE: Duration = Duration::from_secs(2);
/// The share of the log that is announced at once if the log takes too much space.
const ANNOUNCED_SHARE: u64 = 16;
/// How often a line says that events are being removed.
const TELL_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// How long no event is removed for its age if a start finds that all are too old.
const TRIAL: Duration = Duration::from_secs(60 * 60);
/// After so many pages were given back, the file is cut off behind them; or when none was for a
/// while.
const CUT_OFF_PAGES: u64 = 1024;
const CUT_OFF_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Retention {
    limits: Limits,
    metrics: Metrics,
    /// The last event that will soon be removed.
    leaving: watch::Sender<Sequence>,
    /// When it may begin to remove events for their age.
    begins: Option<Instant>,
    told: Option<Told>,
    /// Pages given back since the file was last cut off, and when the last one was.
    given_back: u64,
    gave_at: Instant,
}

/// The last line in the log, and what came since.
struct Told {
    at: Instant,
    removed: u64,
}

/// The oldest event in the log, and the receive time that counts for it.
struct Oldest {
    sequence: Sequence,
    receive_time: Timestamp,
}

/// Which events have to go: those that were received before a time, and the oldest with so many
/// bytes.
struct Due {
    before: String,
    /// Those up to here were received before that time, too, whatever they say.
    through: Sequence,
    bytes: u64,
}

impl Retention {
    /// `leaving` is told of events before they are removed.
    pub(super) fn new(limits: Limits, metrics: Metrics, leaving: watch::Sender<Sequence>) -> Self {
        Self {
            limits,
            metrics,
            leaving,
            begins: None,
            told: None,
            given_back: 0,
            gave_at: Instant::now(),
        }
    }

    fn interval(&self) -> Duration {
        match self.limits.bytes {
            Some(_) => BYTES_INTERVAL,
            None => AGE_INTERVAL,
        }
    }

    /// Events that were received before this time are too old. None if none is.
    fn horizon(&mut self, now: Timestamp, newest: Option<Timestamp>) -> Option<Timestamp> {
        let age = self.limits.age.duration()?;
        let horizon = now.checked_sub(age).ok()?;
        let begins = *self.begins.get_or_insert_with(|| {
            let begins = Instant::now();
            if newest.is_none_or(|newest| newest >= horizon) {
                return begins;
            }
            let trial = TRIAL.min(age);
            tracing::warn!(
                "by this machine's clock all events are too old; none is removed for {} s, because \
                 the clock may be wrong",
                trial.as_secs()
            );
            begins + trial
        });
        (Instant::now() >= begins).then_some(horizon)
    }

    /// Announces events that will soon be removed, so that who follows the log can move beyond
    /// them.
    fn announce(
        &self,
        file: &LogFile,
        oldest: &Oldest,
        horizon: Option<Timestamp>,
        space: &Space,
    ) -> Result<(), Trouble> {
        let mut leaving = Sequence::ZERO;
        let soon = horizon.and_then(|time| time.checked_add(ANNOUNCED_BEFORE).ok());
        if let Some(soon) = soon
            && oldest.receive_time < soon
        {
            let before = file.read(|conn| Ok(query::before_time(conn, soon)))?;
            leaving = before.map_or(leaving, |place| place.sequence);
        }
        let half = ANNOUNCED_SHARE * 2;
        if let Some(limit) = self.limits.bytes
            && space.over(limit - limit / half) > 0
        {
            let length = file.last().sequence.0.saturating_sub(oldest.sequence.0);
            // Half of what was announced before may go first.
            if self.leaving.borrow().0 < oldest.sequence.0 + length / half {
                leaving = leaving.max(Sequence(oldest.sequence.0 + length / ANNOUNCED_SHARE));
            }
        }
        self.leaving.send_if_modified(|announced| {
            let is_further = leaving > *announced;
            *announced = leaving.max(*announced);
            is_further
        });
        Ok(())
    }

    /// Says that it removes events, at the beginning and then from time to time.
    fn tell(&mut self, removed: u64) {
        match &mut self.told {
            Some(told) if told.at.elapsed() < TELL_INTERVAL => told.removed += removed,
            told => {
                let removed = told.take().map_or(0, |told| told.removed) + removed;
                tracing::info!(
                    removed,
                    "removing old events: the log keeps them {}",
                    self.limits
                );
                self.told = Some(Told {
                    at: Instant::now(),
                    removed: 0,
                });
            }
        }
    }

    /// Gives free pages back, a few at a time.
    fn give_back(
        &mut self,
        file: &mut LogFile,
        space: &Space,
        until: Instant,
    ) -> Result<Next, Trouble> {
        let surplus = space.surplus(self.limits.bytes);
        if surplus > 0 {
            self.given_back += file.give_back(surplus, until)?;
            self.gave_at = Instant::now();
        }
        let is_over = self.given_back > 0 && self.gave_at.elapsed() >= CUT_OFF_AFTER;
        if self.given_back >= CUT_OFF_PAGES || is_over {
            self.given_back = 0;
            file.cut_off();
        }
        Ok(match surplus {
            0 => Next::After(self.interval()),
            _ => Next::Soon,
        })
    }
}

impl Chore for Retention {
    fn name(&self) -> &'static str {
        "removing old events"
    }

    fn step(&mut self, file: &mut LogFile, until: Instant) -> Result<Next, Trouble> {
        let time = file.time();
        self.metrics.set_clock_held(time.held.is_some());
        let now = time.sure;
        let space = file.space()?;
        let backs = file.read(SetBacks::read)?;
        let oldest = file.read(|conn| oldest(conn, &backs))?;
        self.metrics
            .set_oldest(oldest.as_ref().map(|oldest| oldest.receive_time), now);
        let horizon = self.horizon(now, file.last().receive_time);
        let Some(oldest) = oldest else {
            return self.give_back(file, &space, until);
        };
        self.announce(file, &oldest, horizon, &space)?;
        let due = Due {
            before: horizon.map_or(String::new(), rows::time_text),
            through: horizon.map_or(Sequence::ZERO, |horizon| backs.before(horizon)),
            bytes: self.limits.bytes.map_or(0, |limit| space.over(limit)),
        };
        if due.bytes == 0 && horizon.is_none_or(|horizon| oldest.receive_time >= horizon) {
            return self.give_back(file, &space, until);
        }
        let removed = file.change(|transaction| remove(transaction, &due, until))?;
        self.metrics.removed(removed);
        self.tell(removed);
        let is_over = self.limits.bytes.is_some_and(|limit| space.is_over(limit));
        Ok(match is_over {
            true => Next::AtOnce,
            false => Next::Soon,
        })
    }
}

fn oldest(conn: &Connection, backs: &SetBacks) -> rusqlite::Result<Option<Oldest>> {
    conn.prepare_cached("SELECT sequence, receive_time FROM events ORDER BY sequence LIMIT 1")?
        .query_row([], |row| {
            let sequence = Sequence(row.get(0)?);
            Ok(Oldest {
                sequence,
                receive_time: backs.counted(sequence, rows::stored_time(row, 1)?),
            })
        })
        .optional()
}

/// Removes the oldest events that are due, until the step has had its time. Returns how many.
fn remove(conn: &Connection, due: &Due, until: Instant) -> Result<u64, Trouble> {
    let mut removed = 0;
    let mut bytes_left = due.bytes;
    while let Some((through, bytes)) = next_rows(conn, due, bytes_left)? {
        removed += conn
            .prepare_cached("DELETE FROM events WHERE sequence <= ?1")?
            .execute([rows::signed(through.0)])? as u64;
        conn.prepare_cached("UPDATE log SET trimmed_sequence = max(trimmed_sequence, ?1)")?
            .execute([rows::signed(through.0)])?;
        bytes_left = bytes_left.saturating_sub(bytes);
        if Instant::now() >= until {
            break;
        }
    }
    Ok(removed)
}

/// The last of the next few rows to remove, and the bytes of all of them. The lengths come from
/// the row's header, so the pages of a large event are not read for them.
fn next_rows(
    conn: &Connection,
    due: &Due,
    bytes_due: u64,
) -> rusqlite::Result<Option<(Sequence, u64)>> {
    let mut statement = conn.prepare_cached(
        "SELECT sequence, receive_time < ?1 OR sequence <= ?2,
                octet_length(raw_json) + octet_length(raw_headers) + length(encoded)
         FROM events ORDER BY sequence LIMIT ?3",
    )?;
    let mut oldest = statement.query(params![due.before, due.through.0, ROWS_AT_ONCE])?;
    let (mut last, mut bytes) = (None, 0);
    while let Some(row) = oldest.next()? {
        let is_due = row.get(1)? || bytes < bytes_due;
        if !is_due || bytes >= BYTES_AT_ONCE {
            break;
        }
        bytes += row.get::<_, u64>(2)? + BESIDE_BYTES;
        last = Some((Sequence(row.get(0)?), bytes));
    }
    Ok(last)
}
