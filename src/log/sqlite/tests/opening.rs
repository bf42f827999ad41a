//! Who may open which file.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

#[tokio::test]
async fn a_second_gateway_is_refused_until_the_first_has_finished() {
    let home = Home::new();
    let log = home.open();
    assert!(matches!(home.try_open(), Err(OpenError::Locked { .. })));
    log.appender.finish().await;
    home.open();
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let home = Home::new();
    home.open().appender.finish().await;
    home.sql("PRAGMA user_version = 99");
    match home.try_open() {
        Err(OpenError::NewerSchema { found, known, .. }) => {
            assert_eq!((found, known), (99, super::super::schema::VERSION))
        }
        other => panic!("opened: {:?}", other.map(|_| ())),
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let home = Home::new();
    fs::write(home.folder.path().join("data"), "a file").unwrap();
    let error = home.try_open().err().unwrap();
    assert!(matches!(error, OpenError::DataDir { .. }));
    let text = error.to_string();
    assert!(
        text.contains("/data") && text.contains("--data-dir"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_log_is_an_error() {
    let home = Home::new();
    fs::create_dir(home.folder.path().join("data")).unwrap();
    fs::write(home.file(), "x".repeat(10_000)).unwrap();
    assert_eq!(unfit(&home), Unfit::Foreign);
}

#[tokio::test]
async fn only_the_owner_can_read_what_is_in_the_folder() {
    let home = Home::new();
    let log = home.open();
    fill(&log, [1]).await;
    let data = home.folder.path().join("data");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(data.clone()), 0o700);
    let mut files = Vec::new();
    for entry in fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(path.clone()), 0o600, "{path:?}");
        files.push(path);
    }
    assert_eq!(
        files.len(),
        5,
        "lock, log, write-ahead log, its index, mark: {files:?}"
    );
}

#[tokio::test]
async fn an_operators_tool_reads_times_ids_and_bodies() {
    let home = Home::new();
    let log = home.open();
    fill(&log, [1]).await;
    let other = Connection::open(home.file()).unwrap();
    let row: (String, String, String, i64, i64) = other
        .query_row(
            "SELECT id_hex, type, receive_time, unixepoch(event_time), raw_json ->> 'n' FROM \
             events",
            [],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            },
        )
        .unwrap();
    let expected = (
        event(1).id.to_string(),
        "CALL_STARTED".to_owned(),
        "2026-01-01T00:00:01.000000000Z".to_owned(),
        at(1).as_second(),
        1,
    );
    assert_eq!(row, expected);
    let version: i64 = other
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, super::super::schema::VERSION);
}
