//! The first 100 bytes of the file, of which SQLite itself checks only some.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use crate::log::sqlite::{faults::Faults, place::beside};

/// What a gateway's file has there, wherever it is always the same.
const FIXED: [(usize, &[u8]); 9] = [
    (0, b"SQLite format 3\0"),
    // Written and read with a write-ahead log.
    (18, &[2, 2]),
    // No space at the end of pages, and how full they may be.
    (20, &[0, 64, 32, 32]),
    // The format of the schema.
    (44, &[0, 0, 0, 4]),
    // No size of the cache is given.
    (48, &[0; 4]),
    // UTF-8.
    (56, &[0, 0, 0, 1]),
    // Whether free pages are given back only when a gateway says so; 1 in new files.
    (64, &[0, 0, 0]),
    // No other program's file.
    (68, &[0; 4]),
    (72, &[0; 20]),
];

/// Must be called before SQLite opens the file. Returns the largest page that is the root of a
/// table or an index, if the header is that of the whole log: there is no write-ahead log.
pub(super) fn check(path: &Path, faults: &mut Faults) -> Option<u32> {
    let is_alone = fs::metadata(beside(path, "-wal")).map_or(true, |wal| wal.len() == 0);
    let mut header = [0; 100];
    // What cannot be read is told when SQLite opens it.
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut header, 0));
    if read.is_err() {
        return None;
    }
    for (at, expected) in FIXED {
        if header[at..at + expected.len()] != *expected {
            let end = at + expected.len() - 1;
            faults.log(format_args!(
                "bytes {at} to {end} of events.db are not what SQLite writes"
            ));
        }
    }
    if header[67] > 1 {
        faults.log("byte 67 of events.db is not what SQLite writes");
    }
    // The counter of changes, and the one for which the number of pages is right.
    if header[24..28] != header[92..96] {
        faults.log("the counters in bytes 24 to 27 and 92 to 95 of events.db differ");
    }
    let largest = u32::from_be_bytes([header[52], header[53], header[54], header[55]]);
    if largest == 0 && header[67] == 1 {
        faults.log("bytes 52 to 55 of events.db are not what SQLite writes");
    }
    (is_alone && largest > 0).then_some(largest)
}
