//! Files from which others have removed events, or into which they have written something else.

use super::*;
use crate::log::{Followed, Located, ReadError};

#[tokio::test]
async fn however_events_went_from_the_front_a_place_before_the_earliest_is_expired() {
    for how in [
        "DELETE FROM events WHERE sequence <= 4",
        "UPDATE log SET trimmed_sequence = 4",
        "DELETE FROM events WHERE sequence <= 4; UPDATE log SET trimmed_sequence = 4",
    ] {
        let home = Home::new();
        let log = home.open();
        fill(&log, 1..=6).await;
        home.sql(how);
        let Err(ReadError::Expired(earliest)) = log.reader.read(all()).await else {
            panic!("{how}");
        };
        assert_eq!(earliest.before.sequence, Sequence(4), "{how}");
        let place = log.reader.locate(Sequence(3)).await.unwrap();
        assert_eq!(place, Located::Expired(earliest), "{how}");
        assert_eq!(log.reader.get(event(2).id).await.unwrap(), None, "{how}");
    }
}

#[tokio::test]
async fn a_log_that_begins_at_a_later_place_has_lost_nothing() {
    let home = Home::new();
    home.open().appender.finish().await;
    home.sql(
        "UPDATE log SET base_sequence = 1000, last_sequence = 1000, last_id = zeroblob(16),
                             last_receive_time = '2026-01-01T00:00:00.000000000Z'",
    );
    let log = home.open();
    assert!(log.reader.read(all()).await.unwrap().events.is_empty());
    fill(&log, 1..=3).await;
    assert_eq!(
        numbers(&log.reader.read(all()).await.unwrap()),
        [1001, 1002, 1003]
    );
    let mut follower = log.followers.from(Sequence::ZERO);
    let Some(Followed::Group(group)) = follower.next().await else {
        panic!("told that something was removed");
    };
    assert_eq!(group[0].sequence, Sequence(1001));

    // What lies between the origin and its beginning was in another log.
    let between = log.reader.locate(Sequence(500)).await.unwrap();
    assert!(matches!(between, Located::Expired(_)), "{between:?}");
    home.trim(1001);
    let removed = log.reader.read(all()).await;
    assert!(matches!(removed, Err(ReadError::Expired(_))), "{removed:?}");
}

#[tokio::test]
async fn a_row_that_was_not_written_here_is_damage() {
    for what in [
        "receive_time = 'yesterday'",
        "type = 'CALL_OF_CTHULHU'",
        "raw_headers = 'none'",
        "agent_id = CAST(x'ff' AS TEXT)",
    ] {
        let home = Home::new();
        let log = home.open();
        fill(&log, [1]).await;
        home.sql(&format!("UPDATE events SET {what}"));
        let result = log.reader.read(all()).await;
        assert!(
            matches!(result, Err(ReadError::Damaged(_))),
            "{what}: {result:?}"
        );
    }
}

#[tokio::test]
async fn a_file_that_was_overwritten_is_damage() {
    let home = Home::new();
    let log = home.open();
    fill(&log, 1..=300).await;
    log.appender.finish().await;
    let log = home.open();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(home.file())
        .unwrap();
    let length = file.metadata().unwrap().len();
    let garbage = vec![0xa5; usize::try_from(length - 8192).unwrap()];
    std::os::unix::fs::FileExt::write_all_at(&file, &garbage, 8192).unwrap();
    let result = log.reader.read(all()).await;
    assert!(matches!(result, Err(ReadError::Damaged(_))), "{result:?}");
}
