//! The write-ahead log, written once more.
//!
//! When a sync fails, the system reports it once and then treats the pages as written: reads return
//! them and later syncs succeed, but the disk does not have them. When SQLite opens the file again,
//! it uses such frames, and what it appends depends on them. So the frames are read, written again
//! at their places and synced: after a failed write or sync, and at each start, since the process
//! before may have ended because of one. Then the disk has what reads have shown.
//!
//! The same is done for pages that SQLite has moved into the file. It syncs the file only when it
//! has moved the last frame, and never moves a frame twice.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    time::SystemTime,
};

/// Bytes before the first frame, and before the page of each frame.
const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// Bytes of the header of the `-shm`, which has it twice.
const INDEX_BYTES: usize = 48;
/// The first word. Its last bit gives the byte order for the checksums.
const MAGIC: u32 = 0x377f_0682;

/// For each page that has been moved, the place of its newest frame. [`Moved::move_again`] needs
/// it.
pub(super) struct Moved {
    page_bytes: usize,
    places: BTreeMap<u32, u64>,
}

/// What SQLite's index of the write-ahead log, the `-shm`, says about it
/// (<https://sqlite.org/walformat.html>).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Index {
    /// The number of committed frames.
    frames: u32,
    /// The last frame's checksum, which covers all frames before it, too.
    sums: (u32, u32),
    salts: [u8; 8],
}

impl Index {
    /// None while SQLite writes it, and before SQLite has filled it.
    pub(super) fn read(shm: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; 2 * INDEX_BYTES];
        match shm.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let (one, two) = bytes.split_at(INDEX_BYTES);
        if one != two || one[12] == 0 {
            return Ok(None);
        }
        // All but the salts are in this machine's byte order.
        let word = |at: usize| {
            one[at..]
                .first_chunk()
                .map_or(0, |b| u32::from_ne_bytes(*b))
        };
        Ok(Some(Self {
            frames: word(16),
            sums: (word(24), word(28)),
            salts: one[32..].first_chunk().copied().unwrap_or_default(),
        }))
    }

    /// Whether this index describes this write-ahead log. Compares the header and the last frame:
    /// SQLite writes both before it updates the index.
    pub(super) fn is_of(&self, wal: &File, page_bytes: u64) -> io::Result<bool> {
        if self.frames == 0 {
            return Ok(true);
        }
        let place = self.bytes(page_bytes) - page_bytes - FRAME_HEADER_BYTES as u64;
        let mut frame = [0; FRAME_HEADER_BYTES];
        match wal.read_exact_at(&mut frame, place) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        Ok(salts(wal)? == Some(self.salts)
            && frame[8..16] == self.salts
            && (word(&frame, 16), word(&frame, 20)) == self.sums
            && wal.metadata()?.len() >= self.bytes(page_bytes))
    }

    /// Whether this index describes this write-ahead log as it was before it was cut short.
    pub(super) fn is_of_longer(&self, wal: &File, page_bytes: u64) -> io::Result<bool> {
        let is_short = wal.metadata()?.len() < self.bytes(page_bytes);
        Ok(is_short && salts(wal)?.is_none_or(|salts| salts == self.salts))
    }

    /// The bytes that the write-ahead log has at least.
    fn bytes(&self, page_bytes: u64) -> u64 {
        match self.frames {
            0 => 0,
            frames => {
                HEADER_BYTES as u64 + u64::from(frames) * (FRAME_HEADER_BYTES as u64 + page_bytes)
            }
        }
    }
}

/// The salts in the header, which differ for each write-ahead log. None if there is no header.
fn salts(wal: &File) -> io::Result<Option<[u8; 8]>> {
    let mut header = [0; HEADER_BYTES];
    match wal.read_exact_at(&mut header, 0) {
        Ok(()) => Ok(Chain::begin(&header).map(|chain| chain.salts)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes all frames again and syncs them. There are at least `frames`; `moved` of them have been
/// moved into the file. The caller must keep others from appending.
pub(super) fn write_again(wal: &File, frames: u64, moved: u64) -> io::Result<Moved> {
    // This makes the system write its length again, too.
    wal.set_modified(SystemTime::now())?;
    let mut header = [0; HEADER_BYTES];
    let mut places = BTreeMap::new();
    let chain = match wal.read_exact_at(&mut header, 0) {
        Ok(()) => Chain::begin(&header),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
        Err(error) => return Err(error),
    };
    let mut found = 0;
    let page_bytes = chain.as_ref().map_or(0, |chain| chain.page_bytes);
    if let Some(mut chain) = chain {
        wal.write_all_at(&header, 0)?;
        let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
        let mut place = HEADER_BYTES as u64;
        loop {
            match wal.read_exact_at(&mut frame, place) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            let Some(page) = chain.next(&frame) else {
                break;
            };
            wal.write_all_at(&frame, place)?;
            found += 1;
            if found <= moved {
                places.insert(page, place);
            }
            place += frame.len() as u64;
        }
    }
    if found < frames {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("the write-ahead log has {found} whole frames, but {frames} were read before"),
        ));
    }
    wal.sync_all()?;
    Ok(Moved { page_bytes, places })
}

impl Moved {
    /// Whether nothing has been moved.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Writes the pages into the file again and syncs it.
    pub(super) fn move_again(&self, wal: &File, file: &File) -> io::Result<()> {
        let mut bytes = vec![0; self.page_bytes];
        for (page, place) in &self.places {
            wal.read_exact_at(&mut bytes, place + FRAME_HEADER_BYTES as u64)?;
            let target = u64::from(page - 1) * self.page_bytes as u64;
            file.write_all_at(&bytes, target)?;
        }
        file.sync_all()
    }
}

/// Checks frames: each has the salts of the header, and a checksum over everything before it.
struct Chain {
    page_bytes: usize,
    salts: [u8; 8],
    big_endian: bool,
    sums: (u32, u32),
}

impl Chain {
    /// None if this is no header of a write-ahead log.
    fn begin(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let magic = word(header, 0);
        let page_bytes = usize::try_from(word(header, 8)).ok()?;
        if magic & !1 != MAGIC
            || !page_bytes.is_power_of_two()
            || !(512..=65_536).contains(&page_bytes)
        {
            return None;
        }
        let mut chain = Self {
            page_bytes,
            salts: header[16..24].try_into().ok()?,
            big_endian: magic & 1 == 1,
            sums: (0, 0),
        };
        chain.sum(&header[..24]);
        (chain.sums == (word(header, 24), word(header, 28))).then_some(chain)
    }

    /// The page that the next frame holds. None if the frame does not follow the one before.
    fn next(&mut self, frame: &[u8]) -> Option<u32> {
        let page = word(frame, 0);
        if page == 0 || frame[8..16] != self.salts {
            return None;
        }
        self.sum(&frame[..8]);
        self.sum(&frame[FRAME_HEADER_BYTES..]);
        (self.sums == (word(frame, 16), word(frame, 20))).then_some(page)
    }

    fn sum(&mut self, bytes: &[u8]) {
        let read = if self.big_endian {
            u32::from_be_bytes
        } else {
            u32::from_le_bytes
        };
        let (mut one, mut two) = self.sums;
        let (words, _) = bytes.as_chunks::<4>();
        let (pairs, _) = words.as_chunks::<2>();
        for [first, second] in pairs {
            one = one.wrapping_add(read(*first)).wrapping_add(two);
            two = two.wrapping_add(read(*second)).wrapping_add(one);
        }
        self.sums = (one, two);
    }
}

/// Four bytes as a number, in the byte order of the format.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |word| u32::from_be_bytes(*word))
}
