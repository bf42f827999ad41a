//! Where a program keeps its cursor over restarts.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The longest cursor that a gateway makes.
const CURSOR_BYTES_MAX: usize = 64;

/// Keeps the last cursor that was worked off, for one program.
pub trait CursorStore {
    /// The cursor that was saved last; none if none ever was.
    ///
    /// # Errors
    /// If it cannot be read, or what is there is no cursor. Never taken for "none": that would skip
    /// events.
    fn load(&self) -> io::Result<Option<String>>;

    /// Replaces the cursor. Call it once the work on its item is done.
    ///
    /// # Errors
    /// If it cannot be written; the one before is still there.
    fn save(&mut self, cursor: &str) -> io::Result<()>;
}

/// A cursor in a file of its own, replaced as a whole: a program that is killed leaves the old one
/// or the new one, never half of one.
///
/// Each save waits for the disk to have the new file before it takes the old one's place, so that
/// this holds through a power cut too. What may be lost then is that it took the place: the cursor
/// before it is back, and the events after that come again, as after a kill.
///
/// That wait is a few milliseconds on most disks. Where events come faster, work off those that are
/// there together (`StreamExt::ready_chunks` of the `futures` crates), and save the last cursor
/// once.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    draft: PathBuf,
    /// Held until the store is dropped or the program ends, however it does.
    _lock: File,
}

impl FileStore {
    /// The store in this file, which need not be there yet; its folder must be. `<path>.new` and
    /// `<path>.lock` are used beside it.
    ///
    /// # Errors
    /// If another program has it open ([`io::ErrorKind::WouldBlock`]), or nothing can be written
    /// there.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        // Not of the file itself: that is another one after each save.
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

    /// The file.
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
            let other = "what it holds is no cursor";
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

/// An error that says which file it is about.
fn about(path: &Path, kind: io::ErrorKind, what: impl fmt::Display) -> io::Error {
    io::Error::new(kind, format!("cursor file {}: {what}", path.display()))
}

/// A cursor in memory: for tests, and for programs that keep it in a place of their own.
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

/// Only the gateway can say whether it is one; this keeps a file that is something else from being
/// taken for a cursor.
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
