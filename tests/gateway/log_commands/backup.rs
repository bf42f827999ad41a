//! `log backup` and `log restore`.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rusqlite::Connection;
use tonic::Code;
use verbex_gateway::proto::SubscribeRequest;

use super::{failed, good, log};
use crate::support::{
    bodies::{SAMPLES, call_started, large},
    eventually,
    grpc::{Refusal, after, from_earliest},
    process::{Gateway, Setup, spawn},
};

async fn refused(gateway: &Gateway, cursor: &str) -> (Code, String) {
    let status = gateway.try_subscribe(after(cursor)).await;
    let refusal = Refusal::of(&status.err().expect("a refusal"));
    (refusal.code, refusal.reason)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_beside_a_running_gateway_is_restored_to_the_same_events() {
    let gateway = Gateway::start().await;
    let data = gateway.setup.data();
    gateway.post_all(SAMPLES.map(String::from)).await;
    gateway.post_all((0..50).map(call_started)).await;
    let events = gateway.all(SubscribeRequest::default(), 54).await;
    let said = good(&data, &["backup", "backup.db"]).await;
    assert!(said.contains("54 events"), "{said}");
    let file = gateway.setup.folder().join("backup.db");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    // What comes later is not in it, and it is not written over.
    gateway.post_all((50..60).map(call_started)).await;
    let before = fs::read(&file).unwrap();
    let said = failed(&data, &["backup", "backup.db"]).await;
    assert!(said.contains("is there already"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), before);
    let side: Vec<String> = names(gateway.setup.folder());
    assert!(
        !side.iter().any(|name| name.contains("unfinished")),
        "{side:?}"
    );

    let restored = Setup::new();
    let said = failed(&restored.data(), &["restore", "none.db"]).await;
    assert!(said.contains("cannot read the backup none.db"), "{said}");
    let words = ["restore", &file.display().to_string()];
    let said = good(&restored.data(), &words).await;
    assert!(said.contains("54 events"), "{said}");
    let again = failed(&restored.data(), &words).await;
    assert!(again.contains("already has a log"), "{again}");
    let restored = restored.start().await;
    assert_eq!(restored.all(SubscribeRequest::default(), 54).await, events);
    let stored = restored.post(call_started(99)).await;
    assert_eq!(stored.sequence, 55);
}

#[tokio::test]
async fn cursors_given_out_after_the_backup_are_foreign_even_if_the_same_event_comes_again() {
    let gateway = Gateway::start().await;
    let data = gateway.setup.data();
    gateway.post_all((0..3).map(call_started)).await;
    good(&data, &["backup", "backup.db"]).await;
    gateway.post_all((3..6).map(call_started)).await;
    let (mut stream, _) = gateway.subscribe(from_earliest(Default::default())).await;
    let mut cursors = Vec::new();
    for _ in 0..6 {
        cursors.push(stream.event().await.0);
    }
    let setup = gateway.stop().await;
    for name in ["events.db", "events.db-wal", "events.db-shm"] {
        let _ = fs::remove_file(data.join(name));
    }
    good(&data, &["restore", "backup.db"]).await;
    let gateway = setup.start().await;
    // Another event at sequence 4, and then the same ones as before at 5 and 6.
    gateway.post_all([9, 4, 5].map(call_started)).await;
    for cursor in &cursors[3..] {
        let foreign = (Code::FailedPrecondition, "CURSOR_FOREIGN_LOG".to_owned());
        assert_eq!(refused(&gateway, cursor).await, foreign);
    }
    for (cursor, next) in cursors[..3].iter().zip(2..) {
        let (mut stream, _) = gateway.subscribe(after(cursor)).await;
        assert_eq!(stream.event().await.1.sequence, next);
    }
    // A second restore keeps what the first one knew.
    good(&data, &["backup", "second.db"]).await;
    let (mut stream, _) = gateway.subscribe(after(&cursors[2])).await;
    let newer = stream.event().await.0;
    let setup = gateway.stop().await;
    for name in ["events.db", "events.db-wal", "events.db-shm"] {
        let _ = fs::remove_file(data.join(name));
    }
    good(&data, &["restore", "second.db"]).await;
    let gateway = setup.start().await;
    for (cursor, next) in [(&cursors[0], 2), (&newer, 5)] {
        let (mut stream, _) = gateway.subscribe(after(cursor)).await;
        assert_eq!(stream.event().await.1.sequence, next);
    }
    assert_eq!(refused(&gateway, &cursors[5]).await.1, "CURSOR_FOREIGN_LOG");
}

/// What is known of a log that was there before must not keep a restored one from starting.
#[tokio::test]
async fn a_restored_log_starts_in_a_folder_that_had_another_or_a_longer_one() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..3).map(call_started)).await;
    let data = gateway.setup.data();
    good(&data, &["backup", "backup.db"]).await;
    gateway.post_all((3..9).map(call_started)).await;
    let file = gateway.setup.folder().join("backup.db");
    let words = ["restore", &file.display().to_string()];
    let longer = gateway.stop().await;
    let other = Gateway::start().await;
    other.post_all((10..20).map(call_started)).await;
    let other = other.stop().await;
    // The backup lies in the folder of the first.
    for setup in [longer.clone(), other] {
        let data = setup.data();
        assert!(data.join("events.mark").exists());
        fs::remove_file(data.join("events.db")).unwrap();
        good(&data, &words).await;
        let gateway = setup.start().await;
        assert_eq!(gateway.post(call_started(50)).await.sequence, 4);
        let setup = gateway.stop().await;
        // From its first start on, the restored log has a mark of its own.
        fs::copy(&file, data.join("events.db")).unwrap();
        let finished = setup.refused().await;
        assert!(finished.stderr.contains("--accept-loss"), "{finished}");
    }
}

#[tokio::test]
async fn a_killed_backup_leaves_no_backup_and_an_interrupted_one_nothing() {
    let gateway = Gateway::start().await;
    let data = gateway.setup.data();
    let folder = gateway.setup.folder();
    gateway
        .post_all((0..40).map(|number| large(number, 900_000)))
        .await;
    let data_dir = data.display().to_string();
    let args = ["log", "backup", "killed.db", "--data-dir", &data_dir];
    for signal in ["INT", "KILL"] {
        let process = spawn(folder, &args);
        let draft = folder.join(".killed.db.unfinished");
        let begun = || (draft.exists() || folder.join("killed.db").exists()).then_some(());
        eventually("the copy begins", begun).await;
        process.signal(signal);
        let finished = process.finished().await;
        assert_ne!(finished.code, Some(0), "{finished}");
        assert!(!folder.join("killed.db").exists(), "{finished}");
        assert_eq!(draft.exists(), signal == "KILL", "{finished}");
    }
    good(&data, &["backup", "killed.db"]).await;
    assert!(!folder.join(".killed.db.unfinished").exists());
}

#[tokio::test]
async fn a_backup_that_was_damaged_or_is_none_is_not_restored() {
    let gateway = Gateway::start().await;
    gateway
        .post_all((0..20).map(|number| large(number, 20_000)))
        .await;
    good(&gateway.setup.data(), &["backup", "backup.db"]).await;
    let file = gateway.setup.folder().join("backup.db");
    let whole = fs::read(&file).unwrap();
    let cut = whole[..whole.len() / 2].to_vec();
    let mut zeroed = whole.clone();
    zeroed[4 * 8192..5 * 8192].fill(0);
    for (what, bytes) in [
        ("cut", cut),
        ("zeroed", zeroed),
        ("text", b"hello".to_vec()),
    ] {
        fs::write(&file, bytes).unwrap();
        let setup = Setup::new();
        let finished = log(&setup.data(), &["restore", &file.display().to_string()]).await;
        assert_eq!(finished.code, Some(1), "{what}: {finished}");
        assert_eq!(names(&setup.data()), ["gateway.lock"], "{what}: {finished}");
    }
    fs::write(&file, whole).unwrap();
    let running = failed(&gateway.setup.data(), &["restore", "backup.db"]).await;
    assert!(running.contains("in use"), "{running}");
    // Other programs' copies are backups, too.
    let copy = gateway.setup.folder().join("copy.db");
    let conn = Connection::open(gateway.setup.log_file()).unwrap();
    conn.execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    let setup = Setup::new();
    good(&setup.data(), &["restore", &copy.display().to_string()]).await;
}
