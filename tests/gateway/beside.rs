//! A webhook waits for its own commit only: checkpoints, backups and readers are beside it.

use std::collections::HashSet;

use rusqlite::Connection;
use verbex_gateway::proto::SubscribeRequest;

use crate::support::{
    PATIENCE,
    bodies::{call_started, large},
    eventually_asking,
    power::Disk,
    process::{Gateway, Setup, spawn},
    soon,
    webhook::Http,
};

/// Bytes of an event of which about 20 make a checkpoint due, and 80 make the write-ahead log long.
const EVENT_BYTES: usize = 400_000;
/// The size to which a long write-ahead log is cut back.
const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of the write-ahead log, as the gateway tells them.
async fn wal_bytes(gateway: &Gateway) -> u64 {
    const NAME: &str = "verbex_gateway_log_bytes{file=\"events.db-wal\"} ";
    let page = gateway.operations("/metrics").await.text;
    let value = page.lines().find_map(|line| line.strip_prefix(NAME));
    value.expect(NAME).parse().expect("a number")
}

#[tokio::test]
async fn webhooks_are_answered_while_the_sync_of_a_checkpoint_hangs_whether_it_fails_or_not() {
    for fails in [false, true] {
        let (setup, disk) = Disk::under(Setup::new());
        let gateway = setup.start().await;
        let client = gateway.http(Http::One);
        let mut stored = HashSet::new();
        let mut post = async || {
            let body = large(stored.len(), EVENT_BYTES);
            let answer = soon("an answer", gateway.store(&client, body)).await;
            stored.insert(answer.id);
        };
        disk.hold("events.db");
        let hangs = || disk.calls().contains("sync events.db waits\n");
        while !hangs() {
            post().await;
        }
        for _ in 0..20 {
            post().await;
        }
        if fails {
            disk.fail("sync", "events.db", 1, 1);
        }
        disk.release();
        let done = match fails {
            false => "sync events.db\n",
            true => "sync events.db failed\n",
        };
        let calls = disk.calls().len();
        while !disk.calls()[calls..].contains(done) {
            post().await;
        }
        post().await;
        let gateway = disk.lose_power(gateway.kill().await).start().await;
        let events = gateway.all(SubscribeRequest::default(), stored.len()).await;
        let ids: HashSet<String> = events.into_iter().map(|event| event.id).collect();
        assert_eq!(ids, stored);
    }
}

#[tokio::test]
async fn on_a_slow_disk_a_group_has_one_sync_and_a_checkpoint_adds_two() {
    let (setup, disk) = Disk::under(Setup::new());
    let gateway = setup.start().await;
    let client = gateway.http(Http::One);
    let syncs = || disk.calls().matches("sync events.db-wal\n").count();
    let before = syncs();
    disk.slow_down(50);
    for number in 0..60 {
        let body = large(number, EVENT_BYTES);
        soon("an answer", gateway.store(&client, body)).await;
    }
    let syncs = syncs() - before;
    assert!((60..=60 + 2 * 3).contains(&syncs), "{syncs}");
}

#[tokio::test]
async fn webhooks_are_answered_while_a_large_log_is_copied() {
    let gateway = Gateway::start().await;
    let client = gateway.http(Http::One);
    for number in 0..60 {
        gateway.store(&client, large(number, EVENT_BYTES)).await;
    }
    let data = gateway.setup.data().display().to_string();
    let args = ["log", "backup", "backup.db", "--data-dir", &data];
    let mut backup = Box::pin(spawn(gateway.setup.folder(), &args).finished());
    let mut number = 0;
    let finished = loop {
        tokio::select! {
            finished = &mut backup => break finished,
            _ = gateway.store(&client, call_started(number)) => number += 1,
        }
    };
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!(number > 0, "none was answered meanwhile");
}

#[tokio::test]
async fn while_somebody_reads_for_long_webhooks_are_answered_and_it_is_told() {
    let gateway = Gateway::start().await;
    let client = gateway.http(Http::One);
    gateway.store(&client, large(0, EVENT_BYTES)).await;
    let reader = Connection::open(gateway.setup.log_file()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM log").unwrap();
    let said = || {
        gateway
            .output()
            .1
            .contains("the write-ahead log cannot shrink")
    };
    let mut number = 0;
    while !said() {
        number += 1;
        gateway.store(&client, large(number, EVENT_BYTES)).await;
    }
    eventually_asking(PATIENCE, "the metric says so", async || {
        (wal_bytes(&gateway).await > WAL_BYTES_MAX).then_some(())
    })
    .await;
    // When the reader has gone, all is moved, and the file is cut back.
    reader.execute_batch("COMMIT").unwrap();
    eventually_asking(2 * PATIENCE, "the write-ahead log is short", async || {
        number += 1;
        gateway.store(&client, call_started(number)).await;
        (wal_bytes(&gateway).await <= WAL_BYTES_MAX).then_some(())
    })
    .await;
}
