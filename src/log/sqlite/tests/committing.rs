//! A file that cannot be written, or was exchanged.

use super::*;
use crate::{event::Position, log::AppendError};

#[tokio::test]
async fn a_finished_log_is_whole_in_its_file_though_readers_have_it_open() {
    let home = Home::new();
    let log = home.open();
    log.reader.bounds().await.unwrap();
    fill(&log, 1..=9).await;
    log.appender.finish().await;
    let wal = std::fs::metadata(home.beside("-wal")).unwrap();
    assert_eq!(wal.len(), 0);
}

/// Makes every write fail, as a full disk would.
const BREAK: &str = "
    CREATE TRIGGER full_events BEFORE INSERT ON events
    BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;
    CREATE TRIGGER full_log BEFORE UPDATE ON log
    BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;";
const MEND: &str = "DROP TRIGGER full_events; DROP TRIGGER full_log;";

async fn refusal(log: &Log, number: u64) -> String {
    match log.appender.append(event(number)).await {
        Err(AppendError::Unavailable(reason)) => reason.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_refuses_reads_on_and_comes_back_by_itself() {
    let home = Home::new();
    let mut log = home.open();
    fill(&log, [1]).await;
    home.sql(BREAK);
    for number in [2, 3, 1] {
        let reason = refusal(&log, number).await;
        assert!(reason.contains("the disk is full"), "{reason}");
    }
    until_available(&mut log, false).await;
    assert_eq!(numbers(&log.reader.read(all()).await.unwrap()), [1]);

    home.sql(MEND);
    until_available(&mut log, true).await;
    let appended = log.appender.append(event(2)).await.unwrap();
    assert_eq!(
        (appended.sequence, appended.duplicate),
        (Sequence(2), false)
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_written_at_the_start_opens_for_reading() {
    let home = Home::new();
    let log = home.open();
    fill(&log, [1]).await;
    log.appender.finish().await;
    home.sql(BREAK);
    let mut log = home.open();
    assert!(!log.tail.borrow().available);
    refusal(&log, 2).await;
    assert_eq!(numbers(&log.reader.read(all()).await.unwrap()), [1]);
    home.sql(MEND);
    until_available(&mut log, true).await;
    fill(&log, [2]).await;
}

#[tokio::test]
async fn what_turns_out_durable_after_an_error_moves_the_tail() {
    let home = Home::new();
    let mut log = home.open();
    fill(&log, [1]).await;
    home.sql(BREAK);
    refusal(&log, 2).await;
    home.sql(&format!(
        "BEGIN; {MEND}
         INSERT INTO events
             SELECT 2, zeroblob(16), type, event_name, trace_id, organization_id, agent_id,
                    call_id, status, event_time, receive_time, raw_json, raw_headers, encoded, 0
             FROM events;
         UPDATE log SET last_sequence = 2, last_id = zeroblob(16), unchecked_sequence = 2;
         COMMIT"
    ));
    until_available(&mut log, true).await;
    let expected = Position::of(Sequence(2), EventId([0; 16]), at(1));
    assert_eq!(log.tail.borrow().position, expected);
    let appended = log.appender.append(event(2)).await.unwrap();
    assert_eq!(appended.sequence, Sequence(3));
}

#[tokio::test]
async fn a_file_that_was_exchanged_while_the_log_was_away_is_not_written() {
    let other = Home::new();
    other.open().appender.finish().await;
    let home = Home::new();
    let log = home.open();
    log.reader.bounds().await.unwrap();
    home.sql(BREAK);
    refusal(&log, 1).await;
    std::fs::rename(other.file(), home.file()).unwrap();
    for side in ["db-wal", "db-shm"] {
        std::fs::remove_file(home.file().with_extension(side)).unwrap();
    }
    let noticed = async {
        while !refusal(&log, 1).await.contains("another file") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed)
        .await
        .expect("the exchange is noticed in time");
}
