//! `log verify`.

use std::{fs, os::unix::fs::FileExt};

use rusqlite::Connection;

use super::{failed, good, log};
use crate::support::{
    PATIENCE,
    bodies::{SAMPLES, call_started},
    eventually_asking,
    process::{Gateway, Setup},
};

#[tokio::test]
async fn a_whole_log_is_whole_beside_a_gateway_and_without_one() {
    let gateway = Gateway::start().await;
    gateway.post_all(SAMPLES.map(String::from)).await;
    gateway.post_all((0..50).map(call_started)).await;
    let said = good(&gateway.setup.data(), &["verify"]).await;
    assert!(
        said.contains("54 events are whole, up to sequence 54"),
        "{said}"
    );
    let setup = gateway.stop().await;
    let said = good(&setup.data(), &["verify"]).await;
    assert!(said.contains("54 events are whole"), "{said}");
    let none = Setup::new();
    let finished = log(&none.data(), &["verify"]).await;
    assert_eq!(finished.code, Some(1), "{finished}");
}

#[tokio::test]
async fn each_kind_of_damage_is_a_line_with_its_sequence_and_what_helps() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..20).map(call_started)).await;
    let setup = gateway.stop().await;
    let data = setup.data();
    let whole = fs::read(setup.log_file()).unwrap();
    for (sql, lines) in [
        (
            "UPDATE events SET status = 'x' WHERE sequence IN (3, 4, 9)",
            &[
                "events 3 to 4: the checksum does not hold",
                "event 9: the checksum",
            ][..],
        ),
        (
            "UPDATE log SET id_key = zeroblob(32)",
            &["its id is not that of its body"],
        ),
        (
            "UPDATE log SET event_count = 21",
            &["log: event_count says 21, and there are 20"],
        ),
        ("DROP INDEX events_by_call", &["events_by_call: is missing"]),
        (
            "DELETE FROM events WHERE sequence = 7; UPDATE log SET event_count = 20",
            &["event 7: is missing"],
        ),
        (
            "UPDATE log SET epoch = randomblob(16)",
            &["log: its identity"],
        ),
    ] {
        let conn = Connection::open(setup.log_file()).unwrap();
        conn.execute_batch(sql).unwrap();
        conn.close().unwrap();
        let finished = log(&data, &["verify"]).await;
        assert_eq!(finished.code, Some(1), "{sql}: {finished}");
        for line in lines {
            assert!(finished.stdout.contains(line), "{sql}: {finished}");
        }
        assert!(finished.stderr.contains("fault"), "{sql}: {finished}");
        fs::write(setup.log_file(), &whole).unwrap();
    }
    good(&data, &["verify"]).await;
    // A page that is no page any more.
    let file = fs::OpenOptions::new()
        .write(true)
        .open(setup.log_file())
        .unwrap();
    file.write_all_at(&[0; 8192], 3 * 8192).unwrap();
    failed(&data, &["verify"]).await;
}

#[tokio::test]
async fn a_log_that_lost_its_newest_events_is_not_whole_and_not_copied() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..20).map(call_started)).await;
    // The mark is a second late at most.
    let mark = gateway.setup.data().join("events.mark");
    let marked = eventually_asking(PATIENCE, "the mark names them", async || {
        let text = fs::read_to_string(&mark).unwrap_or_default();
        text.contains("sequence 20\n").then_some(())
    });
    marked.await;
    let setup = gateway.kill().await;
    fs::remove_file(setup.data().join("events.db-wal")).unwrap();
    let finished = log(&setup.data(), &["verify"]).await;
    assert_eq!(finished.code, Some(1), "{finished}");
    assert!(finished.stdout.contains("are missing"), "{finished}");
    let said = failed(&setup.data(), &["backup", "backup.db"]).await;
    assert!(said.contains("are missing"), "{said}");
}
