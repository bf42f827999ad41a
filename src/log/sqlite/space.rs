//! What the log takes on its disk, and what is left there.

use std::time::Instant;

use rusqlite::Connection;
use rustix::fs::StatVfs;

use super::connection::WAL_BYTES_MAX;

/// Of this share of the file, free pages are kept for new events: given back, they would be taken
/// again soon.
const KEPT_SHARE: u64 = 8;
const KEPT_PAGES_MIN: u64 = 1024;
/// The share of the limit that is left free, so that the log stays below it while events come.
const SLACK_SHARE: u64 = 16;

/// The share of the limit that the write-ahead log takes.
const WAL_SHARE: u64 = 4;

/// The size of the write-ahead log, if what the log takes on disk has this limit.
pub(super) fn wal_bytes_max(limit: Option<u64>) -> u64 {
    limit.map_or(WAL_BYTES_MAX, |limit| WAL_BYTES_MAX.min(limit / WAL_SHARE))
}

/// The log's files at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    pub(super) page_bytes: u64,
    /// Pages of the file, free ones included.
    pub(super) pages: u64,
    pub(super) free_pages: u64,
    /// Whether free pages can be given back. A file that an older version made only fills them
    /// again.
    pub(super) shrinks: bool,
    pub(super) wal_bytes: u64,
}

impl Space {
    /// Reads it; the size of the write-ahead log is known to the caller.
    pub(super) fn of(conn: &Connection, wal_bytes: u64) -> rusqlite::Result<Self> {
        /// The value of the pragma for files from which pages can be taken one by one.
        const INCREMENTAL: u64 = 2;
        let value = |pragma: &str| -> rusqlite::Result<u64> {
            conn.prepare_cached(&format!("PRAGMA {pragma}"))?
                .query_row([], |row| row.get(0))
        };
        Ok(Self {
            page_bytes: value("page_size")?,
            pages: value("page_count")?,
            free_pages: value("freelist_count")?,
            shrinks: value("auto_vacuum")? == INCREMENTAL,
            wal_bytes,
        })
    }

    /// How many bytes must go, so that the log stays within its limit. A write-ahead log that
    /// something else keeps long counts for half of the limit at most: events are not removed for
    /// it.
    pub(super) fn over(&self, limit: u64) -> u64 {
        let used = (self.pages - self.free_pages) * self.page_bytes;
        let aim = limit - limit / SLACK_SHARE;
        (used + self.wal_bytes.min(limit / 2)).saturating_sub(aim)
    }

    /// Whether events that come take the log beyond its limit.
    pub(super) fn is_over(&self, limit: u64) -> bool {
        self.over(limit) > limit / SLACK_SHARE
    }

    /// How many free pages the file gives back: those beyond its limit, and those that new events
    /// will not fill soon.
    pub(super) fn surplus(&self, limit: Option<u64>) -> u64 {
        if !self.shrinks {
            return 0;
        }
        let kept = (self.pages / KEPT_SHARE).max(KEPT_PAGES_MIN);
        let beyond = limit.map_or(0, |limit| {
            let bytes = self.pages * self.page_bytes + self.wal_bytes.min(limit / 2);
            bytes.saturating_sub(limit).div_ceil(self.page_bytes)
        });
        beyond
            .max(self.free_pages.saturating_sub(kept))
            .min(self.free_pages)
    }
}

/// What others than the superuser may still write on a disk, in bytes.
pub(super) fn free_bytes(disk: &StatVfs) -> u64 {
    disk.f_bavail.saturating_mul(disk.f_frsize)
}

/// Gives free pages at the end of the file back, and first moves others there. Returns how many
/// were done until the step had had its time.
pub(super) fn give_back(conn: &Connection, pages: u64, until: Instant) -> rusqlite::Result<u64> {
    let mut statement = conn.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    // It gives back one page for each row.
    let mut rows = statement.query([])?;
    let mut given = 0;
    while rows.next()?.is_some() {
        given += 1;
        if Instant::now() >= until {
            break;
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn what_goes_and_what_is_given_back_follows_from_the_files() {
        let space = |pages, free_pages, wal_mib| Space {
            page_bytes: 8 * 1024,
            pages,
            free_pages,
            shrinks: true,
            wal_bytes: wal_mib * MIB,
        };
        let limit = 64 * MIB;
        // A file of 40 MiB and a write-ahead log of 16: below the aim of 60.
        assert_eq!(space(5120, 0, 16).over(limit), 0);
        assert_eq!(space(5120, 0, 22).over(limit), 2 * MIB);
        assert!(!space(5120, 0, 24).is_over(limit));
        assert!(space(5120, 0, 25).is_over(limit));
        // Free pages are not used, and a long write-ahead log counts for half.
        assert_eq!(space(5120, 1024, 24).over(limit), 0);
        assert_eq!(space(5120, 0, 500).over(limit), 12 * MIB);

        // Beyond the limit, free pages are given back, but no more than there are.
        assert_eq!(space(5120, 1000, 25).surplus(Some(limit)), 128);
        assert_eq!(space(5120, 50, 25).surplus(Some(limit)), 50);
        // Without one, an eighth of the file is kept, and 1,024 pages at least.
        assert_eq!(space(5120, 1000, 25).surplus(None), 0);
        assert_eq!(space(5120, 1030, 25).surplus(None), 6);
        assert_eq!(space(80_000, 10_001, 0).surplus(None), 1);
        let old = Space {
            shrinks: false,
            ..space(5120, 5000, 25)
        };
        assert_eq!(old.surplus(Some(limit)), 0);
    }
}
