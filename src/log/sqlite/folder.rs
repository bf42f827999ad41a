//! The data folder: only its owner can use it, and one gateway holds it at a time.

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
    /// The folder is held as long as this file is open. The system closes it when the process ends,
    /// even if it is killed.
    pub(super) lock: File,
}

impl Folder {
    /// Makes the folder if it is not there, and takes it.
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
    // All other code syncs this folder, but not its parent, which has its name.
    sync_folder_of(path)
}

/// Opens a file for writing and leaves its content. Only the owner can read a new file. (SQLite
/// would make it readable by everyone, and gives its side files the same mode.) A file that is
/// there keeps its mode, since an operator may have let a group read it.
pub(super) fn owners_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}
