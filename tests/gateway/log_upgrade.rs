//! A log that an older version has written goes on: ids, sequences and cursors stay.

use std::{fs, io::Read};

use rusqlite::Connection;
use verbex_gateway::proto::{Event, EventView, SubscribeRequest};

use crate::support::{
    bodies::{CALL_ENDED, CALL_STARTED, PCA_COMPLETED, call_started},
    grpc::{after, from_earliest},
    process::Setup,
};

/// A log of schema version 1. `src/log/sqlite/tests/version_1.rs` says what is in it.
const VERSION_1: &[u8] = include_bytes!("../fixtures/log/version-1.db.gz");
/// Cursors that the older gateway has given out: after its event 17, and after its last, 58.
const AFTER_17: &str = "ASydhgVB3rahAAAAAAAAABEtFWXSh-H2yAWF";
const AFTER_58: &str = "ASydhgVB3rahAAAAAAAAADqF_X85ksLm8q5J";
/// What it has answered to three of Verbex's samples.
const STORED: [(&str, &str, u64); 3] = [
    (CALL_STARTED, "d344280666ab67a79bb02b2eea5b404a", 1),
    (CALL_ENDED, "da35a9a72ef7944b9bbb440015a6835c", 3),
    (PCA_COMPLETED, "c4064ca102b5cce0a4946522b82b2199", 4),
];

#[tokio::test]
async fn a_log_of_version_1_is_served_with_its_ids_sequences_and_cursors() {
    let mut file = Vec::new();
    let mut unpacked = flate2::read::GzDecoder::new(VERSION_1);
    unpacked.read_to_end(&mut file).unwrap();
    // Its events are from one day, so that they are too old one day.
    let setup = Setup::new().arg("--retention-age").arg("never");
    fs::create_dir_all(setup.data()).unwrap();
    fs::write(setup.log_file(), file).unwrap();
    let rows: Vec<(u64, String, Vec<u8>)> = {
        let log = Connection::open(setup.log_file()).unwrap();
        let mut every = log
            .prepare("SELECT sequence, id_hex, CAST(raw_json AS BLOB) FROM events ORDER BY 1")
            .unwrap();
        let rows = every.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rows.unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(rows.len(), 55);

    let mut gateway = setup.start().await;
    for restarted in [false, true] {
        if restarted {
            gateway = gateway.stop().await.start().await;
        }
        for (body, id, sequence) in STORED {
            let again = gateway.post(body).await;
            assert_eq!((&*again.id, again.sequence), (id, sequence));
            assert!(again.duplicate);
        }
        let raw = SubscribeRequest {
            view: EventView::Raw.into(),
            ..SubscribeRequest::default()
        };
        let read = |event: &Event| (event.sequence, event.id.clone(), event.raw_json.to_vec());
        let events = gateway.all(from_earliest(raw), rows.len()).await;
        assert_eq!(events.iter().map(read).collect::<Vec<_>>(), rows);

        let (mut stream, _) = gateway.subscribe(after(AFTER_17)).await;
        let next = rows.iter().find(|(sequence, ..)| *sequence > 17).unwrap();
        assert_eq!(stream.event().await.1.id, next.1);
    }
    let new = gateway.post(call_started(1)).await;
    assert_eq!((new.sequence, new.duplicate), (59, false));
    let (mut stream, _) = gateway.subscribe(after(AFTER_58)).await;
    assert_eq!(stream.event().await.1.id, new.id);
}
