//! Whatever becomes of the log's files while the gateway is down, its next start says that events
//! are missing.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use futures_util::future::join_all;
use rusqlite::Connection;
use tonic::Code;
use verbex_gateway::proto::SubscribeRequest;

use crate::support::{
    PATIENCE,
    bodies::call_started,
    eventually_asking,
    grpc::{Refusal, after, from_earliest},
    process::{Gateway, Setup},
};

/// What somebody does to the files of a gateway that was killed.
struct Harm {
    what: &'static str,
    done: fn(&Place),
    said: &'static str,
    /// Whether the log can go on with what is there.
    can_go_on: bool,
}

struct Place(Setup);

impl Place {
    fn file(&self, name: &str) -> PathBuf {
        self.0.data().join(name)
    }

    /// Keeps a copy of the log's files.
    fn keep(&self, kind: &str) {
        let to = self.0.folder().join(kind);
        fs::create_dir(&to).unwrap();
        for name in ["events.db", "events.db-wal"] {
            if self.file(name).exists() {
                fs::copy(self.file(name), to.join(name)).unwrap();
            }
        }
    }

    fn put(&self, kind: &str, name: &str) {
        fs::copy(self.0.folder().join(kind).join(name), self.file(name)).unwrap();
    }

    fn change(&self, at: impl FnOnce(u64) -> u64, bits: u8) {
        let path = self.file("events.db-wal");
        let file = File::options().read(true).write(true).open(path).unwrap();
        let at = at(file.metadata().unwrap().len());
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ bits], at).unwrap();
    }
}

const MISSING: &str = "are missing, and perhaps some after them";

const HARMS: [Harm; 8] = [
    Harm {
        what: "rm events.db-wal",
        done: |place| fs::remove_file(place.file("events.db-wal")).unwrap(),
        said: MISSING,
        can_go_on: true,
    },
    Harm {
        what: "truncate -s 0 events.db-wal",
        done: |place| fs::write(place.file("events.db-wal"), "").unwrap(),
        said: MISSING,
        can_go_on: true,
    },
    Harm {
        what: "garbage in events.db-wal",
        done: |place| fs::write(place.file("events.db-wal"), "garbage".repeat(9_000)).unwrap(),
        said: MISSING,
        can_go_on: true,
    },
    Harm {
        what: "a bit of events.db-wal, in its middle",
        done: |place| place.change(|length| length / 2, 1),
        said: MISSING,
        can_go_on: true,
    },
    Harm {
        what: "a bit of the last page of events.db-wal",
        done: |place| place.change(|length| length - 10, 0x80),
        said: MISSING,
        can_go_on: true,
    },
    Harm {
        what: "the -wal of an older copy",
        done: |place| place.put("third", "events.db-wal"),
        said: MISSING,
        can_go_on: true,
    },
    Harm {
        what: "an older copy of all",
        done: |place| {
            fs::remove_file(place.file("events.db-wal")).unwrap();
            place.put("second", "events.db");
        },
        said: MISSING,
        can_go_on: true,
    },
    Harm {
        what: "an older copy of events.db beside the later -wal",
        done: |place| place.put("first", "events.db"),
        said: "is an older copy than its -wal file",
        can_go_on: false,
    },
];

/// A gateway that was killed with four events in events.db and nine in all, known by its mark. The
/// copies were made with two, four and six events. Returns the cursors of all.
async fn killed() -> (Place, Vec<String>) {
    let mut setup = Setup::new();
    for (kind, numbers) in [("first", 0..2), ("second", 2..4)] {
        let gateway = setup.start().await;
        gateway.post_all(numbers.map(call_started)).await;
        setup = gateway.stop().await;
        Place(setup.clone()).keep(kind);
    }
    let gateway = setup.start().await;
    gateway.post_all((4..6).map(call_started)).await;
    let place = Place(gateway.setup.clone());
    place.keep("third");
    gateway.post_all((6..9).map(call_started)).await;
    let (mut stream, _) = gateway
        .subscribe(from_earliest(SubscribeRequest::default()))
        .await;
    let mut cursors = Vec::new();
    for _ in 0..9 {
        cursors.push(stream.event().await.0);
    }
    eventually_asking(PATIENCE, "the mark", async || {
        let mark = fs::read_to_string(place.file("events.mark")).unwrap();
        mark.contains("\nsequence 9\n").then_some(())
    })
    .await;
    (Place(gateway.kill().await), cursors)
}

async fn judge(harm: &Harm) {
    let (place, cursors) = killed().await;
    (harm.done)(&place);
    let wal = fs::read(place.file("events.db-wal")).ok();
    for _ in 0..2 {
        let finished = place.0.clone().refused().await;
        assert_eq!(finished.code, Some(1), "{}: {finished}", harm.what);
        assert!(
            finished.stderr.contains(harm.said),
            "{}: {finished}",
            harm.what
        );
        let now = fs::read(place.file("events.db-wal")).ok();
        assert!(now == wal, "{}: it was changed", harm.what);
    }
    let accepting = place.0.clone().arg("--accept-loss");
    if !harm.can_go_on {
        let finished = accepting.refused().await;
        assert_eq!(finished.code, Some(1), "{}: {finished}", harm.what);
        return;
    }
    let gateway = accepting.start().await;
    let stored = gateway.post(call_started(8)).await;
    assert!(
        stored.sequence > 1_000_009,
        "{}: {}",
        harm.what,
        stored.sequence
    );
    // A cursor of a lost event is refused, though the event has come again.
    let refusal = match gateway.try_subscribe(after(&cursors[8])).await {
        Err(status) => Refusal::of(&status),
        Ok(_) => panic!("{}: not refused", harm.what),
    };
    let foreign = (Code::FailedPrecondition, "CURSOR_FOREIGN_LOG");
    assert_eq!(refusal.row(), foreign, "{}", harm.what);
    // One from before goes on.
    let (mut stream, _) = gateway.subscribe(after(&cursors[0])).await;
    assert_eq!(stream.event().await.1.sequence, 2, "{}", harm.what);
    let (mut stream, live) = gateway.subscribe(SubscribeRequest::default()).await;
    let next = gateway.post(call_started(20)).await;
    assert_eq!(stream.event().await.1.sequence, next.sequence);
    // The next start has nothing to say.
    let setup = gateway.stop().await;
    let data = fs::read_dir(setup.data()).unwrap();
    let kept = data.flatten().any(|file| {
        let name = file.file_name();
        name.to_string_lossy().contains(".aside-")
    });
    assert_eq!(
        kept,
        wal.is_some_and(|wal| !wal.is_empty()),
        "{}",
        harm.what
    );
    let gateway = Setup::start(setup).await;
    let (mut stream, _) = gateway.subscribe(after(&live.cursor)).await;
    assert_eq!(stream.event().await.1.sequence, next.sequence);
}

#[tokio::test]
async fn a_start_says_what_is_missing_and_goes_on_only_when_it_is_told_to() {
    join_all(HARMS.iter().map(judge)).await;
}

#[tokio::test]
async fn a_change_in_the_middle_of_a_running_wal_is_noticed_by_the_next_start_after_a_kill() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..9).map(call_started)).await;
    let place = Place(gateway.setup.clone());
    eventually_asking(PATIENCE, "the mark", async || {
        let mark = fs::read_to_string(place.file("events.mark")).unwrap();
        mark.contains("\nsequence 9\n").then_some(())
    })
    .await;
    place.change(|length| length / 2, 4);
    let setup = gateway.kill().await;
    let finished = setup.refused().await;
    assert!(finished.stderr.contains(MISSING), "{finished}");
}

#[tokio::test]
async fn a_folder_that_was_copied_as_a_whole_is_a_log_like_any() {
    let (place, _) = killed().await;
    let copied = Setup::new();
    fs::create_dir(copied.data()).unwrap();
    for name in ["events.db", "events.db-wal", "events.mark"] {
        fs::copy(place.file(name), copied.data().join(name)).unwrap();
    }
    let gateway = copied.start().await;
    assert_eq!(gateway.post(call_started(30)).await.sequence, 10);
}

#[tokio::test]
async fn a_stop_while_another_program_reads_the_log_leaves_all_of_it() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..20).map(call_started)).await;
    let reader = Connection::open(gateway.setup.log_file()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM log").unwrap();
    gateway.post_all((20..40).map(call_started)).await;
    // The write-ahead log keeps what the reader does not see yet.
    let setup = gateway.stop().await;
    let gateway = setup.start().await;
    assert_eq!(
        gateway
            .all(from_earliest(SubscribeRequest::default()), 40)
            .await
            .len(),
        40
    );
    drop(reader);
    gateway.post(call_started(40)).await;
    assert_eq!(
        gateway
            .all(from_earliest(SubscribeRequest::default()), 41)
            .await
            .len(),
        41
    );
}
