//! What was answered with 200 is there after a loss of power, though a sync or a write has failed
//! before.
//!
//! `POWER_LOSS_CALLS=1..60 cargo test --test gateway power_loss::` takes a while: it makes each of
//! these calls of a run fail, at each moment of [`When`], one run each.

use std::collections::HashSet;

use futures_util::future::join_all;
use rusqlite::Connection;
use verbex_gateway::proto::{GetStatusRequest, SubscribeRequest};

use crate::support::{
    PATIENCE,
    bodies::large,
    eventually_asking,
    grpc::from_earliest,
    power::Disk,
    process::{Gateway, Setup},
    webhook::Http,
};

/// What fails, and what goes on meanwhile.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// What is to fail, as [`Disk::fail`] has it.
    fault: (&'static str, &'static str, usize, usize),
    when: When,
    /// Bytes of an event: with 400,000 there is a checkpoint after about 20.
    bytes: usize,
    /// Events before the fault, and after it.
    events: (usize, usize),
    /// Somebody reads along.
    subscriber: bool,
    /// Another program begins to read before half of them, and holds checkpoints up until the
    /// fault.
    reader: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    /// While the first start makes the log.
    Making,
    /// Between two events.
    Running,
    /// The same, and the process is killed right behind it, so that another one goes on.
    RunningThenKilled,
    /// In a start after a kill.
    Starting,
}

const SMALL: Case = Case {
    fault: ("sync", "events.db-wal", 1, 1),
    when: When::Running,
    bytes: 100,
    events: (5, 8),
    subscriber: false,
    reader: false,
};

/// One checkpoint before the fault, and two after it.
const LARGE: Case = Case {
    fault: ("sync", "events.db", 1, 1),
    bytes: 400_000,
    events: (25, 60),
    ..SMALL
};

/// Posts an event until it has its 200.
async fn store(gateway: &Gateway, client: &reqwest::Client, number: usize, bytes: usize) -> String {
    let stored = eventually_asking(PATIENCE, "it takes events again", async || {
        let answer = gateway.send(client, large(number, bytes)).await;
        (answer.status == 200).then(|| answer.stored().id)
    });
    stored.await
}

/// Runs a case. Says whether anything has failed in it: a run has no more calls than it needs.
async fn judge(case: Case) -> bool {
    let (kind, name, nth, times) = case.fault;
    let (setup, disk) = Disk::under(Setup::new());
    if case.when == When::Making {
        disk.fail(kind, name, nth, times);
    }
    let mut gateway = match setup.clone().try_start().await {
        Ok(gateway) => gateway,
        // It says why, and tries again when it is told to.
        Err(finished) => {
            assert!(
                case.when == When::Making && finished.code == Some(1),
                "{case:?} {finished}"
            );
            setup.start().await
        }
    };
    let log = Connection::open(gateway.setup.log_file()).unwrap();
    let mut stream = match case.subscriber {
        true => Some(
            gateway
                .subscribe(from_earliest(SubscribeRequest::default()))
                .await
                .0,
        ),
        false => None,
    };
    let mut client = gateway.http(Http::One);
    let mut stored = Vec::new();
    for number in 0..case.events.0 {
        if case.reader && number == case.events.0 / 2 {
            log.execute_batch("BEGIN; SELECT * FROM log").unwrap();
        }
        stored.push(store(&gateway, &client, number, case.bytes).await);
    }
    if case.reader {
        log.execute_batch("COMMIT").unwrap();
    }
    // It must not be this program that keeps the index in shared memory.
    drop(log);
    if case.when == When::Starting {
        let setup = gateway.kill().await;
        disk.fail(kind, name, nth, times);
        gateway = setup.start().await;
        client = gateway.http(Http::One);
    } else if case.when != When::Making {
        disk.fail(kind, name, nth, times);
    }
    for number in case.events.0..case.events.0 + case.events.1 {
        if case.when == When::RunningThenKilled && number == case.events.0 + 1 {
            gateway = gateway.kill().await.start().await;
            client = gateway.http(Http::One);
        }
        if number == case.events.0 && case.when == When::RunningThenKilled {
            // The one that fails; whether it is stored is nobody's promise.
            let _ = gateway.send(&client, large(number, case.bytes)).await;
        } else {
            stored.push(store(&gateway, &client, number, case.bytes).await);
        }
    }
    let failed = disk.calls().contains(" failed\n");
    let delivered = match &mut stream {
        Some(stream) => stream.take(stored.len()).await,
        None => Vec::new(),
    };

    let setup = disk.lose_power(gateway.kill().await);
    let gateway = setup.start().await;
    let status = gateway.admin().await.get_status(GetStatusRequest {}).await;
    let count = usize::try_from(status.unwrap().into_inner().event_count).unwrap();
    assert!(
        count >= stored.len(),
        "{count} of {} are left: {case:?}",
        stored.len()
    );
    let events = gateway.all(SubscribeRequest::default(), count).await;
    let ids: HashSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
    for id in &stored {
        assert!(ids.contains(id.as_str()), "{id} is lost: {case:?}");
    }
    for event in &delivered {
        assert!(
            ids.contains(event.id.as_str()),
            "a delivered event is lost: {case:?}"
        );
    }
    let setup = gateway.stop().await;
    let log = Connection::open(setup.log_file()).unwrap();
    let check = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let found = log.query_row("PRAGMA integrity_check", [], check).unwrap();
    assert_eq!(found, "ok", "{case:?}");
    failed
}

#[tokio::test]
async fn syncs_and_writes_that_fail_for_a_while_lose_nothing_that_is_answered_afterwards() {
    let mut cases = Vec::new();
    for times in 1..=4 {
        let fault = ("sync", "*", 1, times);
        for when in [When::Running, When::RunningThenKilled, When::Starting] {
            cases.push(Case {
                fault,
                when,
                ..SMALL
            });
        }
        cases.push(Case {
            fault,
            subscriber: true,
            ..SMALL
        });
    }
    for nth in [1, 2] {
        cases.push(Case {
            fault: ("write", "events.db-wal", nth, 2),
            ..SMALL
        });
    }
    let failed = join_all(cases.into_iter().map(judge)).await;
    assert!(failed.into_iter().all(|failed| failed));
}

#[tokio::test]
async fn a_checkpoint_that_fails_loses_nothing_of_what_it_has_moved_before() {
    // The first sync is beside the appender. Of the next few, one is the appender's own.
    for (nth, times, reader) in [(1, 1, false), (1, 1, true), (3, 3, false)] {
        let fault = ("sync", "events.db", nth, times);
        let case = Case {
            fault,
            reader,
            ..LARGE
        };
        assert!(judge(case).await, "nothing has failed: {case:?}");
    }
}

#[tokio::test]
async fn removals_that_are_not_synced_yet_take_no_event_with_them() {
    for fails in [false, true] {
        let (setup, disk) = Disk::under(Setup::new());
        let gateway = setup.set("LOG_RETENTION_AGE", "1s").start().await;
        let client = gateway.http(Http::One);
        let mut stored = Vec::new();
        // Appends and removals take turns.
        for until in [20, 60] {
            if fails && until == 60 {
                disk.fail("sync", "events.db-wal", 2, 1);
            }
            let mut earliest = 0;
            while earliest < until {
                let answer = gateway.store(&client, large(stored.len(), 1000)).await;
                stored.push((answer.sequence, answer.id));
                let status = gateway.admin().await.get_status(GetStatusRequest {}).await;
                earliest = status.unwrap().into_inner().earliest_sequence;
            }
        }
        let setup = disk.lose_power(gateway.kill().await);
        let gateway = setup.set("LOG_RETENTION_AGE", "never").start().await;
        let setup = gateway.stop().await;
        let log = Connection::open(setup.log_file()).unwrap();
        let trimmed = "SELECT trimmed_sequence FROM log";
        let trimmed: u64 = log.query_row(trimmed, [], |row| row.get(0)).unwrap();
        stored.retain(|(sequence, _)| *sequence > trimmed);
        let mut left = log
            .prepare("SELECT sequence, lower(hex(id)) FROM events ORDER BY sequence")
            .unwrap();
        let left = left.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let left: rusqlite::Result<Vec<(u64, String)>> = left.unwrap().collect();
        assert_eq!(left.unwrap(), stored);
    }
}

#[tokio::test]
async fn a_call_that_fails_while_the_log_is_made_is_an_error_or_made_up_for() {
    for nth in 1..6 {
        for kind in ["sync", "write"] {
            let case = Case {
                fault: (kind, "*", nth, 1),
                when: When::Making,
                ..SMALL
            };
            assert!(judge(case).await, "nothing has failed: {case:?}");
        }
    }
}

#[tokio::test]
async fn whatever_call_fails_nothing_is_lost() {
    let (calls, bases) = match std::env::var("POWER_LOSS_CALLS") {
        Err(_) => (1..2, vec![SMALL]),
        Ok(calls) => {
            let (first, last) = calls.split_once("..").expect("FIRST..LAST");
            let calls = first.parse().unwrap()..last.parse().unwrap();
            (calls, vec![SMALL, LARGE])
        }
    };
    for nth in calls {
        for base in bases.clone() {
            for when in [
                When::Making,
                When::Running,
                When::RunningThenKilled,
                When::Starting,
            ] {
                let cases = ["sync", "write", "name"].map(|kind| Case {
                    fault: (kind, "*", nth, 1 + nth % 2),
                    when,
                    reader: nth % 4 == 0,
                    subscriber: nth % 3 == 0 && when == When::Running,
                    ..base
                });
                join_all(cases.map(judge)).await;
            }
        }
    }
}
