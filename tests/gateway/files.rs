//! Whatever becomes of the log's files under a running gateway, a 200 is for what a restart finds.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::future::join_all;

use crate::support::{
    PATIENCE,
    bodies::call_started,
    eventually_asking,
    process::{Gateway, Setup},
    webhook::{Answer, Http},
};

/// What somebody does to the files, with what the gateway's log has to say of it.
struct Harm {
    what: &'static str,
    done: fn(&Place),
    said: &'static str,
    /// What makes it good again, without a restart.
    undone: Option<fn(&Place)>,
    /// Whether a restart finds all that was answered with 200.
    kept: bool,
}

/// The files of a gateway, and room beside its folder.
struct Place {
    setup: Setup,
}

impl Place {
    fn file(&self, name: &str) -> PathBuf {
        self.setup.data().join(name)
    }

    fn aside(&self, name: &str) -> PathBuf {
        self.setup.folder().join(name)
    }

    fn take_away(&self, names: &[&str]) {
        for name in names {
            fs::rename(self.file(name), self.aside(name)).unwrap();
        }
    }

    fn put_back(&self, names: &[&str]) {
        for name in names {
            fs::rename(self.aside(name), self.file(name)).unwrap();
        }
    }

    fn cut(&self, name: &str, bytes: u64) {
        let file = File::options().write(true).open(self.file(name));
        file.unwrap().set_len(bytes).unwrap();
    }

    /// Copies all three files to where [`Self::write_over`] finds them.
    fn copy(&self, of: &Setup, kind: &str) {
        fs::create_dir(self.aside(kind)).unwrap();
        for name in ALL {
            fs::copy(of.data().join(name), self.aside(kind).join(name)).unwrap();
        }
    }

    /// As `cp` does: into the same file.
    fn write_over(&self, names: &[&str], kind: &str) {
        for name in names {
            fs::copy(self.aside(kind).join(name), self.file(name)).unwrap();
        }
    }

    /// A whole log of another gateway.
    fn another_log(&self) -> PathBuf {
        self.aside("another.db")
    }
}

const ALL: [&str; 3] = ["events.db", "events.db-wal", "events.db-shm"];

const HARMS: [Harm; 15] = [
    Harm {
        what: "rm events.db*",
        done: |place| place.take_away(&ALL),
        said: "events.db was removed or moved away",
        undone: Some(|place| place.put_back(&ALL)),
        kept: true,
    },
    Harm {
        what: "mv events.db away",
        done: |place| place.take_away(&["events.db"]),
        said: "events.db was removed or moved away",
        undone: Some(|place| place.put_back(&["events.db"])),
        kept: true,
    },
    Harm {
        what: "mv another file over it",
        done: |place| {
            fs::hard_link(place.file("events.db"), place.aside("first.db")).unwrap();
            fs::copy(place.another_log(), place.aside("copy.db")).unwrap();
            fs::rename(place.aside("copy.db"), place.file("events.db")).unwrap();
        },
        said: "events.db is another file",
        undone: Some(|place| fs::rename(place.aside("first.db"), place.file("events.db")).unwrap()),
        kept: true,
    },
    Harm {
        what: "cp another log over it",
        done: |place| {
            fs::copy(place.file("events.db"), place.aside("first.db")).unwrap();
            fs::copy(place.another_log(), place.file("events.db")).unwrap();
        },
        said: "events.db was written over",
        undone: Some(|place| {
            fs::copy(place.aside("first.db"), place.file("events.db")).unwrap();
        }),
        kept: true,
    },
    Harm {
        what: "truncate -s 0 events.db",
        done: |place| {
            fs::copy(place.file("events.db"), place.aside("first.db")).unwrap();
            place.cut("events.db", 0);
        },
        said: "events.db was cut short",
        undone: Some(|place| {
            fs::copy(place.aside("first.db"), place.file("events.db")).unwrap();
        }),
        kept: true,
    },
    Harm {
        what: "truncate -s 8192 events.db",
        done: |place| place.cut("events.db", 8192),
        said: "events.db was cut short",
        undone: None,
        kept: false,
    },
    Harm {
        what: "mv the folder, and make it anew",
        done: |place| {
            fs::rename(place.setup.data(), place.aside("moved")).unwrap();
            fs::create_dir(place.setup.data()).unwrap();
        },
        said: "events.db was removed or moved away",
        undone: Some(|place| {
            fs::remove_dir(place.setup.data()).unwrap();
            fs::rename(place.aside("moved"), place.setup.data()).unwrap();
        }),
        kept: true,
    },
    Harm {
        what: "rm events.db-wal",
        done: |place| fs::remove_file(place.file("events.db-wal")).unwrap(),
        said: "events.db-wal was removed",
        undone: None,
        kept: true,
    },
    Harm {
        what: "truncate -s 0 events.db-wal",
        done: |place| place.cut("events.db-wal", 0),
        said: "events.db-wal was emptied or cut short",
        undone: None,
        kept: false,
    },
    Harm {
        what: "truncate -s 100000 events.db-wal",
        done: |place| place.cut("events.db-wal", 100_000),
        said: "events.db-wal was emptied or cut short",
        undone: None,
        kept: false,
    },
    Harm {
        what: "rm events.db-shm",
        done: |place| fs::remove_file(place.file("events.db-shm")).unwrap(),
        said: "events.db-shm was removed",
        undone: None,
        kept: true,
    },
    Harm {
        what: "cp an older -shm over it",
        done: |place| place.write_over(&["events.db-shm"], "older"),
        said: "events.db was written over",
        undone: None,
        kept: true,
    },
    Harm {
        what: "cp an older copy of all three over them",
        done: |place| place.write_over(&ALL, "older"),
        said: "events.db was written over",
        undone: None,
        kept: false,
    },
    Harm {
        what: "cp the -wal of another log over it",
        done: |place| {
            fs::copy(place.file("events.db-wal"), place.aside("first-wal")).unwrap();
            place.write_over(&["events.db-wal"], "another");
        },
        said: "was written over by something else: they do not belong together",
        undone: Some(|place| {
            fs::copy(place.aside("first-wal"), place.file("events.db-wal")).unwrap();
        }),
        kept: true,
    },
    Harm {
        what: "cp the -shm of another log over it",
        done: |place| place.write_over(&["events.db-shm"], "another"),
        said: "was written over by something else",
        undone: None,
        kept: true,
    },
];

fn names(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}

async fn taken(gateway: &Gateway, client: &reqwest::Client, number: usize) -> String {
    let taken = eventually_asking(PATIENCE, "it takes events again", async || {
        let answer = gateway.send(client, call_started(number)).await;
        (answer.status == 200).then(|| answer.stored().id)
    });
    taken.await
}

async fn judge(harm: &Harm, another_log: &Path, running: &Setup) {
    let gateway = Gateway::start().await;
    let place = Place {
        setup: gateway.setup.clone(),
    };
    fs::copy(another_log, place.another_log()).unwrap();
    let client = gateway.http(Http::One);
    let mut stored = Vec::new();
    for number in 0..3 {
        stored.push(taken(&gateway, &client, number).await);
        if number == 0 {
            place.copy(&place.setup, "older");
        }
    }
    place.copy(running, "another");
    (harm.done)(&place);
    let before = names(&place.setup.data());
    let found = fs::read(place.file("events.db")).ok();
    for number in 3..6 {
        let answer: Answer = gateway.send(&client, call_started(number)).await;
        assert_eq!(answer.status, 503, "{}: {answer:?}", harm.what);
        assert_eq!(answer.code(), "LOG_UNAVAILABLE");
    }
    assert_eq!(gateway.operations("/readyz").await.status, 503);
    let said = eventually_asking(PATIENCE, harm.what, async || {
        let (_, log) = gateway.output();
        let mut lines = log.lines().filter(|line| line.contains("ERROR"));
        lines.any(|line| line.contains(harm.said)).then_some(())
    });
    said.await;
    // It looks again each second, and that does no harm either.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(names(&place.setup.data()), before, "{}", harm.what);
    if !harm.what.contains("-wal") {
        let now = fs::read(place.file("events.db")).ok();
        assert!(now == found, "{}: it was written to", harm.what);
    }
    if let Some(undo) = harm.undone {
        undo(&place);
        stored.push(taken(&gateway, &client, 6).await);
        assert_eq!(gateway.operations("/readyz").await.status, 200);
    }
    if harm.kept {
        let gateway = gateway.stop().await.start().await;
        let client = gateway.http(Http::One);
        for (number, id) in stored.iter().enumerate() {
            let number = if number == 3 { 6 } else { number };
            let again = gateway.send(&client, call_started(number)).await.stored();
            assert_eq!((&again.id, again.duplicate), (id, true), "{}", harm.what);
        }
    }
}

#[tokio::test]
async fn nothing_is_answered_with_200_that_is_in_no_file_a_restart_finds() {
    let other = Gateway::start().await;
    other.post(call_started(1)).await;
    let setup = other.stop().await;
    let another = setup.log_file();
    // And one that runs, with more in its -wal than those it is copied to.
    let running = Gateway::start().await;
    for number in 0..20 {
        running.post(call_started(number)).await;
    }
    let harms = HARMS.iter();
    join_all(harms.map(|harm| judge(harm, &another, &running.setup))).await;
}

#[tokio::test]
async fn a_log_that_has_lost_its_one_row_takes_nothing() {
    let gateway = Gateway::start().await;
    gateway.post(call_started(1)).await;
    let log = rusqlite::Connection::open(gateway.setup.log_file()).unwrap();
    log.execute("DELETE FROM log", []).unwrap();
    let client = gateway.http(Http::One);
    for number in 1..4 {
        let answer: Answer = gateway.send(&client, call_started(number)).await;
        assert_eq!(
            (answer.status, answer.code()),
            (503, "LOG_UNAVAILABLE".to_owned())
        );
    }
    eventually_asking(PATIENCE, "the reason", async || {
        let (_, log) = gateway.output();
        log.contains("events.db was written over").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_becomes_of_the_files_is_noticed_while_nothing_comes_in() {
    let gateway = Gateway::start().await;
    gateway.post(call_started(1)).await;
    let place = Place {
        setup: gateway.setup.clone(),
    };
    let ready = async |status: u16| {
        eventually_asking(PATIENCE, "the probe", async || {
            (gateway.operations("/readyz").await.status == status).then_some(())
        })
        .await;
    };
    place.take_away(&ALL);
    ready(503).await;
    place.put_back(&ALL);
    ready(200).await;
    gateway.post(call_started(2)).await;
}
