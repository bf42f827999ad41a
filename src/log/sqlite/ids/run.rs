//! Runs in the file: their rows in `id_runs`, and their parts in `id_parts`.
//!
//! A part is a row that fills one page: packed entries in their order, or a piece of the run's
//! filter. Its place in the table is made of the run's number and the first key, so that one seek
//! finds the part for a key. Each row carries a checksum over its place and its content.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    entry::{self, ENTRY_BYTES, Entry, Key},
    filter::Filter,
};
use crate::{
    event::Sequence,
    log::sqlite::{fault::Fault, rows::signed},
};

/// Bytes of entries in a part, so that its row fills a page of 8 KiB.
const PART_BYTES: usize = 578 * ENTRY_BYTES;
const CHECKSUM_BYTES: usize = 8;
/// Bits of a place that tell the parts of a run apart.
const PLACE_BITS: u32 = 40;
/// Pieces of the filter lie behind the entries.
const FILTER_PLACE: u64 = 1 << (PLACE_BITS - 1);

/// The entries of a stretch of the log, sorted. It is written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) number: u64,
    /// How often it was merged.
    pub(super) tier: u32,
    pub(super) entries: u64,
    /// The stretch whose events it has. It may still have entries of events that are gone.
    pub(super) first: Sequence,
    pub(super) last: Sequence,
}

impl Run {
    /// All runs, the oldest stretch first. Rows whose checksum is wrong are left out.
    pub(super) fn all(conn: &Connection) -> Result<Vec<Self>, Fault> {
        let mut statement = conn.prepare_cached(
            "SELECT run, tier, entries, first_sequence, last_sequence, checksum FROM id_runs
             ORDER BY first_sequence",
        )?;
        let mut rows = statement.query([])?;
        let mut runs = Vec::new();
        while let Some(row) = rows.next()? {
            let run = Self {
                number: row.get(0)?,
                tier: row.get(1)?,
                entries: row.get(2)?,
                first: Sequence(row.get(3)?),
                last: Sequence(row.get(4)?),
            };
            if row.get::<_, i64>(5)? == run.checksum() {
                runs.push(run);
            }
        }
        Ok(runs)
    }

    pub(super) fn insert(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.prepare_cached(
            "INSERT OR REPLACE INTO id_runs
                 (run, tier, entries, first_sequence, last_sequence, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            self.number,
            self.tier,
            self.entries,
            self.first.0,
            self.last.0,
            self.checksum(),
        ])?;
        Ok(())
    }

    /// From here on nobody looks into its parts.
    pub(super) fn remove(number: u64, conn: &Connection) -> rusqlite::Result<()> {
        conn.prepare_cached("DELETE FROM id_runs WHERE run = ?1")?
            .execute([number])?;
        Ok(())
    }

    fn checksum(&self) -> i64 {
        let tier = u64::from(self.tier);
        let numbers = [self.number, tier, self.entries, self.first.0, self.last.0];
        let bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        i64::from_le_bytes(checksum(0, &bytes))
    }

    /// The places of the events whose ids may begin with the key.
    pub(super) fn places(&self, conn: &Connection, key: Key) -> Result<Vec<Sequence>, Fault> {
        let mut places = Vec::new();
        if self.entries == 0 {
            return Ok(places);
        }
        // The last part that begins before the key, and those behind it as long as they may have
        // the key.
        let mut statement = conn.prepare_cached(
            "SELECT place, content FROM id_parts
             WHERE place < ?3 AND place >= coalesce(
                 (SELECT place FROM id_parts WHERE place BETWEEN ?1 AND ?2
                  ORDER BY place DESC LIMIT 1), ?1)
             ORDER BY place",
        )?;
        let first = place(self.number, 0);
        let bounds = [
            first,
            (first + prefix(key)).saturating_sub(1),
            place(self.number, FILTER_PLACE),
        ];
        let mut rows = statement.query(bounds.map(signed))?;
        let mut found = false;
        while let Some(row) = rows.next()? {
            let bytes = content(row)?;
            places.extend(entry::with_key(bytes, key));
            found = true;
            if !entry::goes_on(bytes, key) {
                break;
            }
        }
        match found {
            true => Ok(places),
            false => Err(Fault::Damaged),
        }
    }

    /// Reads the filter. If it is damaged, it is made again from the entries.
    pub(super) fn filter(&self, conn: &Connection) -> Result<Filter, Fault> {
        let read = || -> Result<Option<Filter>, Fault> {
            let mut parts = Parts::filter(conn, self.number);
            let mut bytes = Vec::new();
            while let Some(part) = parts.next()? {
                bytes.extend(part);
            }
            Ok(Filter::read(&bytes, self.entries))
        };
        match read() {
            Ok(Some(filter)) => return Ok(filter),
            Ok(None) | Err(Fault::Damaged) => {}
            Err(error) => return Err(error),
        }
        tracing::warn!(
            run = self.number,
            "the filter of a run of ids is damaged; it is made again"
        );
        let mut filter = Filter::new(self.entries);
        let mut entries = Entries::of(conn, *self);
        while let Some(entry) = entries.next()? {
            filter.insert(entry.key);
        }
        Ok(filter)
    }
}

/// The numbers of all runs that have parts.
pub(super) fn with_parts(conn: &Connection) -> Result<Vec<u64>, Fault> {
    let mut next =
        conn.prepare_cached("SELECT place FROM id_parts WHERE place >= ?1 ORDER BY place LIMIT 1")?;
    let mut numbers = Vec::new();
    let mut from = 0;
    while let Some(place) = next
        .query_row([from], |row| row.get::<_, i64>(0))
        .optional()?
    {
        let number = place >> PLACE_BITS;
        numbers.push(u64::try_from(number).map_err(|_| Fault::Damaged)?);
        from = (number + 1) << PLACE_BITS;
    }
    Ok(numbers)
}

/// Removes up to this many parts of a run. Returns how many there were.
pub(super) fn remove_parts(conn: &Connection, run: u64, most: u64) -> rusqlite::Result<u64> {
    let removed = conn
        .prepare_cached(
            "DELETE FROM id_parts WHERE place IN (
                 SELECT place FROM id_parts WHERE place >= ?1 AND place < ?2
                 ORDER BY place LIMIT ?3)",
        )?
        .execute([place(run, 0), place(run + 1, 0), most].map(signed))?;
    Ok(removed as u64)
}

/// A part to write.
#[derive(Debug)]
pub(super) struct Part {
    place: u64,
    content: Vec<u8>,
}

impl Part {
    fn new(place: u64, mut content: Vec<u8>) -> Self {
        content.extend(checksum(place, &content));
        Self { place, content }
    }

    pub(super) fn bytes(&self) -> usize {
        self.content.len()
    }

    pub(super) fn insert(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.prepare_cached("INSERT INTO id_parts (place, content) VALUES (?1, ?2)")?
            .execute(params![self.place, self.content])?;
        Ok(())
    }
}

/// Makes the parts and the filter of a run from its entries, which come in their order.
pub(super) struct Builder {
    run: u64,
    filter: Filter,
    bytes: Vec<u8>,
    /// Where the part that is being filled begins.
    place: u64,
}

impl Builder {
    /// For this many entries.
    pub(super) fn new(run: u64, entries: u64) -> Self {
        Self {
            run,
            filter: Filter::new(entries),
            bytes: Vec::with_capacity(PART_BYTES + CHECKSUM_BYTES),
            place: 0,
        }
    }

    /// Returns a part when it is full.
    pub(super) fn push(&mut self, entry: Entry) -> Option<Part> {
        let full = (self.bytes.len() == PART_BYTES)
            .then(|| self.part())
            .flatten();
        if self.bytes.is_empty() {
            // No two parts have one place, even if their first keys begin alike.
            self.place = self.place.max(place(self.run, prefix(entry.key)));
        }
        self.bytes.extend(entry.packed());
        self.filter.insert(entry.key);
        full
    }

    fn part(&mut self) -> Option<Part> {
        if self.bytes.is_empty() {
            return None;
        }
        let next = Vec::with_capacity(PART_BYTES + CHECKSUM_BYTES);
        let part = Part::new(self.place, std::mem::replace(&mut self.bytes, next));
        self.place += 1;
        Some(part)
    }

    /// The parts that are left, and the filter.
    pub(super) fn finish(mut self) -> (Vec<Part>, Filter) {
        let mut parts: Vec<Part> = self.part().into_iter().collect();
        let bytes = self.filter.bytes();
        let pieces = bytes.chunks(PART_BYTES).zip(FILTER_PLACE..);
        parts.extend(pieces.map(|(piece, at)| Part::new(place(self.run, at), piece.to_vec())));
        (parts, self.filter)
    }
}

/// Reads parts of a run in their order, a few at a time: a checkpoint waits for no long read.
pub(super) struct Parts<'c> {
    conn: &'c Connection,
    next: u64,
    end: u64,
    read: std::vec::IntoIter<Vec<u8>>,
}

impl<'c> Parts<'c> {
    const READ: u64 = 8;

    fn entries(conn: &'c Connection, run: u64) -> Self {
        Self::between(conn, place(run, 0), place(run, FILTER_PLACE))
    }

    pub(super) fn filter(conn: &'c Connection, run: u64) -> Self {
        Self::between(conn, place(run, FILTER_PLACE), place(run + 1, 0))
    }

    fn between(conn: &'c Connection, next: u64, end: u64) -> Self {
        Self {
            conn,
            next,
            end,
            read: Vec::new().into_iter(),
        }
    }

    /// The content of the next part.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        if let Some(part) = self.read.next() {
            return Ok(Some(part));
        }
        let mut statement = self.conn.prepare_cached(
            "SELECT place, content FROM id_parts WHERE place >= ?1 AND place < ?2
             ORDER BY place LIMIT ?3",
        )?;
        let mut rows = statement.query([self.next, self.end, Self::READ].map(signed))?;
        let mut read = Vec::new();
        while let Some(row) = rows.next()? {
            read.push(content(row)?.to_vec());
            self.next = row.get::<_, u64>(0)? + 1;
        }
        self.read = read.into_iter();
        Ok(self.read.next())
    }
}

/// The entries of a run in their order.
pub(super) struct Entries<'c> {
    parts: Parts<'c>,
    part: std::vec::IntoIter<Entry>,
    left: u64,
}

impl<'c> Entries<'c> {
    pub(super) fn of(conn: &'c Connection, run: Run) -> Self {
        Self {
            parts: Parts::entries(conn, run.number),
            part: Vec::new().into_iter(),
            left: run.entries,
        }
    }

    /// Fails if it has not as many entries as its row says.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Fault> {
        loop {
            if let Some(entry) = self.part.next() {
                self.left = self.left.checked_sub(1).ok_or(Fault::Damaged)?;
                return Ok(Some(entry));
            }
            let Some(bytes) = self.parts.next()? else {
                return match self.left {
                    0 => Ok(None),
                    _ => Err(Fault::Damaged),
                };
            };
            self.part = entry::all(&bytes).collect::<Vec<_>>().into_iter();
        }
    }
}

fn place(run: u64, within: u64) -> u64 {
    run << PLACE_BITS | within
}

/// Where in its run a part stands that begins with this key. So few bits, because there must be
/// more places than keys that begin alike.
fn prefix(key: Key) -> u64 {
    key.0 >> 32
}

/// The content of a row with a place and a content, if its checksum is right.
pub(super) fn content<'r>(row: &'r Row<'_>) -> Result<&'r [u8], Fault> {
    let place = row.get(0)?;
    let bytes = row.get_ref(1)?.as_blob().map_err(|_| Fault::Damaged)?;
    let (content, sum) = bytes.split_last_chunk().ok_or(Fault::Damaged)?;
    match *sum == checksum(place, content) {
        true => Ok(content),
        false => Err(Fault::Damaged),
    }
}

fn checksum(place: u64, content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&place.to_le_bytes()).update(content);
    let mut sum = [0; CHECKSUM_BYTES];
    hasher.finalize_xof().fill(&mut sum);
    sum
}
