//! Where the log's files are, and whether they are still the ones that were opened. If a path leads
//! to another file, SQLite goes on with the one that it has open, and a restart would not find it.

use std::{
    ffi::OsString,
    fs::{self, Metadata, OpenOptions},
    io,
    mem::ManuallyDrop,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::{
    alone,
    connection::Checkpoint,
    fault,
    trouble::{Changed, Trouble},
    wal,
};
use crate::event::{Epoch, Sequence};

/// The three files, as they were when they were opened.
pub(super) struct Place {
    log: PathBuf,
    wal: PathBuf,
    shm: PathBuf,
    /// The marks of the log, the write-ahead log and the `-shm`, in this order.
    marks: [Mark; 3],
    wal_file: fs::File,
    /// Never closed, like [`Place::file`].
    shm_file: ManuallyDrop<fs::File>,
    /// See [`Place::file`].
    file: OnceLock<ManuallyDrop<fs::File>>,
}

/// Tells a file from any other, as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
}

impl Place {
    /// Takes the marks of files that SQLite has open.
    pub(super) fn of(log: &Path) -> io::Result<Self> {
        // SQLite follows links, and puts the other files beside the link's target.
        let real = fs::canonicalize(log)?;
        let (wal, shm) = (beside(&real, "-wal"), beside(&real, "-shm"));
        let wal_file = OpenOptions::new().read(true).write(true).open(&wal)?;
        let shm_file = ManuallyDrop::new(fs::File::open(&shm)?);
        let marks = [
            Mark::of(&fs::metadata(log)?),
            Mark::of(&fs::metadata(&wal)?),
            Mark::of(&fs::metadata(&shm)?),
        ];
        Ok(Self {
            log: log.to_owned(),
            wal,
            shm,
            marks,
            wal_file,
            shm_file,
            file: OnceLock::new(),
        })
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Whether the log itself is where it was.
    pub(super) fn check_log(&self) -> Result<Metadata, Changed> {
        let Ok(log) = fs::metadata(&self.log) else {
            return Err(Changed::Gone(self.log.clone()));
        };
        match Mark::of(&log) == self.marks[0] {
            true => Ok(log),
            false => Err(Changed::Exchanged(self.log.clone())),
        }
    }

    /// Whether all three are where they were.
    pub(super) fn check(&self) -> Result<(), Changed> {
        self.look().map(|_| ())
    }

    /// The same. Returns the metadata of the log.
    fn look(&self) -> Result<Metadata, Changed> {
        let log = self.check_log()?;
        let is_there = |path, mark| fs::metadata(path).is_ok_and(|found| Mark::of(&found) == mark);
        if !is_there(&self.wal, self.marks[1]) {
            return Err(Changed::WalGone(self.wal.clone()));
        }
        if !is_there(&self.shm, self.marks[2]) {
            return Err(Changed::ShmGone(self.shm.clone()));
        }
        Ok(log)
    }

    /// The write-ahead log, for use without SQLite. SQLite takes no locks on it.
    pub(super) fn wal_file(&self) -> &fs::File {
        &self.wal_file
    }

    /// The log itself, for writes without SQLite. It is never closed: that would release the locks
    /// that SQLite holds in this process (<https://sqlite.org/howtocorrupt.html>, 2.2).
    pub(super) fn file(&self) -> io::Result<&fs::File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = OpenOptions::new().read(true).write(true).open(&self.log)?;
        let file = ManuallyDrop::new(file);
        Ok(self.file.get_or_init(|| file))
    }

    /// Makes the files' names durable.
    pub(super) fn sync_folder(&self) -> io::Result<()> {
        sync_folder_of(&self.wal)
    }
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// The path of one of SQLite's files beside this one: `end` is added to the name.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(end);
    path.into()
}

/// Makes the names in the folder of this file durable.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        _ => fs::File::open(".")?.sync_all(),
    }
}

/// What the writer remembers of the files, to find out whether somebody else has changed them.
pub(super) struct Watch {
    place: Arc<Place>,
    epoch: Epoch,
    page_bytes: u64,
    /// Length and modification time of the log when it was last read alone.
    seen: Option<(u64, i64, i64)>,
    /// The newest event in the log alone, without the write-ahead log, at that time.
    moved: Option<Sequence>,
    /// Whether a checkpoint may have moved only a part of its pages. Then the file is not whole
    /// without its write-ahead log.
    torn: bool,
}

impl Watch {
    /// For a log with this identity and pages of this size.
    pub(super) fn new(place: Arc<Place>, epoch: Epoch, page_bytes: u64) -> Self {
        Self {
            place,
            epoch,
            page_bytes,
            seen: None,
            moved: None,
            torn: true,
        }
    }

    /// The newest event that was seen in the log alone.
    pub(super) fn moved(&self) -> Sequence {
        self.moved.unwrap_or_default()
    }

    /// Notes that a checkpoint has failed.
    pub(super) fn torn(&mut self) {
        self.torn = true;
    }

    /// Fails if somebody else has changed the files. `now` is what the write-ahead log holds.
    /// While a checkpoint is `moving` pages, the log is not whole by itself.
    pub(super) fn check(&mut self, now: &Checkpoint, moving: bool) -> Result<(), Trouble> {
        let log = self.place.look()?;
        self.check_wal()?;
        // Only a checkpoint changes the log itself, whether ours or an operator's.
        if !moving && self.seen != Some(stamp(&log)) {
            self.recognize(&log, now)?;
        }
        Ok(())
    }

    /// Whether the write-ahead log is still the one that SQLite has written.
    fn check_wal(&self) -> Result<(), Trouble> {
        let Place {
            wal,
            wal_file,
            shm_file,
            ..
        } = &*self.place;
        let Some(index) = wal::Index::read(shm_file)? else {
            return Ok(());
        };
        // Read twice: others may have begun a new write-ahead log in between.
        if index.is_of(wal_file, self.page_bytes)? || wal::Index::read(shm_file)? != Some(index) {
            return Ok(());
        }
        Err(match index.is_of_longer(wal_file, self.page_bytes)? {
            true => Changed::WalCutShort(wal.clone()),
            false => Changed::WalOverwritten(wal.clone()),
        }
        .into())
    }

    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// Checks the log alone. With the write-ahead log, much of its damage would not show.
    fn recognize(&mut self, log: &Metadata, now: &Checkpoint) -> Result<(), Trouble> {
        let path = self.place.log();
        let cut_short = || Err(Changed::CutShort(path.to_owned()).into());
        match alone::read(path) {
            _ if log.len() == 0 => return cut_short(),
            Ok(alone) => {
                let moved = alone.map(|alone| alone.last);
                if alone.is_some_and(|alone| alone.epoch != self.epoch) || moved < self.moved {
                    return Err(Changed::Overwritten(path.to_owned()).into());
                }
                self.moved = moved;
                self.torn = false;
            }
            // While readers hold up a checkpoint, the file need not be whole by itself.
            Err(error) if fault::is_damage(&error) => {
                if !self.torn && (now.moved == 0 || now.moved == now.pages) {
                    return cut_short();
                }
            }
            Err(error) => return Err(error.into()),
        }
        self.seen = Some(stamp(log));
        Ok(())
    }
}

/// Length and modification time.
fn stamp(log: &Metadata) -> (u64, i64, i64) {
    (log.len(), log.mtime(), log.mtime_nsec())
}
