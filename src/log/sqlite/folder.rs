//! The data folder: made for its owner alone, and held by one gateway at a time.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::place::sync_folder_of;
use crate::log::error::OpenError;

const LOCK_NAME: &str = "gateway.lock";
pub(super) const LOG_NAME: &str = "events.db";

/// A folder that this process holds.
pub(super) struct Folder {
    /// The log's place in it.
    pub(super) log: PathBuf,
    /// Whether a gateway has held it before.
    pub(super) used: bool,
    /// Held for as long as this is open: the system lets go of it when the process dies, however it
    /// dies.
    pub(super) lock: File,
}

impl Folder {
    /// Makes the folder if need be, and takes it.
    pub(super) fn hold(path: &Path) -> Result<Self, OpenError> {
        let refused = |source| OpenError::DataDir {
            path: path.to_owned(),
            source,
        };
        make(path).map_err(refused)?;
        let used = path.join(LOCK_NAME).exists();
        let lock = owners_file(&path.join(LOCK_NAME)).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        Ok(Self {
            log: path.join(LOG_NAME),
            used,
            lock,
        })
    }
}

fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // All else syncs this folder, but not the one that it is an entry of.
    sync_folder_of(path)
}

/// Opens a file for writing and leaves its content; a new one is its owner's alone. (SQLite would
/// make it readable by all, and gives its side files the mode that it finds.) One that is there
/// keeps its mode: a group that an operator lets read stays.
pub(super) fn owners_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}
