//! Everything at once for a long time: webhooks of all sizes, repeats, subscribers, retention,
//! backups, restarts and kills. Memory and files are watched, and each acknowledged event reaches
//! the subscriber that keeps up.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::sleep};
use tonic::transport::Channel;
use verbex_gateway::proto::{
    ExpiredCursorAction, SubscribeRequest, event_service_client::EventServiceClient,
    subscribe_request::Start, subscribe_response::Response,
};

use crate::support::{
    PATIENCE,
    bodies::{large, mixed},
    eventually_within,
    grpc::from_earliest,
    process::{Gateway, Setup, run as run_command},
    webhook::{Http, Stored, client},
};

const SENDERS: usize = 4;
/// Between two webhooks of a sender.
const PAUSE: Duration = Duration::from_millis(15);
const NUMBERS: usize = 100_000_000;
/// Retention keeps the log so small, in memory and on disk.
const BYTES_MAX: u64 = 128 * 1024 * 1024;
/// What the files may take besides: the write-ahead log while something reads.
const BYTES_BESIDE: u64 = 80 * 1024 * 1024;
const MEMORY_MAX: u64 = 600 * 1024 * 1024;
/// What happens once in a while.
const ROUND: Duration = Duration::from_secs(20);

pub(crate) async fn run(minutes: f64) -> String {
    let duration = Duration::from_secs_f64(minutes * 60.0);
    let setup = Setup::new().set("LOG_RETENTION_BYTES", &BYTES_MAX.to_string());
    let mut gateway = setup.start().await;
    let quick = Subscriber::start(gateway.grpc, Duration::ZERO);
    let slow = Subscriber::start(gateway.grpc, Duration::from_millis(50));
    let ends = Arc::new(AtomicBool::new(false));
    let door = (gateway.webhook_url.clone(), gateway.ca());
    let senders = (0..SENDERS).map(|sender| tokio::spawn(send(sender, door.clone(), ends.clone())));
    let senders: Vec<JoinHandle<HashMap<String, u64>>> = senders.collect();

    let begun = Instant::now();
    let (mut seen, mut restarts, mut backups) = (Watched::default(), 0, 0);
    while begun.elapsed() < duration {
        let until = Instant::now() + ROUND.min(duration / 3);
        while Instant::now() < until {
            seen.look(&gateway);
            sleep(Duration::from_millis(250)).await;
        }
        backup(&gateway, backups).await;
        backups += 1;
        let setup = match restarts % 2 {
            0 => gateway.stop().await,
            _ => gateway.kill().await,
        };
        gateway = setup.start().await;
        restarts += 1;
        eprintln!("{:.0} s: {seen:?}", begun.elapsed().as_secs_f64());
    }
    ends.store(true, Ordering::Relaxed);
    let mut stored = HashMap::new();
    for sender in senders {
        stored.extend(sender.await.expect("a sender ends"));
    }
    let received = quick.until(&stored).await;
    drop(slow);
    for (id, sequence) in &stored {
        assert_eq!(received.get(id), Some(sequence), "{id}");
    }
    format!(
        "soak: {minutes} minutes, {} events acknowledged and delivered once, {backups} backups, \
         {restarts} restarts, every second one a kill; at most {} MB of memory, {} MB of files \
         with {} MB to keep",
        stored.len(),
        seen.memory / 1_000_000,
        seen.files / 1_000_000,
        BYTES_MAX / 1_000_000,
    )
}

/// The most that was seen.
#[derive(Debug, Default)]
struct Watched {
    memory: u64,
    files: u64,
}

impl Watched {
    fn look(&mut self, gateway: &Gateway) {
        self.memory = self.memory.max(gateway.resident_bytes());
        assert!(self.memory <= MEMORY_MAX, "{self:?}");
        self.files = self.files.max(files(&gateway.setup.data()));
        assert!(self.files <= BYTES_MAX + BYTES_BESIDE, "{self:?}");
    }
}

fn files(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap();
    // A side file may be gone by now.
    let sizes = entries.map(|entry| entry.unwrap().metadata().map_or(0, |about| about.len()));
    sizes.sum()
}

async fn backup(gateway: &Gateway, number: usize) {
    let folder = gateway.setup.folder();
    let (data, name) = (gateway.setup.data(), format!("backup-{number}.db"));
    let args = ["log", "backup", &name, "--data-dir", data.to_str().unwrap()];
    let finished = run_command(folder, &args, "").await;
    assert_eq!(finished.code, Some(0), "{finished}");
    fs::remove_file(folder.join(name)).unwrap();
}

/// Posts events until it is told to end, each until it is stored. Returns where they are.
async fn send(
    sender: usize,
    (url, ca): (String, std::path::PathBuf),
    ends: Arc<AtomicBool>,
) -> HashMap<String, u64> {
    let http = client(&ca, Http::One);
    let mut stored = HashMap::new();
    for number in sender * NUMBERS.. {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        let body = match number % 40 {
            0 => large(number, 200_000),
            1..8 => large(number, 20_000),
            // Again.
            8 => mixed(number - 1),
            _ => mixed(number),
        };
        let answer = store(&http, &url, body).await;
        let first = *stored.entry(answer.id).or_insert(answer.sequence);
        assert_eq!(first, answer.sequence, "an event is stored once");
        sleep(PAUSE).await;
    }
    stored
}

async fn store(http: &reqwest::Client, url: &str, body: String) -> Stored {
    let begun = Instant::now();
    loop {
        let sent = http.post(url).header("content-type", "application/json");
        if let Ok(answer) = sent.body(body.clone()).send().await
            && answer.status() == 200
            && let Ok(text) = answer.text().await
        {
            return Stored::read(&text);
        }
        assert!(begun.elapsed() < PATIENCE, "the gateway takes events again");
        sleep(PAUSE).await;
    }
}

/// Resumes whenever its stream ends.
struct Subscriber {
    received: Arc<Mutex<HashMap<String, u64>>>,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// With a pause after each event. One that pauses may miss what retention removes.
    fn start(grpc: SocketAddr, pause: Duration) -> Self {
        let received = Arc::<Mutex<HashMap<String, u64>>>::default();
        let task = tokio::spawn(receive(grpc, pause, received.clone()));
        Self { received, task }
    }

    /// What it has received, once it has all of this.
    async fn until(&self, stored: &HashMap<String, u64>) -> HashMap<String, u64> {
        let last = stored.values().max().copied();
        let arrived = || {
            let received = self.received.lock().unwrap();
            (received.values().max().copied() >= last).then(|| received.clone())
        };
        eventually_within(PATIENCE, "everything arrives", arrived).await
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(grpc: SocketAddr, pause: Duration, all: Arc<Mutex<HashMap<String, u64>>>) {
    let endpoint = Channel::from_shared(format!("http://{grpc}")).expect("a URL");
    let mut request = from_earliest(SubscribeRequest::default());
    if !pause.is_zero() {
        request.expired_cursor_action = ExpiredCursorAction::Earliest.into();
    }
    loop {
        sleep(PAUSE).await;
        let Ok(channel) = endpoint.connect().await else {
            continue;
        };
        let mut client = EventServiceClient::new(channel);
        let Ok(stream) = client.subscribe(request.clone()).await else {
            continue;
        };
        let mut stream = stream.into_inner();
        while let Ok(Some(message)) = stream.message().await {
            request.start = Some(Start::AfterCursor(message.cursor));
            if let Some(Response::Event(event)) = message.response {
                let before = all.lock().unwrap().insert(event.id, event.sequence);
                assert_eq!(before, None, "an event comes once");
                sleep(pause).await;
            }
        }
    }
}
