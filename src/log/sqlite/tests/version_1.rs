//! Files of schema version 1.

use std::{fs, io::Read, path::Path};

use rusqlite::{Connection, params};

/// A log that a gateway of version 1 has written: events of every type, posted once or twice, odd
/// bodies, and holes where an operator has removed events.
const FILE: &[u8] = include_bytes!("../../../../tests/fixtures/log/version-1.db.gz");

/// All that a new file of version 1 had.
const SCHEMA: &str = "
    CREATE TABLE events (
        sequence        INTEGER PRIMARY KEY,
        id              BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
        id_hex          TEXT GENERATED ALWAYS AS (lower(hex(id))) VIRTUAL,
        type            TEXT NOT NULL,
        event_name      TEXT NOT NULL,
        trace_id        TEXT NOT NULL,
        organization_id TEXT NOT NULL,
        agent_id        TEXT NOT NULL,
        call_id         TEXT NOT NULL,
        status          TEXT NOT NULL,
        event_time      TEXT NOT NULL,
        receive_time    TEXT NOT NULL,
        raw_json        TEXT NOT NULL,
        raw_headers     TEXT NOT NULL,
        encoded         BLOB NOT NULL
    ) STRICT;
    CREATE INDEX events_by_agent ON events (agent_id);
    CREATE INDEX events_by_call ON events (call_id);

    -- One row. What is last here outlives the event itself.
    CREATE TABLE log (
        only              INTEGER PRIMARY KEY CHECK (only = 1),
        epoch             BLOB NOT NULL CHECK (length(epoch) = 16),
        id_key            BLOB NOT NULL CHECK (length(id_key) = 32),
        created           TEXT NOT NULL,
        trimmed_sequence  INTEGER NOT NULL DEFAULT 0,
        last_sequence     INTEGER NOT NULL DEFAULT 0,
        last_id           BLOB,
        last_receive_time TEXT,
        event_count       INTEGER NOT NULL DEFAULT 0,
        event_bytes       INTEGER NOT NULL DEFAULT 0,
        -- Filled and emptied to find out whether the disk takes an event. Last, so that reading
        -- the others never touches it.
        probe             BLOB
    ) STRICT;

    -- Whoever removes an event, the sums stay true. (octet_length() is too new for the tools that
    -- operators have.)
    CREATE TRIGGER events_removed AFTER DELETE ON events BEGIN
        UPDATE log SET
            event_count = event_count - 1,
            event_bytes = event_bytes
                - length(CAST(old.raw_json AS BLOB))
                - length(CAST(old.raw_headers AS BLOB))
                - length(old.encoded);
    END;
    PRAGMA user_version = 1;
";

/// Writes the kept file.
pub(super) fn unpack(path: &Path) {
    let mut file = Vec::new();
    flate2::read::GzDecoder::new(FILE)
        .read_to_end(&mut file)
        .unwrap();
    fs::write(path, file).unwrap();
}

/// The id of the event at this place in a file of [`make`]. Neighbours are far from each other, as
/// hashes are.
pub(super) fn id(sequence: u64) -> [u8; 16] {
    let hash = blake3::hash(&sequence.to_be_bytes());
    *hash.as_bytes().first_chunk().unwrap()
}

/// Makes a file with so many events, of a hundred agents.
pub(super) fn make(path: &Path, events: u64) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL;")
        .unwrap();
    conn.execute_batch(SCHEMA).unwrap();
    let transaction = conn.unchecked_transaction().unwrap();
    let mut insert = transaction
        .prepare(
            "INSERT INTO events (sequence, id, type, event_name, trace_id, organization_id,
                                 agent_id, call_id, status, event_time, receive_time, raw_json,
                                 raw_headers, encoded)
             VALUES (?1, ?2, 'CALL_STARTED', 'CallHandler.CallStarted', '', '',
                     'agent-' || (?1 * 7919 % 100), 'call-' || (?1 / 3), 'success', ?3, ?3,
                     '{\"n\":' || ?1 || '}', '{}', x'0801')",
        )
        .unwrap();
    let time = "2026-01-01T00:00:00.000000000Z";
    for sequence in 1..=events {
        insert
            .execute(params![sequence, id(sequence), time])
            .unwrap();
    }
    drop(insert);
    transaction
        .execute(
            "INSERT INTO log (only, epoch, id_key, created, last_sequence, last_id,
                              last_receive_time, event_count, event_bytes)
             SELECT 1, randomblob(16), randomblob(32), ?1, ?2, ?3, ?1, count(*),
                    ifnull(sum(length(raw_json) + length(raw_headers) + length(encoded)), 0)
             FROM events",
            params![time, events, (events > 0).then(|| id(events))],
        )
        .unwrap();
    transaction.commit().unwrap();
    conn
}
