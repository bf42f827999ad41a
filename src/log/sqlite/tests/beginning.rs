//! Which files are a log, which are not, and how a new log begins.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::*;

/// Fills and closes a log. Returns the write-ahead log that it had before it was closed.
async fn closed(home: &Home) -> Vec<u8> {
    let log = home.open();
    fill(&log, 1..=3).await;
    let wal = fs::read(home.beside("-wal")).unwrap();
    log.appender.finish().await;
    assert!(!home.beside("-wal").exists(), "nothing is left beside it");
    wal
}

fn content(home: &Home) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(home.config().data_dir).unwrap();
    let files = files.map(|file| file.unwrap());
    let names = files.map(|file| (file.file_name().into_string().unwrap(), file.path()));
    names
        // SQLite may make its index of the write-ahead log anew at any time.
        .filter(|(name, _)| !name.ends_with("-shm"))
        .map(|(name, path)| (name, fs::read(path).unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn what_is_no_log_is_refused_and_left_alone_until_a_new_one_is_asked_for() {
    type Harm = fn(&Home, Vec<u8>);
    let harms: [(Unfit, Harm); 14] = [
        (Unfit::Empty, |home, _| fs::write(home.file(), "").unwrap()),
        (Unfit::Empty, |home, wal| {
            fs::write(home.file(), "").unwrap();
            fs::write(home.beside("-wal"), wal).unwrap();
        }),
        (Unfit::Missing("-wal"), |home, wal| {
            fs::remove_file(home.file()).unwrap();
            fs::write(home.beside("-wal"), wal).unwrap();
        }),
        (Unfit::Missing("-shm"), |home, _| {
            fs::rename(home.file(), home.beside("-shm")).unwrap();
        }),
        (
            Unfit::CutShort {
                found: 8192,
                expected: 0,
            },
            |home, _| {
                let file = fs::File::options().write(true).open(home.file());
                file.unwrap().set_len(8192).unwrap();
            },
        ),
        (Unfit::Foreign, |home, _| {
            fs::write(home.file(), "x".repeat(10_000)).unwrap();
        }),
        (Unfit::Foreign, |home, _| {
            fs::remove_file(home.file()).unwrap();
            home.sql(
                "CREATE TABLE log (entry TEXT); INSERT INTO log VALUES ('of another program')",
            );
        }),
        (Unfit::Foreign, |home, _| home.sql("DROP TABLE events")),
        (Unfit::Foreign, |home, _| {
            home.sql("ALTER TABLE events DROP COLUMN trace_id");
        }),
        (Unfit::Foreign, |home, _| home.sql("DELETE FROM log")),
        (Unfit::Version(0), |home, _| {
            home.sql("PRAGMA user_version = 0");
        }),
        (Unfit::Version(-1), |home, _| {
            home.sql("PRAGMA user_version = -1");
        }),
        (Unfit::ForeignWal, |home, wal| {
            fs::remove_file(home.file()).unwrap();
            fs::remove_file(home.mark()).unwrap();
            // A write-ahead log of another log, valid in itself.
            let other = home.open();
            drop(other);
            while home.beside("-wal").exists() {
                std::thread::yield_now();
            }
            fs::write(home.beside("-wal"), wal).unwrap();
        }),
        (Unfit::Journal, |home, _| {
            fs::write(home.beside("-journal"), "half a change").unwrap();
        }),
    ];
    for (expected, harm) in harms {
        let home = Home::new();
        let wal = closed(&home).await;
        harm(&home, wal);
        let before = content(&home);
        match (unfit(&home), expected) {
            (Unfit::CutShort { found, expected }, Unfit::CutShort { .. }) => {
                assert!(found < expected, "{found} {expected}");
            }
            (found, expected) => assert_eq!(found, expected),
        }
        assert_eq!(content(&home), before, "{expected:?}");
        let error = home.try_open().err().unwrap().to_string();
        assert!(error.contains("--new-log"), "{error}");

        let log = home.open_new();
        assert!(log.is_new);
        fill(&log, [1]).await;
        log.appender.finish().await;
        // Everything that was there is kept, under names that belong together.
        let after = content(&home);
        for (name, bytes) in before
            .iter()
            .filter(|(name, _)| name.starts_with("events.db"))
        {
            let end = name.trim_start_matches("events.db");
            let aside = after.iter().find(|(kept, _)| {
                let kept = kept.strip_prefix("events.db.aside-");
                kept.is_some_and(|kept| kept.find('-').map_or("", |at| &kept[at..]) == end)
            });
            assert_eq!(
                aside.map(|(_, bytes)| bytes),
                Some(bytes),
                "{name} of {expected:?}"
            );
        }
        assert!(!home.open().is_new);
    }
}

#[tokio::test]
async fn where_a_log_is_nothing_new_begins() {
    let home = Home::new();
    let log = home.open();
    assert!(log.is_new);
    let epoch = log.identity.epoch;
    log.appender.finish().await;
    let log = home.open_new();
    assert!(!log.is_new);
    assert_eq!(log.identity.epoch, epoch);
}

#[tokio::test]
async fn a_start_that_was_killed_while_it_made_the_log_is_made_up_for() {
    let home = Home::new();
    home.open().appender.finish().await;
    let draft = |end| {
        home.file()
            .with_file_name(format!(".events.db.unfinished{end}"))
    };
    fs::rename(home.file(), draft("")).unwrap();
    fs::write(draft("-journal"), "half").unwrap();
    let log = home.open();
    assert!(log.is_new);
    fill(&log, [1]).await;
    log.appender.finish().await;
    let names: Vec<_> = content(&home).into_keys().collect();
    assert_eq!(names, ["events.db", "events.mark", "gateway.lock"]);
    let mode = fs::metadata(home.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_backup_beside_the_log_is_left_alone() {
    let home = Home::new();
    closed(&home).await;
    let backup = fs::read(home.file()).unwrap();
    let ends = [".new", ".new-wal", ".bak", ".unfinished", ".aside"];
    for end in ends {
        fs::write(home.beside(end), &backup).unwrap();
    }
    fs::remove_file(home.file()).unwrap();
    fs::remove_file(home.mark()).unwrap();
    for _ in 0..2 {
        home.open().appender.finish().await;
    }
    for end in ends {
        assert!(fs::read(home.beside(end)).unwrap() == backup, "{end}");
    }
}

#[test]
fn what_is_no_file_or_a_link_that_leads_nowhere_is_no_place_for_a_log() {
    let home = Home::new();
    fs::create_dir(home.config().data_dir).unwrap();
    let target = home.folder.path().join("disk/events.db");
    symlink(&target, home.file()).unwrap();
    let error = home.try_open().err().unwrap();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    fs::remove_file(home.file()).unwrap();
    fs::create_dir(home.file()).unwrap();
    let error = home.try_open().err().unwrap();
    assert!(error.to_string().contains("is not a file"), "{error}");
}
