use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rusqlite::ffi;

use super::*;
use crate::log::sqlite::{
    file::tests::{event, open},
    trouble::Changed,
};

/// A chore whose steps all end in the same way.
struct Always<F>(F, Arc<AtomicUsize>);

impl<F: Fn() -> Result<Next, Trouble> + Send> Chore for Always<F> {
    fn name(&self) -> &'static str {
        "a chore"
    }

    fn step(&mut self, _: &mut LogFile, _: Instant) -> Result<Next, Trouble> {
        self.1.fetch_add(1, Ordering::Relaxed);
        (self.0)()
    }
}

/// The chore, and how often it had a step.
fn always(
    end: impl Fn() -> Result<Next, Trouble> + Send + 'static,
) -> (Box<dyn Chore>, Arc<AtomicUsize>) {
    let steps = Arc::default();
    (Box::new(Always(end, Arc::clone(&steps))), steps)
}

fn sqlite(code: i32) -> Trouble {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
}

#[test]
fn a_chore_is_due_when_it_said_and_goes_before_appends_only_after_a_while() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut file = open(&folder);
    for (next, earliest, let_go_first) in [
        (Next::Soon, Duration::ZERO, PATIENCE),
        (Next::AtOnce, Duration::ZERO, Duration::ZERO),
        (Next::After(FAILED_INTERVAL), FAILED_INTERVAL, PATIENCE),
    ] {
        let (chore, steps) = always(move || Ok(next));
        let mut chores = Chores::new(vec![chore]);
        let before = Instant::now();
        assert!(!chores.are_overdue(chores.due().unwrap()));
        chores.step(&mut file).unwrap();
        assert_eq!(steps.load(Ordering::Relaxed), 1);
        let due = chores.due().unwrap();
        assert!(due >= before + earliest, "{next:?}");
        let just_before = due + let_go_first - Duration::from_nanos(1);
        assert!(!chores.are_overdue(just_before), "{next:?}");
        assert!(chores.are_overdue(due + let_go_first), "{next:?}");
    }
}

#[test]
fn each_chore_gets_its_steps() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut file = open(&folder);
    let (one, one_steps) = always(|| Ok(Next::AtOnce));
    let (other, other_steps) = always(|| Ok(Next::Soon));
    let mut chores = Chores::new(vec![one, other]);
    let count = |steps: &AtomicUsize| steps.load(Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(20);
    while count(&one_steps).min(count(&other_steps)) < 10 {
        assert!(Instant::now() < deadline);
        chores.step(&mut file).unwrap();
    }
}

#[test]
fn only_an_error_of_the_disk_or_of_changed_files_takes_the_log_away() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut file = open(&folder);
    let mut ends = |error: fn() -> Trouble, pause: Duration| {
        let (chore, steps) = always(move || Err(error()));
        let mut chores = Chores::new(vec![chore]);
        let before = Instant::now();
        let ended = chores.step(&mut file).is_err();
        assert!(chores.due().unwrap() >= before + pause);
        // It is not due, so it gets no second step.
        chores.step(&mut file).unwrap();
        assert_eq!(steps.load(Ordering::Relaxed), 1);
        ended
    };
    assert!(!ends(|| sqlite(ffi::SQLITE_CORRUPT), FAILED_INTERVAL));
    assert!(!ends(|| sqlite(ffi::SQLITE_FULL), FAILED_INTERVAL));
    assert!(!ends(|| sqlite(ffi::SQLITE_BUSY), BUSY_INTERVAL));
    assert!(ends(|| sqlite(ffi::SQLITE_IOERR_FSYNC), FAILED_INTERVAL));
    assert!(ends(
        || Changed::Gone("events.db".into()).into(),
        FAILED_INTERVAL
    ));
}

#[test]
fn a_change_that_fails_leaves_nothing_and_appends_go_on() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut file = open(&folder);
    file.commit([event(1)]).unwrap();
    let failed: Result<(), Trouble> = file.change(|transaction| {
        transaction.execute("DELETE FROM events", [])?;
        Err(Trouble::Busy)
    });
    assert!(failed.is_err());
    let count = |file: &LogFile| {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, u64>(0);
        file.read(|conn| conn.query_row("SELECT count(*) FROM events", [], count))
    };
    assert_eq!(count(&file).unwrap(), 1);
    file.commit([event(2)]).unwrap();
    let deleted = |transaction: &rusqlite::Transaction<'_>| {
        Ok(transaction.execute("DELETE FROM events WHERE sequence = 1", [])?)
    };
    assert_eq!(file.change(deleted).unwrap(), 1);
    // The next group is synced, and the change with it.
    let synced: u64 = file
        .read(|conn| conn.pragma_query_value(None, "synchronous", |row| row.get(0)))
        .unwrap();
    assert_eq!(synced, 2, "FULL");
    assert_eq!(count(&file).unwrap(), 1);
}
