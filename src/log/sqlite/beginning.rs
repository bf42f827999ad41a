//! Whether there is a log in the folder, and how a new one begins.
//!
//! A new log is made under another name, and gets its own name when it is whole and synced. So a
//! file that is empty, or only a part of a log, is never one that was about to begin: something has
//! damaged a log, and a person has to decide.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    alone, connection, epochs, folder, loss,
    mark::{MARK_NAME, Mark},
    place, schema,
};
use crate::{
    event::Sequence,
    log::{
        error::{OpenError, Unfit},
        parts::Identity,
    },
};

/// The ends of the names of the files that SQLite has beside a log.
const SIDES: [&str; 3] = ["-wal", "-shm", "-journal"];
/// A new log while it is made. The name is unlikely for a backup, since a file with it is removed.
pub(super) const DRAFT_NAME: &str = ".events.db.unfinished";
/// The beginning of each SQLite file.
const MAGIC: &[u8] = b"SQLite format 3\0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// It was there.
    Found,
    /// It was made just now.
    New,
}

/// Makes sure that there is a log at `path`, with all that `mark` says. With `new_log`, files there
/// that are no log get another name, and a new log begins.
pub(super) fn ensure(
    path: &Path,
    mark: Option<&Mark>,
    new_log: bool,
    now: Timestamp,
    make: impl FnOnce() -> Identity,
) -> Result<Beginning, OpenError> {
    let failed = |source| OpenError::Files {
        path: path.to_owned(),
        source,
    };
    // A start that was killed may have left a part of one.
    let draft = path.with_file_name(DRAFT_NAME);
    for file in all_of(&draft) {
        remove(&file).map_err(failed)?;
    }
    match look(path, mark) {
        Ok(Beginning::Found) => return Ok(Beginning::Found),
        Ok(Beginning::New) => {}
        Err(OpenError::Unfit { what, .. }) if new_log => {
            let aside = set_aside(path, now).map_err(failed)?;
            tracing::warn!(
                aside = %aside.display(),
                "the log {what}; its files were renamed, and a new log begins"
            );
        }
        Err(error) => return Err(error),
    }
    folder::owners_file(&draft).map_err(failed)?;
    let sqlite = OpenError::database(&draft);
    let mut conn = connection::writer(&draft).map_err(sqlite)?;
    schema::migrate(&mut conn, &draft, now, make)?;
    connection::close(conn).map_err(sqlite)?;
    fs::rename(&draft, path).map_err(failed)?;
    place::sync_folder_of(path).map_err(failed)?;
    Ok(Beginning::New)
}

/// Whether there is nothing at all where a log would be.
pub(super) fn is_vacant(path: &Path) -> bool {
    matches!(look(path, None), Ok(Beginning::New))
}

/// Fails if the log has lost something, and leaves all files as they are. With `accept_loss` it
/// only warns, keeps a copy of the write-ahead log, and returns true.
pub(super) fn check(
    path: &Path,
    mark: Option<&Mark>,
    accept_loss: bool,
    now: Timestamp,
) -> Result<bool, OpenError> {
    let sqlite = OpenError::database(path);
    let wal = place::beside(path, "-wal");
    let has_wal = fs::metadata(&wal).is_ok_and(|wal| wal.len() > 0);
    let found = {
        let conn = match has_wal {
            true => connection::reader(path),
            false => alone::connect(path),
        };
        let conn = conn.map_err(sqlite)?;
        match alone::of(&conn).map_err(sqlite)? {
            Some(whole) => loss::find(&conn, &whole, mark).map_err(sqlite)?,
            None => None,
        }
    };
    match found {
        None => Ok(false),
        Some(what) if accept_loss => {
            let copy = place::beside(&aside_of(path, now), "-wal");
            if has_wal {
                let copied = fs::copy(&wal, &copy);
                copied.map_err(|source| OpenError::Files {
                    path: copy.clone(),
                    source,
                })?;
            }
            tracing::warn!("the log {what}; it goes on with the events that are there");
            Ok(true)
        }
        Some(what) => Err(OpenError::Lost {
            path: path.to_owned(),
            what,
        }),
    }
}

/// Whether there is a log, or nothing at all. Anything else is an error.
fn look(path: &Path, mark: Option<&Mark>) -> Result<Beginning, OpenError> {
    let failed = |source| OpenError::Files {
        path: path.to_owned(),
        source,
    };
    let unfit = |what| {
        Err(OpenError::Unfit {
            path: path.to_owned(),
            what,
        })
    };
    let Some(metadata) = found(fs::metadata(path)).map_err(failed)? else {
        // A link may lead to a disk that is not there at the moment.
        if found(fs::symlink_metadata(path)).map_err(failed)?.is_some() {
            return Err(failed(io::Error::other(
                "it is a symbolic link to a file that does not exist",
            )));
        }
        let side = SIDES.iter().find(|side| place::beside(path, side).exists());
        return match side {
            Some(side) => unfit(Unfit::Missing(side)),
            None => match mark {
                Some(mark) if mark.last.sequence > Sequence::ZERO => {
                    unfit(Unfit::Gone(mark.last.sequence))
                }
                _ => Ok(Beginning::New),
            },
        };
    };
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is not a file")));
    }
    let bytes_of = |side| fs::metadata(place::beside(path, side)).map_or(0, |side| side.len());
    if metadata.len() == 0 {
        return unfit(Unfit::Empty);
    }
    if bytes_of("-journal") > 0 {
        return unfit(Unfit::Journal);
    }
    let has_wal = bytes_of("-wal") > 0;
    match header(path).map_err(failed)? {
        None => return unfit(Unfit::Foreign),
        // If a checkpoint was interrupted, the write-ahead log still has its pages.
        Some(bytes) if bytes > metadata.len() && !has_wal => {
            return unfit(Unfit::CutShort {
                found: metadata.len(),
                expected: bytes,
            });
        }
        Some(_) => {}
    }
    let sqlite = OpenError::database(path);
    let alone = match alone::read(path) {
        // Together with the write-ahead log it may be whole.
        Err(_) if has_wal => None,
        alone => alone.map_err(sqlite)?,
    };
    let mut is_renamed = false;
    let whole = if has_wal {
        let conn = connection::reader(path).map_err(sqlite)?;
        if let Some(alone) = alone {
            is_renamed = epochs::has_had(&conn, alone.epoch).map_err(sqlite)?;
        }
        alone::of(&conn).map_err(sqlite)?
    } else {
        alone
    };
    let moved = mark.filter(|mark| whole.is_some_and(|whole| whole.epoch == mark.epoch));
    let moved = moved.map_or(Sequence::ZERO, |mark| mark.moved);
    match (alone, whole) {
        (_, None) => unfit(Unfit::Foreign),
        (Some(alone), Some(whole))
            if alone.epoch != whole.epoch && !is_renamed || alone.last > whole.last =>
        {
            unfit(Unfit::ForeignWal)
        }
        // Its pages would be mixed with those of a later state.
        (Some(alone), _) if has_wal && alone.last < moved => unfit(Unfit::OlderThanWal {
            found: alone.last,
            expected: moved,
        }),
        (_, Some(whole)) if whole.version < 1 => unfit(Unfit::Version(whole.version)),
        _ => Ok(Beginning::Found),
    }
}

/// The bytes that a SQLite file says it has. None if it is no such file. To be called before SQLite
/// has it open in this process: closing the file would release SQLite's locks.
fn header(path: &Path) -> io::Result<Option<u64>> {
    let mut header = [0; 100];
    match fs::File::open(path)?.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    if !header.starts_with(MAGIC) {
        return Ok(None);
    }
    let page_bytes = match u64::from(header[16]) << 8 | u64::from(header[17]) {
        1 => 65_536,
        bytes => bytes,
    };
    let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    // Old programs did not update the number of pages. Then this mark is wrong.
    let says = header[24..28] == header[92..96];
    Ok(Some(if says {
        u64::from(pages) * page_bytes
    } else {
        0
    }))
}

/// Renames all files. Under their new names they still belong together.
fn set_aside(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let aside = aside_of(path, now);
    for (from, to) in all_of(path).zip(all_of(&aside)) {
        found(fs::rename(from, to))?;
    }
    // It belongs to them, too.
    found(fs::rename(
        path.with_file_name(MARK_NAME),
        place::beside(&aside, ".mark"),
    ))?;
    place::sync_folder_of(path)?;
    Ok(aside)
}

fn aside_of(path: &Path, now: Timestamp) -> PathBuf {
    place::beside(path, &now.strftime(".aside-%Y%m%dT%H%M%SZ").to_string())
}

fn all_of(path: &Path) -> impl Iterator<Item = PathBuf> {
    let sides = ["", SIDES[0], SIDES[1], SIDES[2]];
    sides.into_iter().map(move |side| place::beside(path, side))
}

fn remove(path: &Path) -> io::Result<()> {
    found(fs::remove_file(path)).map(|_| ())
}

/// A file that is not there is no error.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
