//! What ends a gateway at once, at random moments under load. All that was answered with 200 or
//! delivered is there afterwards, once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::{sleep, timeout};
use verbex_gateway::proto::SubscribeRequest;

use crate::support::{
    bodies::{large, mixed},
    history::{History, Load, Recorder, last_stored},
    power::Disk,
    process::Setup,
    promises::{judge, requests},
};

/// How many a log goes through. The next ones have a new log, so that what is judged stays small.
const ON_ONE_LOG: usize = 20;
const SENDERS: usize = 16;
/// Numbers of the bodies of each sender.
const NUMBERS: usize = 10_000_000;
/// A gateway that has started runs for at most so long, and is often ended much earlier.
const MILLIS_MAX: u64 = 1_500;
const MILLIS_EARLY: u64 = 60;
/// Short enough for the end of a run, long enough for a busy machine.
const PROGRESS: prost_types::Duration = prost_types::Duration {
    seconds: 5,
    nanos: 0,
};
/// Some starts are cut off within that time.
const START_MILLIS: u64 = 80;

#[derive(Clone, Copy, PartialEq)]
enum Disaster {
    Kill,
    PowerLoss,
}

pub(crate) async fn kills(count: usize) -> String {
    repeat(Disaster::Kill, count).await
}

pub(crate) async fn power_losses(count: usize) -> String {
    repeat(Disaster::PowerLoss, count).await
}

async fn repeat(disaster: Disaster, count: usize) -> String {
    let what = match disaster {
        Disaster::Kill => "kills",
        Disaster::PowerLoss => "power losses",
    };
    let seed: u64 = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let mut found = Found::default();
    while found.disasters < count {
        let on_this_log = ON_ONE_LOG.min(count - found.disasters);
        one_log(disaster, on_this_log, &mut random, &mut found).await;
        eprintln!("{what}, seed {seed}: {found:?}");
    }
    format!(
        "{what}: {}, {} of them while it started; {} failed calls before; {} webhooks answered \
         with 200, none lost or twice; longest start {:.0} ms",
        found.disasters,
        found.while_starting,
        found.faults,
        found.answered,
        found.longest_start.as_secs_f64() * 1e3,
    )
}

#[derive(Debug, Default)]
struct Found {
    disasters: usize,
    while_starting: usize,
    /// Writes and syncs that have failed.
    faults: usize,
    answered: usize,
    longest_start: Duration,
}

async fn one_log(disaster: Disaster, count: usize, random: &mut StdRng, found: &mut Found) {
    let (setup, mut disk) = begin(disaster, Setup::new());
    let mut gateway = setup.start().await;
    let recorders = requests().map(|request| SubscribeRequest {
        progress_interval: Some(PROGRESS),
        ..request
    });
    let recorders = recorders.map(|request| Recorder::start(gateway.grpc, request));
    for recorder in &recorders {
        recorder.subscribed().await;
    }
    let ends = Arc::new(AtomicBool::new(false));
    let loads = (0..SENDERS).map(|sender| {
        let ends = ends.clone();
        let bodies = bodies(sender).take_while(move |_| !ends.load(Ordering::Relaxed));
        Load::start(&gateway, bodies)
    });
    let loads: Vec<Load> = loads.collect();

    for _ in 0..count {
        let millis_max = match random.random_bool(0.25) {
            true => MILLIS_EARLY,
            false => MILLIS_MAX,
        };
        let moment = Duration::from_millis(random.random_range(0..millis_max));
        sleep(moment / 2).await;
        if let Some(disk) = &disk
            && random.random_bool(0.5)
        {
            let kind = ["sync", "write"][random.random_range(0..2)];
            let (nth, times) = (random.random_range(1..20), random.random_range(1..3));
            disk.fail(kind, "*", nth, times);
        }
        sleep(moment / 2).await;
        let mut setup = gateway.kill().await;
        found.disasters += 1;
        if random.random_bool(0.25) {
            let moment = Duration::from_millis(random.random_range(0..START_MILLIS));
            // What is dropped is killed.
            let started = timeout(moment, setup.clone().start()).await;
            found.while_starting += usize::from(started.is_err());
        }
        if let Some(disk) = &disk {
            found.faults += disk.calls().matches(" failed\n").count();
            setup = disk.lose_power(setup);
        }
        (setup, disk) = begin(disaster, setup);
        let start = Instant::now();
        gateway = setup.start().await;
        found.longest_start = found.longest_start.max(start.elapsed());
    }
    sleep(Duration::from_millis(200)).await;
    ends.store(true, Ordering::Relaxed);
    let mut history = History::default();
    for load in loads {
        history.posts.extend(load.finished().await);
    }
    let last = last_stored(&history.posts);
    for recorder in recorders {
        history.subscribers.push(recorder.until(last).await);
    }
    judge(&history);
    found.answered += history.posts.iter().filter(|p| p.answer.is_some()).count();
}

/// Puts a disk that can lose power under a gateway, if it is to.
fn begin(disaster: Disaster, setup: Setup) -> (Setup, Option<Disk>) {
    match disaster {
        Disaster::Kill => (setup, None),
        Disaster::PowerLoss => {
            let (setup, disk) = Disk::under(setup);
            (setup, Some(disk))
        }
    }
}

/// Small and large ones. Each tenth is sent twice.
fn bodies(sender: usize) -> impl Iterator<Item = String> + Send {
    (0..NUMBERS).flat_map(move |number| {
        let mine = sender * NUMBERS + number;
        match number % 10 {
            0 => vec![mixed(mine), mixed(mine)],
            2 if number % 50 == 2 => vec![large(mine, 100_000)],
            _ => vec![mixed(mine)],
        }
    })
}
