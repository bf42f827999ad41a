//! A log that is only read.

use super::*;
use crate::log::open_read_only;

#[tokio::test]
async fn a_log_is_read_beside_the_gateway_that_has_it_open() {
    let home = Home::new();
    let log = home.open();
    fill(&log, 1..=3).await;
    let beside = open_read_only(&home.config().data_dir).unwrap();
    assert_eq!(beside.identity.epoch, log.identity.epoch);
    assert_eq!(beside.identity.id_key, log.identity.id_key);
    let read = beside.reader.read(all()).await.unwrap();
    assert_eq!(read.events, log.reader.read(all()).await.unwrap().events);
    // The gateway goes on, and its new events can be read.
    fill(&log, [4]).await;
    assert_eq!(beside.reader.bounds().await.unwrap().event_count, 4);
    drop(beside);
    fill(&log, [5]).await;
    log.appender.finish().await;
}

#[tokio::test]
async fn a_closed_log_is_read_and_opens_again_afterwards() {
    let home = Home::new();
    let log = home.open();
    fill(&log, 1..=3).await;
    log.appender.finish().await;
    drop(log);
    let bytes = fs::read(home.file()).unwrap();
    let reading = open_read_only(&home.config().data_dir).unwrap();
    assert_eq!(
        numbers(&reading.reader.read(all()).await.unwrap()),
        [1, 2, 3]
    );
    assert!(
        fs::read(home.file()).unwrap() == bytes,
        "nothing is written"
    );
    // A gateway can open the log meanwhile.
    let log = home.open();
    fill(&log, [4]).await;
    assert_eq!(reading.reader.bounds().await.unwrap().event_count, 4);
}

#[test]
fn where_no_log_is_none_is_made() {
    let home = Home::new();
    let data = home.config().data_dir;
    let error = open_read_only(&data).err().unwrap();
    assert!(matches!(error, OpenError::NoLog { .. }), "{error}");
    assert!(!data.exists());
    fs::create_dir(&data).unwrap();
    fs::write(home.file(), "x".repeat(10_000)).unwrap();
    assert!(open_read_only(&data).is_err());
    fs::write(home.file(), "").unwrap();
    assert!(matches!(
        open_read_only(&data),
        Err(OpenError::Unfit {
            what: Unfit::Foreign,
            ..
        })
    ));
}

#[tokio::test]
async fn a_log_of_a_newer_version_is_not_read() {
    let home = Home::new();
    home.open().appender.finish().await;
    home.sql("PRAGMA user_version = 99");
    assert!(matches!(
        open_read_only(&home.config().data_dir),
        Err(OpenError::NewerSchema { found: 99, .. })
    ));
}
