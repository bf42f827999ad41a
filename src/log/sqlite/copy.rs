//! A log copied into one file: backups, and logs made of them.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::statvfs;

use super::{
    alone::{self, escaped},
    beginning, connection, epochs,
    folder::{Folder, LOG_NAME, owners_file},
    loss,
    mark::{MARK_NAME, Mark, MarkFile},
    place::{beside, sync_folder_of},
    query, read_only, rows, schema,
    space::free_bytes,
};
use crate::{
    event::{Epoch, Position, Sequence},
    log::{Damage, Progress, ReadError, WorkError, error::OpenError},
};

/// How often SQLite says that it is still at it, in steps of its virtual machine.
const STEPS: i32 = 2_000;
/// The copy is synced each time that it has grown by so much. So the disk never gets much of it at
/// once, which the syncs of a running gateway would have to wait for.
const SYNC_BYTES: u64 = 16 << 20;
/// What a copy leaves free on the disk of the log.
const FREE_BYTES_MIN: u64 = 256 << 20;

/// What was copied.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub events: u64,
    pub latest: Sequence,
    pub received: Option<Timestamp>,
    pub bytes: u64,
}

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("{0} is there already; nothing is written over it")]
    Exists(PathBuf),
    #[error("another command is writing {0} at the moment")]
    InUse(PathBuf),
    #[error(
        "the copy takes {bytes} bytes, and the log's disk would have less than {FREE_BYTES_MIN} \
         left for new events; write it to another disk"
    )]
    NoSpace { bytes: u64 },
    #[error("cannot read the backup {path}: {source}")]
    NoBackup { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}")]
    Files { path: PathBuf, source: io::Error },
    #[error("nothing was copied: {path} is not a whole log as a gateway writes it: {what}")]
    Wrong { path: PathBuf, what: String },
    #[error(
        "nothing was copied: {0}; `verbex-gateway log verify` names all damage, and `log erase \
         --sequence` takes a damaged event away"
    )]
    Damaged(ReadError),
    #[error("{0} already has a log, or parts of one; move them away first")]
    HasLog(PathBuf),
    #[error(transparent)]
    Work(#[from] WorkError),
}

impl CopyError {
    fn files(path: &Path) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self::Files {
            path: path.to_owned(),
            source,
        }
    }
}

/// Copies the log in this folder into a new file, as it is at this moment. A gateway may use it
/// meanwhile. Until the copy is whole and verified, it has another name.
///
/// # Errors
/// If there is no log, the file exists, the log or the copy is damaged, the disk has no room, or
/// `progress` was told to stop.
pub(crate) fn backup(
    data_dir: &Path,
    file: &Path,
    progress: &Progress,
) -> Result<Copied, CopyError> {
    let log = data_dir.join(LOG_NAME);
    let missing = loss::of(
        data_dir,
        &read_only::connect(&log).map_err(WorkError::Open)?,
    );
    if let Some(what) = missing.map_err(WorkError::from)? {
        return Err(WorkError::Open(OpenError::Lost { path: log, what }).into());
    }
    if file.symlink_metadata().is_ok() {
        return Err(CopyError::Exists(file.to_owned()));
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(file.file_name().unwrap_or_default());
    name.push(".unfinished");
    let draft = Draft::begin(file.with_file_name(name))?;
    draft.fill(&log, false, progress)?;
    let copied = draft.verify(progress)?;
    draft.publish(file)?;
    Ok(copied)
}

/// Makes the log of a data folder that has none from a backup. The log gets another identity, and
/// keeps the one that it had for cursors of the events in the backup. So a cursor that was given
/// out after the backup is never taken for a place in this log.
///
/// # Errors
/// If the folder has a log or is in use, the file is no whole log, or the same as for [`backup`].
pub(crate) fn restore(
    file: &Path,
    data_dir: &Path,
    epoch: Epoch,
    progress: &Progress,
) -> Result<Copied, CopyError> {
    let is_wal = |side: &Path| fs::metadata(side).is_ok_and(|side| side.len() > 0);
    let alone = !is_wal(&beside(file, "-wal"));
    if let Err(source) = fs::metadata(file) {
        return Err(CopyError::NoBackup {
            path: file.to_owned(),
            source,
        });
    }
    let folder = Folder::hold(data_dir).map_err(WorkError::Open)?;
    if !beginning::is_vacant(&folder.log) {
        return Err(CopyError::HasLog(folder.log));
    }
    let draft = Draft::begin(folder.log.with_file_name(beginning::DRAFT_NAME))?;
    draft.fill(file, alone, progress)?;
    let copied = draft.verify(progress)?;
    let last = draft.rename_log(epoch).map_err(WorkError::from)?;
    // A mark of the log that was here before says nothing of this one.
    let mark = Mark {
        epoch,
        last,
        moved: last.sequence,
        written: Timestamp::now(),
    };
    let path = folder.log.with_file_name(MARK_NAME);
    MarkFile::open(&path)
        .and_then(|mut file| file.write(&mark))
        .map_err(CopyError::files(&path))?;
    draft.publish(&folder.log)?;
    Ok(copied)
}

/// A copy that is not whole yet. It is removed when this is dropped.
struct Draft {
    path: PathBuf,
    file: Arc<File>,
}

impl Drop for Draft {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(beside(&self.path, end));
        }
    }
}

impl Draft {
    /// Begins an empty one. What a killed command has left there is removed.
    fn begin(path: PathBuf) -> Result<Self, CopyError> {
        let failed = CopyError::files(&path);
        let file = owners_file(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CopyError::InUse(path)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        for side in ["-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(beside(&path, side));
        }
        Ok(Self {
            path,
            file: Arc::new(file),
        })
    }

    /// Writes all of a log into it, in one snapshot. `alone` says that the log has no side files
    /// and that nobody writes it.
    fn fill(&self, log: &Path, alone: bool, progress: &Progress) -> Result<(), CopyError> {
        let mut conn = source(log, alone).map_err(WorkError::from)?;
        let bytes = size(&conn).map_err(WorkError::from)?;
        self.has_room(log, bytes)?;
        progress.begin("copying", bytes);
        let grown = {
            let (file, progress) = (self.file.clone(), progress.clone());
            let synced = AtomicU64::new(0);
            move || {
                let bytes = file.metadata().map_or(0, |file| file.len());
                if bytes >= synced.load(Ordering::Relaxed) + SYNC_BYTES {
                    // If it fails, the sync at the end reports that.
                    let _ = file.sync_data();
                    synced.store(bytes, Ordering::Relaxed);
                }
                progress.reached(bytes).is_err()
            }
        };
        conn.progress_handler(STEPS, Some(grown))
            .map_err(WorkError::from)?;
        let path = self.path.to_str().ok_or_else(|| CopyError::Files {
            path: self.path.clone(),
            source: io::Error::other("its name is not Unicode"),
        })?;
        if let Err(error) = conn.execute("VACUUM source INTO ?1", [path]) {
            progress.reached(0).map_err(WorkError::from)?;
            let code = error.sqlite_error_code();
            let writes = [ErrorCode::DiskFull, ErrorCode::CannotOpen];
            if code.is_some_and(|code| writes.contains(&code)) {
                return Err(CopyError::files(&self.path)(io::Error::other(error)));
            }
            return Err(WorkError::from(error).into());
        }
        self.file.sync_all().map_err(CopyError::files(&self.path))
    }

    /// A copy on the log's disk must leave room for events.
    fn has_room(&self, log: &Path, bytes: u64) -> Result<(), CopyError> {
        let failed = CopyError::files(&self.path);
        let device = self.file.metadata().map_err(failed)?.dev();
        if fs::metadata(log).map_err(failed)?.dev() != device {
            return Ok(());
        }
        let disk = statvfs(log).map_err(|error| failed(error.into()))?;
        match free_bytes(&disk) < bytes.saturating_add(FREE_BYTES_MIN) {
            true => Err(CopyError::NoSpace { bytes }),
            false => Ok(()),
        }
    }

    /// Reads all that was written, page by page and event by event.
    fn verify(&self, progress: &Progress) -> Result<Copied, CopyError> {
        let wrong = |what: String| CopyError::Wrong {
            path: self.path.clone(),
            what,
        };
        let mut conn = alone::connect(&self.path).map_err(WorkError::from)?;
        if alone::of(&conn).map_err(WorkError::from)?.is_none() {
            return Err(wrong("it lacks the gateway's tables".into()));
        }
        schema::known(&conn, &self.path).map_err(WorkError::Open)?;
        let bounds = query::bounds(&conn).map_err(|error| wrong(error.to_string()))?;
        progress.begin("verifying", 2 * bounds.event_count);
        let stop = progress.clone();
        conn.progress_handler(STEPS, Some(move || stop.is_stopped()))
            .map_err(WorkError::from)?;
        let found = events(&conn, progress);
        let found = found.map_err(|error| match error {
            WorkError::Read(error @ ReadError::Damaged { .. }) => CopyError::Damaged(error),
            WorkError::Read(error) => wrong(error.to_string()),
            error => error.into(),
        })?;
        if found != bounds.event_count {
            let count = bounds.event_count;
            return Err(wrong(format!(
                "it has {found} events, and says that it has {count}"
            )));
        }
        let checked: rusqlite::Result<String> =
            conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
        progress.reached(2 * found).map_err(WorkError::from)?;
        match checked.map_err(WorkError::from)? {
            fine if fine == "ok" => {}
            fault => return Err(wrong(fault)),
        }
        Ok(Copied {
            events: found,
            latest: bounds.latest.sequence,
            received: bounds.latest.receive_time,
            bytes: fs::metadata(&self.path).map_or(0, |file| file.len()),
        })
    }

    /// Gives the log a new identity, and notes how far the one before goes. Returns where it ends.
    fn rename_log(&self, epoch: Epoch) -> rusqlite::Result<Position> {
        let conn = connection::writer(&self.path)?;
        // A new table takes a page that held a part of an event.
        connection::wipe(&conn, true)?;
        let transaction = conn.unchecked_transaction()?;
        let last = transaction.query_row(rows::LAST, [], rows::last)?;
        epochs::renew(&transaction, epoch, last.sequence)?;
        transaction.commit()?;
        connection::close(conn)?;
        Ok(last)
    }

    /// Gives it its name, if no file has that name.
    fn publish(self, name: &Path) -> Result<(), CopyError> {
        let failed = CopyError::files(name);
        match fs::hard_link(&self.path, name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(CopyError::Exists(name.to_owned()));
            }
            // Not every file system has links.
            Err(_) if name.symlink_metadata().is_err() => {
                fs::rename(&self.path, name).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        sync_folder_of(name).map_err(failed)
    }
}

/// Reads each event, and returns how many there are.
fn events(conn: &Connection, progress: &Progress) -> Result<u64, WorkError> {
    let mut statement = conn.prepare(&format!(
        "SELECT {} FROM events ORDER BY sequence",
        *rows::SELECTED
    ))?;
    let mut selected = statement.query([])?;
    let mut found = 0;
    while let Some(row) = selected.next()? {
        let sequence = Sequence(row.get(0)?);
        let event = rows::event(row, true).map_err(|error| match error.into() {
            ReadError::Damaged { what, .. } => ReadError::Damaged {
                damage: Some(Damage::at(sequence)),
                what,
            },
            other => other,
        })?;
        if !rows::is_encoded(&event) {
            let damage = ReadError::Damaged {
                damage: Some(Damage::at(event.sequence)),
                what: "the encoded event is another one".into(),
            };
            return Err(damage.into());
        }
        found += 1;
        progress.reached(found)?;
    }
    Ok(found)
}

/// A connection that can read the log as `source`, and write other files.
fn source(log: &Path, alone: bool) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        ":memory:",
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(connection::BUSY_TIMEOUT)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    let how = if alone { "immutable=1" } else { "mode=ro" };
    let name = format!("file:{}?{how}", escaped(log));
    conn.execute("ATTACH ?1 AS source", [name])?;
    // VACUUM makes the copy so, even if the log itself is too old to give freed pages back.
    conn.pragma_update(Some("main"), "auto_vacuum", "INCREMENTAL")?;
    // The copy takes this over, too. Otherwise unused parts of its pages would hold copies of rows,
    // which erasure does not reach.
    conn.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    Ok(conn)
}

/// About how many bytes a copy takes.
fn size(conn: &Connection) -> rusqlite::Result<u64> {
    let number = |name| conn.pragma_query_value(Some("source"), name, |row| row.get::<_, u64>(0));
    Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
}
