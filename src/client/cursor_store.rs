//! Where a program keeps its cursor over restarts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The longest cursor that a gateway makes.
const CURSOR_BYTES_MAX: usize = 64;

/// Keeps the last cursor that was worked off.
///
/// One program at a time: a store that two of them write holds whichever wrote last.
pub trait CursorStore {
    /// The cursor that was saved last; none if none ever was.
    ///
    /// # Errors
    /// If it cannot be read, or what is there is no cursor. Never taken for "none": that would skip events.
    fn load(&self) -> io::Result<Option<String>>;

    /// Replaces the cursor. Call it once the work on its item is done.
    ///
    /// # Errors
    /// If it cannot be written; the one before is still there.
    fn save(&mut self, cursor: &str) -> io::Result<()>;
}

/// A cursor in a file of its own, replaced as a whole: a program that is killed leaves the old one or the new one, never half of one.
///
/// It is not forced to disk each time. After a power cut an older cursor may be back, and some events come again.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    draft: PathBuf,
}

impl FileStore {
    /// A store in this file, which need not be there yet; its folder must be. `<path>.new` is used beside it.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let mut draft = path.clone().into_os_string();
        draft.push(".new");
        Self {
            path,
            draft: draft.into(),
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl CursorStore for FileStore {
    fn load(&self) -> io::Result<Option<String>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let cursor = text.trim();
        if looks_like_a_cursor(cursor) {
            Ok(Some(cursor.to_owned()))
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "what it holds is no cursor",
            ))
        }
    }

    fn save(&mut self, cursor: &str) -> io::Result<()> {
        fs::write(&self.draft, format!("{cursor}\n"))?;
        fs::rename(&self.draft, &self.path)
    }
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

/// Only the gateway can say whether it is one; this keeps a file that is something else from being taken for a cursor.
fn looks_like_a_cursor(text: &str) -> bool {
    (1..=CURSOR_BYTES_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_cursor_is_there_for_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.cursor");
        assert_eq!(FileStore::new(&path).load().unwrap(), None);
        let mut store = FileStore::new(&path);
        store.save("first").unwrap();
        store.save("second_-2").unwrap();
        let next_run = FileStore::new(&path);
        assert_eq!(next_run.load().unwrap().as_deref(), Some("second_-2"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_something_else_is_an_error_and_not_a_first_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.cursor");
        for content in ["", "\n", "two words", "{\"a\":1}", &"a".repeat(65)] {
            fs::write(&path, content).unwrap();
            let error = FileStore::new(&path).load().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{content}");
        }
    }

    #[test]
    fn a_save_that_fails_leaves_the_cursor_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.cursor");
        let mut store = FileStore::new(&path);
        store.save("first").unwrap();
        fs::create_dir(folder.path().join("calls.cursor.new")).unwrap();
        store.save("second").unwrap_err();
        assert_eq!(store.load().unwrap().as_deref(), Some("first"));
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
