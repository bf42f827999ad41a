use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::*;
use crate::{
    event::{EventId, NewEvent, Raw},
    log::parts::Identity,
    proto,
};

pub(in super::super) fn event(number: u8) -> Prepared {
    let event = NewEvent {
        id: EventId([number; 16]),
        event: proto::Event::default(),
        event_time_given: false,
        raw: Raw::default(),
    };
    event.into()
}

pub(in super::super) fn open(folder: &tempfile::TempDir) -> LogFile {
    let path = folder.path().join("events.db");
    std::fs::File::create(&path).unwrap();
    let mut conn = connection::writer(&path).unwrap();
    let identity = || Identity {
        epoch: Epoch([0; 16]),
        id_key: [0; 32],
    };
    schema::migrate(&mut conn, &path, Timestamp::UNIX_EPOCH, identity).unwrap();
    let place = Arc::new(Place::of(&path).unwrap());
    let metrics = Metrics::register(&mut Default::default());
    LogFile::new(conn, place, Arc::default(), metrics).unwrap()
}

#[test]
fn events_whose_places_are_given_are_kept_at_them_once_and_in_order() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut file = open(&folder);
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    let batch = || {
        [
            (event(1), Sequence(3), at(10)),
            (event(2), Sequence(7), at(9)),
            // The same event again, with a second place.
            (event(1), Sequence(8), at(11)),
        ]
    };
    let committed = file.apply(batch()).unwrap();
    let answers = |committed: &Committed| -> Vec<(u64, bool)> {
        let answers = committed.answers.iter();
        answers
            .map(|answer| (answer.sequence.0, answer.duplicate))
            .collect()
    };
    assert_eq!(answers(&committed), [(3, false), (7, false), (3, true)]);
    let events = committed.events.iter();
    let placed: Vec<_> = events
        .map(|event| (event.sequence.0, event.receive_time))
        .collect();
    assert_eq!(placed, [(3, at(10)), (7, at(10))], "times never fall");
    assert_eq!(file.last(), committed.events[1].position());

    // The same events come again after a restart, and change nothing.
    let again = file.apply(batch()).unwrap();
    assert_eq!(answers(&again), [(3, true), (7, true), (3, true)]);
    assert!(again.events.is_empty());
    let late = file.apply([(event(3), Sequence(5), at(20))]);
    assert!(matches!(late, Err(Trouble::OutOfOrder { .. })));
    // Events that get their number here continue after them.
    let own = file.commit([event(4)]).unwrap();
    assert_eq!(answers(&own), [(8, false)]);
}

#[test]
fn the_write_ahead_log_begins_anew_though_somebody_always_reads() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("events.db");
    let mut file = open(&folder);
    file.checkpoints.pages_max = 256;

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let readers = [(); 2].map(|()| connection::reader(&path).unwrap());
            // Each reader ends only when the other has begun.
            let mut held = None;
            for reader in readers.iter().cycle() {
                let snapshot = reader.unchecked_transaction().unwrap();
                last(&snapshot, Epoch([0; 16])).unwrap();
                held = Some(snapshot);
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
            drop(held);
        });
        let pages: Result<Vec<u64>, Trouble> = (0..250)
            .map(|number| {
                file.commit([event(number)])?;
                file.checkpoint()?;
                while file.checkpoints.is_moving() {
                    thread::yield_now();
                    file.checkpoint()?;
                }
                Ok(connection::checkpoint(&file.conn, "NOOP")?.pages)
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        let pages = pages.unwrap();
        let begins_anew = pages.is_sorted().then_some(&pages);
        assert_eq!(begins_anew, None, "it only grows");
    });
}

#[test]
fn a_checkpoint_waits_until_a_sync_has_made_durable_what_it_moves() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut file = open(&folder);
    let moved = |file: &LogFile| connection::checkpoint(&file.conn, "NOOP").unwrap().moved;
    let run = |file: &mut LogFile| {
        assert!(file.checkpoints.is_moving());
        while file.checkpoints.is_moving() {
            thread::yield_now();
            file.checkpoint().unwrap();
        }
    };
    let change = |file: &mut LogFile| {
        file.change(|transaction| Ok(transaction.execute("UPDATE log SET probe = NULL", [])?))
            .unwrap();
    };
    file.commit([event(1)]).unwrap();
    file.checkpoints.soon();
    file.checkpoint().unwrap();
    // Neither this group's sync, which was before, nor an unsynced change is enough.
    change(&mut file);
    file.checkpoint().unwrap();
    assert!(file.checkpoints.waits());
    assert_eq!(moved(&file), 0);
    file.commit([event(2)]).unwrap();
    file.checkpoint().unwrap();
    run(&mut file);
    assert_eq!(
        moved(&file),
        file.now.pages,
        "the appender has moved the rest"
    );

    change(&mut file);
    file.checkpoints.soon();
    file.checkpoint().unwrap();
    assert!(file.checkpoints.waits());
    file.checkpoint_idle().unwrap();
    run(&mut file);
    file.check().unwrap();
    assert_eq!((file.now.moved, file.unsynced), (file.now.pages, false));
}
