//! Limits log lines that clients can cause: the first notice of a kind is logged at once; further
//! ones are counted and logged together.
//!
//! Time is divided into windows of [`WINDOW`]. In each window, the first notice of every kind has a
//! line. At the end, one line for each kind gives the number of further ones. Kinds beyond
//! `KINDS_MAX` in a window are only counted, so clients cannot fill the memory or the log.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep};

/// How long further notices of a kind are counted before they are logged.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);
/// The most kinds that have lines of their own in one window.
const KINDS_MAX: usize = 64;

/// A line to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice<'a, K, D: ?Sized> {
    /// The first notice of its kind, with details.
    First(&'a K, &'a D),
    /// The number of further notices of this kind within [`WINDOW`].
    More(&'a K, u64),
    /// The number of notices whose kinds had no line of their own.
    Others(u64),
}

/// Logs notices with a bounded rate. Clones share the bound.
pub(crate) struct Notices<K, D: ?Sized = ()>(Arc<Shared<K, D>>);

struct Shared<K, D: ?Sized> {
    say: fn(Notice<'_, K, D>),
    length: Duration,
    window: Mutex<Window<K>>,
}

/// The counts of the open window; empty if none is open.
struct Window<K> {
    /// How many notices of each kind came after the first.
    more: BTreeMap<K, u64>,
    others: u64,
}

impl<K: Ord + Send + 'static, D: ?Sized + 'static> Notices<K, D> {
    /// `say` writes the lines.
    #[must_use]
    pub(crate) fn new(say: fn(Notice<'_, K, D>)) -> Self {
        Self(Arc::new(Shared {
            say,
            length: WINDOW,
            window: Mutex::default(),
        }))
    }

    /// Logs the notice, or counts it.
    pub(crate) fn notice(&self, kind: K, details: &D) {
        let mut window = self.0.lock();
        let opens = window.more.is_empty();
        if let Some(more) = window.more.get_mut(&kind) {
            *more += 1;
            return;
        }
        if window.more.len() == KINDS_MAX {
            window.others += 1;
            return;
        }
        // Logged under the lock, so that a window's first line never comes after its last.
        (self.0.say)(Notice::First(&kind, details));
        window.more.insert(kind, 0);
        drop(window);
        // Without a runtime, the window is closed when the last handle is dropped.
        if opens && let Ok(runtime) = Handle::try_current() {
            let shared = Arc::downgrade(&self.0);
            drop(runtime.spawn(close_in_time(shared, self.0.length)));
        }
    }
}

async fn close_in_time<K: Ord, D: ?Sized>(shared: Weak<Shared<K, D>>, length: Duration) {
    sleep(length).await;
    if let Some(shared) = shared.upgrade() {
        shared.close();
    }
}

impl<K, D: ?Sized> Shared<K, D> {
    fn close(&self) {
        let Window { more, others } = std::mem::take(&mut *self.lock());
        for (kind, count) in more.iter().filter(|(_, count)| **count > 0) {
            (self.say)(Notice::More(kind, *count));
        }
        if others > 0 {
            (self.say)(Notice::Others(others));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Window<K>> {
        // No code panics while it holds the lock.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs the counts, even if the gateway ends before the window.
impl<K, D: ?Sized> Drop for Shared<K, D> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<K, D: ?Sized> Clone for Notices<K, D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, D: ?Sized> fmt::Debug for Notices<K, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}

impl<K> Default for Window<K> {
    fn default() -> Self {
        Self {
            more: BTreeMap::new(),
            others: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// Keeps lines by thread, since each test runs in a thread of its own.
    fn say(notice: Notice<'_, u32, &'static str>) {
        let line = match notice {
            Notice::First(kind, details) => format!("{kind} {details}"),
            Notice::More(kind, count) => format!("{kind} and {count} more"),
            Notice::Others(count) => format!("{count} others"),
        };
        SAID.with_borrow_mut(|said| said.push(line));
    }

    fn said() -> Vec<String> {
        SAID.take()
    }

    #[test]
    fn the_first_of_a_kind_is_said_at_once_and_the_others_with_the_end_of_the_window() {
        let notices = Notices::new(say);
        for _ in 0..1000 {
            notices.notice(1, &"a");
        }
        notices.notice(2, &"b");
        notices.notice(2, &"c");
        notices.notice(3, &"d");
        assert_eq!(said(), ["1 a", "2 b", "3 d"]);
        notices.0.close();
        assert_eq!(said(), ["1 and 999 more", "2 and 1 more"]);
        // A new window begins. The counts of the old one are not logged again.
        notices.notice(2, &"e");
        assert_eq!(said(), ["2 e"]);
        notices.0.close();
        assert!(said().is_empty());
    }

    #[test]
    fn many_kinds_have_one_line_together_and_take_no_memory() {
        let notices = Notices::new(say);
        for kind in 0..10_000 {
            notices.notice(kind, &"x");
        }
        assert_eq!(said().len(), KINDS_MAX);
        assert_eq!(notices.0.lock().more.len(), KINDS_MAX);
        notices.0.close();
        assert_eq!(said(), [format!("{} others", 10_000 - KINDS_MAX)]);
        assert!(notices.0.lock().more.is_empty());
    }

    #[tokio::test]
    async fn a_window_is_closed_by_itself_each_time() {
        let notices = Notices(Arc::new(Shared {
            say,
            length: Duration::from_millis(1),
            window: Mutex::default(),
        }));
        for round in 0..3 {
            notices.notice(round, &"a");
            notices.notice(round, &"b");
            // The test has one thread, so the window cannot have ended in between.
            assert_eq!(said(), [format!("{round} a")]);
            while SAID.with_borrow(Vec::is_empty) {
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(said(), [format!("{round} and 1 more")]);
        }
    }

    #[test]
    fn what_was_counted_is_said_at_the_end() {
        let notices = Notices::new(say);
        let clone = notices.clone();
        notices.notice(1, &"a");
        clone.notice(1, &"b");
        drop(notices);
        assert_eq!(said(), ["1 a"]);
        drop(clone);
        assert_eq!(said(), ["1 and 1 more"]);
    }
}
