//! Files of older versions become files of this version, and nothing of them changes.

use rusqlite::types::Value;

use super::{super::schema, *};

/// The columns that version 1 had, and that keep their values.
const EVENTS: &str = "SELECT sequence, id, id_hex, type, event_name, trace_id, organization_id,
        agent_id, call_id, status, event_time, receive_time, CAST(raw_json AS BLOB), raw_headers,
        encoded
    FROM events ORDER BY sequence";
const LOG: &str = "SELECT epoch, id_key, created, trimmed_sequence, last_sequence, last_id,
        last_receive_time, event_count, event_bytes
    FROM log";

fn rows(conn: &Connection, sql: &str) -> Vec<Vec<Value>> {
    let mut statement = conn.prepare(sql).unwrap();
    let columns = 0..statement.column_count();
    let rows = statement.query_map([], |row| {
        columns.clone().map(|column| row.get(column)).collect()
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// A folder with this log of version 1.
fn home(make: impl FnOnce(&Path)) -> Home {
    let home = Home::new();
    fs::create_dir(home.config().data_dir).unwrap();
    make(&home.file());
    home
}

#[tokio::test]
async fn a_log_of_version_1_keeps_its_events_its_identity_and_its_end() {
    let home = home(version_1::unpack);
    let before = Connection::open(home.file()).unwrap();
    let kept = [EVENTS, LOG].map(|sql| rows(&before, sql));
    before.close().unwrap();

    let log = home.open();
    let events = log.reader.read(all()).await.unwrap().events;
    assert_eq!(events.len(), kept[0].len());
    fill(&log, [1]).await;
    log.appender.finish().await;

    home.sql("DELETE FROM events WHERE sequence = (SELECT max(sequence) FROM events)");
    let after = Connection::open(home.file()).unwrap();
    assert_eq!(rows(&after, EVENTS), kept[0]);
    let mut end = rows(&after, LOG).remove(0);
    let before = &kept[1][0];
    let last = "SELECT last_sequence - 1, event_count, event_bytes FROM log";
    assert_eq!(
        rows(&after, last)[0],
        [before[4].clone(), before[7].clone(), before[8].clone()]
    );
    end.splice(4..7, before[4..7].to_vec());
    assert_eq!(end, *before, "the log's identity and sums");
    let checksums = "SELECT count(*) FROM events WHERE typeof(checksum) <> 'integer'";
    assert_eq!(rows(&after, checksums), [[Value::Integer(0)]]);
    assert_eq!(
        rows(&after, "PRAGMA integrity_check"),
        [["ok".to_owned().into()]]
    );
}

#[tokio::test]
async fn a_log_of_version_1_becomes_what_a_new_one_is() {
    let objects = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
    let columns = "SELECT name, type, \"notnull\", dflt_value, pk, hidden
        FROM pragma_table_xinfo('events')";
    let new = Home::new();
    new.open().appender.finish().await;
    let old = home(|path| drop(version_1::make(path, 0)));
    old.open().appender.finish().await;
    for sql in [objects, columns, "PRAGMA user_version"] {
        let [new, old] =
            [&new, &old].map(|home| rows(&Connection::open(home.file()).unwrap(), sql));
        assert_eq!(new, old, "{sql}");
    }
}

#[tokio::test]
async fn what_an_operator_has_added_or_removed_hinders_no_upgrade() {
    for change in [
        "DROP INDEX events_by_agent",
        "DROP INDEX events_by_agent; CREATE INDEX events_by_agent ON events (agent_id, status)",
        "CREATE INDEX own ON events (status)",
        "ALTER TABLE events ADD COLUMN own TEXT NOT NULL DEFAULT 'x'",
        "CREATE VIEW own AS SELECT * FROM events JOIN log",
        "DROP TRIGGER events_removed",
        "VACUUM",
    ] {
        let home = home(version_1::unpack);
        home.sql(change);
        let before = Connection::open(home.file()).unwrap();
        let kept = [EVENTS, LOG].map(|sql| rows(&before, sql));
        before.close().unwrap();
        home.open().appender.finish().await;
        let after = Connection::open(home.file()).unwrap();
        assert_eq!([EVENTS, LOG].map(|sql| rows(&after, sql)), kept, "{change}");
        let good = Value::Text("ok".into());
        assert_eq!(rows(&after, "PRAGMA integrity_check"), [[good]], "{change}");
        let indexes = "SELECT name FROM pragma_index_list('events') WHERE name <> 'own' ORDER BY 1";
        let left = [[Value::Text("events_by_call".into())]];
        assert_eq!(rows(&after, indexes), left, "{change}");
    }
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_the_log_as_it_was() {
    let home = home(version_1::unpack);
    // A name that the upgrade needs.
    home.sql("CREATE TABLE agent_places (own TEXT)");
    let schema = "SELECT * FROM sqlite_schema";
    let read = || {
        let file = Connection::open(home.file()).unwrap();
        ["PRAGMA user_version", schema, EVENTS, LOG].map(|sql| rows(&file, sql))
    };
    let before = read();
    let error = home.try_open().err().unwrap();
    assert!(matches!(error, OpenError::Database { .. }), "{error}");
    assert_eq!(read(), before);

    home.sql("DROP TABLE agent_places");
    let log = home.open();
    let events = log.reader.read(all()).await.unwrap().events;
    assert_eq!(events.len(), before[2].len());
}

#[tokio::test]
async fn the_view_has_each_event_of_an_agent_listed_or_not() {
    let home = home(|path| drop(version_1::make(path, 1_000)));
    home.open().appender.finish().await;
    let by_agent = "SELECT * FROM events_by_agent WHERE agent_id = 'agent-7' ORDER BY sequence";
    let all = "SELECT * FROM events WHERE agent_id = 'agent-7' ORDER BY sequence";
    // All are in lists, half of them, and none. Entries may outlive their events, and lists may
    // be there that are not complete yet.
    for indexed in [1_000, 500, 0] {
        home.sql(&format!(
            "DELETE FROM agent_places;
             INSERT INTO agent_places (agent_id, first, sequences, checksum)
                 SELECT agent_id, min(sequence), json_group_array(sequence), 0
                 FROM events GROUP BY agent_id, sequence > {indexed};
             UPDATE log SET indexed_sequence = {indexed};
             DELETE FROM events WHERE sequence % 100 = {indexed} / 100;"
        ));
        let file = Connection::open(home.file()).unwrap();
        let found = rows(&file, by_agent);
        assert!(found.len() >= 5, "{}", found.len());
        assert_eq!(found, rows(&file, all), "{indexed}");
    }
}

#[test]
fn only_serving_upgrades_a_log() {
    let home = home(version_1::unpack);
    let before = fs::read(home.file()).unwrap();
    match super::super::open_read_only(&home.config().data_dir) {
        Err(OpenError::OlderSchema {
            found: 1, known, ..
        }) => assert_eq!(known, schema::VERSION),
        other => panic!("{:?}", other.map(|_| ())),
    }
    assert!(fs::read(home.file()).unwrap() == before);
}
