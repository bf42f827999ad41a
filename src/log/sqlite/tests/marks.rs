//! A log that lacks what it once had is refused until the loss is accepted.

use std::fs;

use super::*;
use crate::{
    event::{Epoch, Position},
    log::{
        cursor::{self, Cursor},
        error::Loss,
        sqlite::mark,
    },
};

impl Home {
    fn accept_loss(&self) -> Log {
        let config = Config {
            consent: Consent {
                accept_loss: true,
                ..Consent::default()
            },
            ..self.config()
        };
        open(&config, Metrics::register(&mut Registry::default())).unwrap()
    }

    /// The events of a log that was closed, with its mark.
    async fn filled(numbers: impl IntoIterator<Item = u64>) -> Self {
        let home = Self::new();
        let log = home.open();
        fill(&log, numbers).await;
        log.appender.finish().await;
        home
    }

    fn keep(&self) -> Vec<u8> {
        fs::read(self.file()).unwrap()
    }

    fn loss(&self) -> Loss {
        match self.try_open() {
            Err(OpenError::Lost { what, .. }) => what,
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
}

/// Whether a cursor of the log that had this epoch is one of this log.
async fn was_known(log: &Log, epoch: Epoch, sequence: u64) -> bool {
    let position = Position {
        sequence: Sequence(sequence),
        ..Position::ORIGIN
    };
    let cursor = Cursor::decode(&cursor::encode(epoch, &position)).unwrap();
    log.reader.was_known(cursor).await.unwrap()
}

/// All sequences. One read does not look across a lost stretch.
async fn whole(log: &Log) -> Vec<u64> {
    let mut found = Vec::new();
    let mut query = all();
    loop {
        let batch = log.reader.read(query.clone()).await.unwrap();
        found.extend(numbers(&batch));
        if batch.complete {
            return found;
        }
        query.after = batch.covered.sequence;
    }
}

#[tokio::test]
async fn an_older_copy_is_refused_and_goes_on_behind_the_lost_events_once_that_is_accepted() {
    let home = Home::filled(1..=3).await;
    let older = home.keep();
    let log = home.open();
    let old = log.identity.epoch;
    fill(&log, 4..=6).await;
    log.appender.finish().await;
    fs::write(home.file(), older).unwrap();
    for _ in 0..2 {
        let expected = Loss::End {
            last: Sequence(3),
            received: Some(at(3)),
            marked: Sequence(6),
            marked_received: Some(at(6)),
        };
        assert_eq!(home.loss(), expected);
    }
    let said = home.try_open().err().unwrap().to_string();
    for part in [
        "ends with sequence 3 (received 2026-01-01T00:00:03Z)",
        "the events from 4 to 6 are missing",
        "--accept-loss",
    ] {
        assert!(said.contains(part), "{said}");
    }

    let log = home.accept_loss();
    fill(&log, [5]).await;
    let first_new = 6 + 1_000_000 + 1;
    assert_eq!(whole(&log).await, [1, 2, 3, first_new]);
    for (sequence, is_known) in [(0, true), (3, true), (4, false), (first_new, false)] {
        assert_eq!(was_known(&log, old, sequence).await, is_known, "{sequence}");
    }
    assert_ne!(log.identity.epoch, old);
    log.appender.finish().await;
    // It is whole now, and a second loss is told like the first.
    home.open().appender.finish().await;
    assert_eq!(
        mark::read(&home.mark()).unwrap().unwrap().last.sequence.0,
        first_new
    );
}

#[tokio::test]
async fn a_log_that_lost_all_events_gives_no_sequence_twice() {
    let home = Home::filled([]).await;
    let empty = home.keep();
    let log = home.open();
    let old = log.identity.epoch;
    fill(&log, 1..=2).await;
    log.appender.finish().await;
    fs::write(home.file(), empty).unwrap();
    assert!(matches!(
        home.loss(),
        Loss::End {
            last: Sequence::ZERO,
            ..
        }
    ));
    let log = home.accept_loss();
    assert_eq!(log.tail.borrow().position.receive_time, Some(at(2)));
    fill(&log, 3..=3).await;
    let found = log
        .reader
        .read(Query {
            after: Sequence(1_000_002),
            ..all()
        })
        .await
        .unwrap();
    assert_eq!(numbers(&found), [1_000_003]);
    assert!(!was_known(&log, old, 2).await);
    assert!(was_known(&log, old, 0).await);
}

#[tokio::test]
async fn a_log_that_was_taken_back_and_went_on_differently_is_noticed() {
    let home = Home::filled(1..=3).await;
    let older = home.keep();
    let log = home.open();
    fill(&log, 4..=5).await;
    log.appender.finish().await;
    let marked = fs::read(home.mark()).unwrap();
    fs::write(home.file(), older).unwrap();
    fs::remove_file(home.mark()).unwrap();
    let log = home.open();
    // Ids that differ in their first bytes.
    fill(&log, (14..=17).map(|number| number << 16)).await;
    log.appender.finish().await;
    fs::write(home.mark(), marked).unwrap();
    let expected = Loss::Rewound {
        marked: Sequence(5),
        marked_received: Some(at(5)),
    };
    assert_eq!(home.loss(), expected);
    let log = home.accept_loss();
    fill(&log, [20 << 16]).await;
    let last = log.reader.bounds().await.unwrap().latest.sequence;
    assert_eq!(last, Sequence(7 + 1_000_000 + 1));
}

#[tokio::test]
async fn another_log_in_the_place_of_the_one_that_was_marked_is_refused() {
    let home = Home::filled(1..=3).await;
    let other = Home::filled(1..=9).await;
    fs::copy(other.file(), home.file()).unwrap();
    assert!(matches!(
        home.loss(),
        Loss::AnotherLog {
            marked: Sequence(3),
            ..
        }
    ));
    home.accept_loss().appender.finish().await;
    home.open();
}

#[tokio::test]
async fn a_log_that_is_gone_is_no_new_one_until_that_is_asked_for() {
    let home = Home::filled(1..=3).await;
    fs::remove_file(home.file()).unwrap();
    assert_eq!(unfit(&home), Unfit::Gone(Sequence(3)));
    let log = home.open_new();
    assert!(log.is_new);
    log.appender.finish().await;
    home.open();
    // Nothing was ever in this one.
    let home = Home::filled([]).await;
    fs::remove_file(home.file()).unwrap();
    assert!(home.open().is_new);
}

#[tokio::test]
async fn the_row_and_the_newest_event_must_agree() {
    type Harm = (&'static str, bool);
    let harms: [Harm; 7] = [
        ("UPDATE log SET last_sequence = 2", true),
        (
            "UPDATE log SET last_receive_time = '2026-01-01T00:00:09.000000000Z'",
            true,
        ),
        (
            "UPDATE log SET last_id = x'00112233445566778899aabbccddeeff'",
            true,
        ),
        // Damage of an event is told where it is read.
        (
            "UPDATE events SET id = zeroblob(16) WHERE sequence = 3",
            false,
        ),
        (
            "UPDATE events SET receive_time = 'now' WHERE sequence = 3",
            false,
        ),
        // By hand, as the documents say.
        ("DELETE FROM events WHERE sequence = 3", false),
        ("DELETE FROM events", false),
    ];
    for (sql, is_loss) in harms {
        let home = Home::filled(1..=3).await;
        home.sql(sql);
        if !is_loss {
            home.open();
            continue;
        }
        assert!(matches!(home.loss(), Loss::Disagrees { .. }), "{sql}");
        let log = home.accept_loss();
        fill(&log, [4]).await;
        assert_eq!(whole(&log).await, [1, 2, 3, 3 + 1_000_000 + 1], "{sql}");
        log.appender.finish().await;
        home.open();
    }
}

#[tokio::test]
async fn a_mark_that_is_missing_or_damaged_keeps_nobody_from_starting() {
    for content in [None, Some(""), Some("damaged")] {
        let home = Home::filled(1..=3).await;
        match content {
            None => fs::remove_file(home.mark()).unwrap(),
            Some(content) => fs::write(home.mark(), content).unwrap(),
        }
        let log = home.open();
        fill(&log, [4]).await;
        log.appender.finish().await;
        let mark = mark::read(&home.mark()).unwrap().unwrap();
        assert_eq!((mark.last.sequence, mark.moved), (Sequence(4), Sequence(4)));
    }
    // Nor does one that cannot be written.
    let home = Home::filled([]).await;
    fs::remove_file(home.mark()).unwrap();
    fs::create_dir(home.mark()).unwrap();
    let log = home.open();
    fill(&log, [1]).await;
}
