//! Where a program saves its cursor over restarts.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The length of the longest cursor of a gateway, in bytes.
const CURSOR_BYTES_MAX: usize = 64;

/// Stores the cursor of the last item whose work is done, for one program.
pub trait CursorStore {
    /// The last saved cursor; none if no cursor was saved yet.
    ///
    /// # Errors
    /// If it cannot be read, or is not a cursor. An implementation must not return none then: that
    /// would skip events.
    fn load(&self) -> io::Result<Option<String>>;

    /// Replaces the cursor. Call it when the work on its item is done.
    ///
    /// # Errors
    /// If it cannot be written. The previous cursor is kept.
    fn save(&mut self, cursor: &str) -> io::Result<()>;
}

/// A cursor in a file. Each save replaces the whole file: if the program is killed, the file has
/// the old cursor or the new one, never a part of one.
///
/// Each save syncs the new file before it replaces the old one, so this also holds after a power
/// cut. A power cut may undo the last save: then the previous cursor is back, and the events after
/// it come again, as after a kill.
///
/// The sync takes a few milliseconds on most disks. If events come faster, handle the available
/// ones together (`StreamExt::ready_chunks` of the `futures` crates), and save only the last
/// cursor.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    draft: PathBuf,
    /// The lock on `<path>.lock`. The system frees it when the program ends, even by a kill.
    _lock: File,
}

impl FileStore {
    /// Opens the store in this file. The file need not exist, but its folder must. The store also
    /// uses `<path>.new` and `<path>.lock`.
    ///
    /// # Errors
    /// If another program has it open ([`io::ErrorKind::WouldBlock`]), or the folder cannot be
    /// written to.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        // The lock is not on the file itself, because each save replaces that file.
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(beside(&path, ".lock"))
            .map_err(|error| about(&path, error.kind(), error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let used = "another program has it open";
                return Err(about(&path, io::ErrorKind::WouldBlock, used));
            }
            Err(TryLockError::Error(error)) => return Err(about(&path, error.kind(), error)),
        }
        Ok(Self {
            draft: beside(&path, ".new"),
            path,
            _lock: lock,
        })
    }

    /// The path of the file with the cursor.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn replace(&self, cursor: &str) -> io::Result<()> {
        let mut draft = File::create(&self.draft)?;
        writeln!(draft, "{cursor}")?;
        draft.sync_data()?;
        fs::rename(&self.draft, &self.path)
    }
}

impl CursorStore for FileStore {
    fn load(&self) -> io::Result<Option<String>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(about(&self.path, error.kind(), error)),
        };
        let cursor = text.trim();
        if looks_like_a_cursor(cursor) {
            Ok(Some(cursor.to_owned()))
        } else {
            let other = "it does not contain a cursor";
            Err(about(&self.path, io::ErrorKind::InvalidData, other))
        }
    }

    fn save(&mut self, cursor: &str) -> io::Result<()> {
        self.replace(cursor)
            .map_err(|error| about(&self.path, error.kind(), error))
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// An error that names the file.
fn about(path: &Path, kind: io::ErrorKind, what: impl fmt::Display) -> io::Error {
    io::Error::new(kind, format!("cursor file {}: {what}", path.display()))
}

/// A cursor in memory: for tests, and for programs that save it somewhere else.
#[derive(Debug, Default)]
pub struct MemoryStore(Option<String>);

impl CursorStore for MemoryStore {
    fn load(&self) -> io::Result<Option<String>> {
        Ok(self.0.clone())
    }

    fn save(&mut self, cursor: &str) -> io::Result<()> {
        self.0 = Some(cursor.to_owned());
        Ok(())
    }
}

/// A check of the form only, so that another file is not mistaken for a cursor. Only the gateway
/// can tell whether the cursor is valid.
fn looks_like_a_cursor(text: &str) -> bool {
    (1..=CURSOR_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<String> = entries.map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_saved_cursor_is_there_for_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.cursor");
        let mut store = FileStore::open(&path).unwrap();
        assert_eq!(store.load().unwrap(), None);
        store.save("first").unwrap();
        store.save("second_-2").unwrap();
        drop(store);
        let next_run = FileStore::open(&path).unwrap();
        assert_eq!(next_run.load().unwrap().as_deref(), Some("second_-2"));
        assert_eq!(names(folder.path()), ["calls.cursor", "calls.cursor.lock"]);
    }

    #[test]
    fn a_second_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.cursor");
        let mut first = FileStore::open(&path).unwrap();
        first.save("first").unwrap();
        let refused = FileStore::open(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let told = refused.to_string();
        assert!(
            told.contains("calls.cursor: another program has it open"),
            "{told}"
        );
        drop(first);
        FileStore::open(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_something_else_is_an_error_and_not_a_first_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.cursor");
        let store = FileStore::open(&path).unwrap();
        for content in ["", "\n", "two words", "{\"a\":1}", &"a".repeat(65)] {
            fs::write(&path, content).unwrap();
            let error = store.load().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{content}");
        }
    }

    #[test]
    fn a_save_that_fails_leaves_the_cursor_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.cursor");
        let mut store = FileStore::open(&path).unwrap();
        store.save("first").unwrap();
        fs::create_dir(folder.path().join("calls.cursor.new")).unwrap();
        store.save("second").unwrap_err();
        assert_eq!(store.load().unwrap().as_deref(), Some("first"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_before_any_work() {
        let error = FileStore::open("no/such/folder/calls.cursor").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("no/such/folder"), "{error}");
    }

    #[test]
    fn memory_keeps_the_last_one() {
        let mut store = MemoryStore::default();
        assert_eq!(store.load().unwrap(), None);
        store.save("a").unwrap();
        store.save("b").unwrap();
        assert_eq!(store.load().unwrap().as_deref(), Some("b"));
    }
}
