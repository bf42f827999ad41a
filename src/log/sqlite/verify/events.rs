//! The events: each against its checksum, its body, its neighbours, and the indexes.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::found::{Identify, Verified};
use crate::{
    event::{EventId, Sequence, StoredEvent, TextKey},
    log::{
        Progress, WorkError,
        sqlite::{
            fault::Fault,
            faults::{Place, Remedy},
            ids::verify::{Lists, Places},
            rows::{self, SELECTED, signed},
            schema,
            set_back::SetBacks,
        },
    },
};

/// Events of one snapshot: about two seconds of work.
const STRETCH: u64 = 131_072;

/// What `log` says.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Says {
    /// Events up to here are gone.
    removed: Sequence,
    indexed: Sequence,
    unchecked: Sequence,
    last: Sequence,
    count: u64,
    bytes: u64,
}

impl Says {
    fn of(conn: &Connection) -> Result<Self, Fault> {
        let says = conn.query_row(
            "SELECT max(base_sequence, trimmed_sequence), indexed_sequence, unchecked_sequence,
                    last_sequence, event_count, event_bytes
             FROM log",
            [],
            |row| {
                Ok(Self {
                    removed: Sequence(row.get(0)?),
                    indexed: Sequence(row.get(1)?),
                    unchecked: Sequence(row.get(2)?),
                    last: Sequence(row.get(3)?),
                    count: row.get(4)?,
                    bytes: row.get(5)?,
                })
            },
        )?;
        Ok(says)
    }

    /// Whether each place has an event.
    fn is_dense(&self) -> bool {
        self.last.0.checked_sub(self.removed.0) == Some(self.count)
    }
}

pub(super) fn check(
    conn: &Connection,
    identify: Identify<'_>,
    progress: &Progress,
    found: &mut Verified,
) -> Result<(), WorkError> {
    let begin = match Says::of(conn) {
        Ok(says) => says,
        Err(Fault::Sqlite(error)) => return Err(error.into()),
        Err(Fault::Damaged) => {
            found
                .faults
                .log("the row of log has values of a wrong kind");
            return Ok(());
        }
    };
    found.latest = begin.last;
    progress.begin("reading events", begin.count);
    let key = schema::identity(conn)?.id_key;
    let mut walk = Walk {
        conn,
        identify: &|event| identify(&key, event),
        progress,
        found,
        newest: None,
        backs: SetBacks::read(conn)?,
        rows: 0,
        bytes: 0,
    };
    walk.beyond(&begin)?;
    let mut after = Sequence::ZERO;
    while after < begin.last {
        let snapshot = conn.unchecked_transaction()?;
        after = walk.stretch(after, begin.last)?;
        snapshot.finish()?;
    }
    let (rows, bytes) = (walk.rows, walk.bytes);
    let end = Says::of(conn).map_err(Fault::into_sqlite)?;
    let appended = end.last.0.saturating_sub(begin.last.0);
    // Unless somebody has removed events meanwhile.
    if end.count == begin.count.saturating_add(appended) {
        let sums = [
            ("event_count", begin.count, rows),
            ("event_bytes", begin.bytes, bytes),
        ];
        for (name, says, is) in sums {
            if says != is {
                let what = format_args!("{name} says {says}, and there are {is}");
                found.faults.log(what);
            }
        }
    }
    Ok(())
}

struct Walk<'w> {
    conn: &'w Connection,
    identify: &'w dyn Fn(&StoredEvent) -> Option<EventId>,
    progress: &'w Progress,
    found: &'w mut Verified,
    /// The receive time that counts for the newest event so far.
    newest: Option<Timestamp>,
    backs: SetBacks,
    /// Rows, whole or not, and the bytes that count for them.
    rows: u64,
    bytes: u64,
}

impl Walk<'_> {
    /// What `log` says of the ends of the log, against its rows.
    fn beyond(&mut self, says: &Says) -> Result<(), WorkError> {
        let faults = &mut self.found.faults;
        if says.removed > says.last || says.indexed > says.last || says.unchecked > says.last {
            faults.log("a place in the row of log lies behind the last event");
        }
        let probe: bool = self
            .conn
            .query_row("SELECT probe IS NULL FROM log", [], |row| row.get(0))?;
        if !probe {
            faults.log("log.probe is not empty");
        }
        let last: Option<bool> = self
            .conn
            .query_row(
                "SELECT id = last_id AND receive_time = last_receive_time FROM events, log
                 WHERE sequence = last_sequence",
                [],
                |row| row.get(0),
            )
            .optional()
            // It is told where the events are read.
            .unwrap_or(Some(true));
        match last {
            Some(false) => faults.log("the newest event is not the one that the row of log names"),
            None if says.is_dense() && says.count > 0 => {
                faults.log("the newest event that the row of log names is missing");
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the events behind a place, and returns the last place that was looked at.
    fn stretch(&mut self, after: Sequence, last: Sequence) -> Result<Sequence, WorkError> {
        let says = Says::of(self.conn).map_err(Fault::into_sqlite)?;
        let through = self.through(after).min(last);
        let mut next = after.next();
        let mut seen = Seen {
            says,
            places: Places::of(self.conn, after, through)?,
            lists: Lists::default(),
            is_dense: says.is_dense(),
        };
        while next <= through {
            match self.rows(&mut next, through, &mut seen) {
                Ok(()) => break,
                Err(Fault::Sqlite(error)) => return Err(error.into()),
                Err(Fault::Damaged) => {
                    self.found.faults.event(next, "cannot be read");
                    next = next.next();
                }
            }
            self.progress.reached(self.rows)?;
        }
        seen.lists
            .check(self.conn, after, through, &mut self.found.faults)?;
        Ok(through)
    }

    /// The last place of a stretch.
    fn through(&self, after: Sequence) -> Sequence {
        let sql = "SELECT sequence FROM events WHERE sequence > ?1 ORDER BY sequence
                   LIMIT 1 OFFSET ?2";
        let place = self
            .conn
            .prepare_cached(sql)
            .and_then(|mut place| {
                place.query_row([signed(after.0), signed(STRETCH - 1)], |row| row.get(0))
            })
            .optional();
        match place {
            Ok(Some(place)) => Sequence(place),
            Ok(None) => Sequence(u64::MAX),
            // Damaged: then it is as long as if no event were removed.
            Err(_) => Sequence(after.0 + STRETCH),
        }
    }

    /// Reads rows up to one that cannot be read. `next` is then its place, if the places before it
    /// have rows.
    fn rows(
        &mut self,
        next: &mut Sequence,
        through: Sequence,
        seen: &mut Seen,
    ) -> Result<(), Fault> {
        let sql = format!(
            "SELECT {} FROM events WHERE sequence >= ?1 AND sequence <= ?2 ORDER BY sequence",
            *SELECTED
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query([next.0, through.0].map(signed))?;
        while let Some(row) = rows.next()? {
            let sequence = Sequence(row.get(0)?);
            self.missing(*next, sequence, seen);
            *next = sequence.next();
            self.rows += 1;
            if self.rows.is_multiple_of(1024) && self.progress.reached(self.rows).is_err() {
                return Ok(());
            }
            self.bytes += rows::bytes_of(&rows::values(row)?);
            if sequence <= seen.says.removed {
                let what = "was removed, and is still there";
                let place = Place::Events(sequence, sequence);
                self.found.faults.push(place, what, Remedy::Restore);
                continue;
            }
            match rows::event(row, true) {
                Ok(event) => self.event(&event, rows::is_unchecked(row)?, seen),
                Err(error) => match Fault::from(error) {
                    Fault::Damaged => {
                        self.found
                            .faults
                            .event(sequence, "the checksum does not hold");
                    }
                    other => return Err(other),
                },
            }
        }
        self.missing(*next, through.next(), seen);
        *next = through.next();
        Ok(())
    }

    /// Tells of the places before `found`, if each should have a row.
    fn missing(&mut self, next: Sequence, found: Sequence, seen: &Seen) {
        let mut next = next.max(seen.says.removed.next());
        while seen.is_dense && next < found {
            self.found.faults.event(next, "is missing");
            next = next.next();
        }
    }

    /// Checks an event whose checksum holds.
    fn event(&mut self, event: &StoredEvent, unchecked: bool, seen: &mut Seen) {
        let sequence = event.sequence;
        let faults = &mut self.found.faults;
        self.found.events += 1;
        self.found.unchecked += u64::from(unchecked);
        let raw = event.raw.as_ref();
        if !rows::is_encoded(event) {
            faults.event(sequence, "what is delivered of it is another event");
        }
        let received = Some(self.backs.counted(sequence, event.receive_time));
        if self.newest > received {
            faults.event(sequence, "was received before the event in front of it");
        }
        self.newest = self.newest.max(received);
        // An erased event has no body.
        let has_body = raw.is_some_and(|raw| !raw.json.is_empty());
        let made = has_body.then(|| (self.identify)(event)).flatten();
        if made.is_some_and(|id| id != event.id) {
            faults.event(sequence, "its id is not that of its body");
        }
        if sequence <= seen.says.indexed {
            seen.places.event(event, faults);
            seen.lists.event(event, &event.keys.texts[TextKey::AgentId]);
        }
    }
}

/// What is known of a stretch.
struct Seen {
    says: Says,
    places: Places,
    lists: Lists,
    is_dense: bool,
}
