//! Restarts behind real proxies, set up as the README says: every webhook is answered with 200.

use std::{
    env,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};
use verbex_gateway::proto::SubscribeRequest;

use crate::support::{
    PATIENCE,
    bodies::{call_started, expected, large},
    eventually_asking,
    grpc::from_earliest,
    history::{History, Post, Recorder, last_stored},
    process::{Gateway, Setup},
    promises::judge,
    webhook::{Answer, Http, client},
};

const README: &str = include_str!("../../README.md");
const DRAIN: Duration = Duration::from_secs(1);
const SECRET: &str = "s3cret";
const RESTARTS: usize = 10;
/// 50 a second.
const INTERVAL: Duration = Duration::from_millis(20);

#[tokio::test]
async fn behind_caddy_every_webhook_is_answered_with_200() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = setup().start_on(&socket, "webhook").await;
    let front = free_address();
    let site = snippet("text", "reverse_proxy")
        .replace("hooks.example.com", &format!("http://{front}"))
        .replace("127.0.0.1:8080", &gateway.webhook_addr().to_string());
    let options = "{\n    admin off\n    auto_https off\n}\n";
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("Caddyfile");
    fs::write(&config, options.to_owned() + &site).unwrap();
    let config = config.display().to_string();
    let arguments = ["run", "--adapter", "caddyfile", "--config", &config];
    let proxy = Proxy::start(folder.path(), "caddy", &arguments);
    let url = format!("http://{front}/webhooks/verbex/{SECRET}");
    restarts(gateway, &socket, &proxy, &url).await;
}

#[tokio::test]
async fn behind_nginx_every_webhook_is_answered_with_200() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = setup().start_on(&socket, "webhook").await;
    // Any gateway makes a certificate for this machine.
    let certified = Gateway::start().await;
    let pem = |name: &str| certified.ca().with_file_name(name).display().to_string();
    let front = free_address();
    let live = "/etc/letsencrypt/live/hooks.example.com";
    let server = snippet("nginx", "proxy_pass")
        .replace("listen 443", &format!("listen {front}"))
        .replace(&format!("{live}/fullchain.pem"), &pem("server.pem"))
        .replace(&format!("{live}/privkey.pem"), &pem("server-key.pem"))
        .replace("127.0.0.1:8080", &gateway.webhook_addr().to_string());
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = kinds.map(|kind| format!("{kind}_temp_path {place}/{kind};\n"));
    let config = format!(
        "daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{}{server}}}\n",
        temporary.concat()
    );
    let path = folder.path().join("nginx.conf");
    fs::write(&path, config).unwrap();
    let arguments = ["-e", "stderr", "-c", &path.display().to_string()];
    let mut proxy = Proxy::start(folder.path(), "nginx", &arguments);
    proxy.client = client(&certified.ca(), Http::One);
    let url = format!("https://{front}/webhooks/verbex/{SECRET}");
    restarts(gateway, &socket, &proxy, &url).await;
}

fn setup() -> Setup {
    Setup::new()
        .set("WEBHOOK_PLAIN_HTTP", "true")
        .set("WEBHOOK_SECRET", SECRET)
        .set("DRAIN_SECONDS", &DRAIN.as_secs().to_string())
}

/// Posts through a proxy while the gateway is restarted again and again, with one subscriber that
/// does not read and one that resumes.
async fn restarts(mut gateway: Gateway, socket: &TcpListener, proxy: &Proxy, url: &str) {
    let first = eventually_asking(PATIENCE, "the proxy is there", async || {
        post(&proxy.client, url, call_started(0)).await.ok()
    });
    let mut posts = vec![Ok(first.await)];
    let recorder = Recorder::start(gateway.grpc, from_earliest(SubscribeRequest::default()));
    let poster = Poster::start(proxy.client.clone(), url.to_owned());
    for restart in 0..RESTARTS {
        // It does not read, and has more waiting for it than its connection holds.
        let (unread, _) = gateway.subscribe(SubscribeRequest::default()).await;
        for number in 0..4 {
            let body = large(4 * restart + number, 900_000);
            posts.push(post(&proxy.client, url, body).await);
        }
        let began = Instant::now();
        let setup = gateway.stop().await;
        assert!(began.elapsed() >= DRAIN, "nothing held it up");
        gateway = setup.start_on(socket, "webhook").await;
        drop(unread);
        tokio::time::sleep(INTERVAL * 10).await;
    }
    posts.extend(poster.stop().await);
    let unanswered: Vec<_> = posts
        .iter()
        .filter_map(|post| post.as_ref().err())
        .collect();
    assert!(unanswered.is_empty(), "of {}: {unanswered:?}", posts.len());
    let posts: Vec<Post> = posts.into_iter().map(Result::unwrap).collect();
    let last = last_stored(&posts);
    judge(&History {
        posts,
        subscribers: vec![recorder.until(last).await],
    });
}

/// Posts at a steady pace, whatever the answers.
struct Poster {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Result<Post, String>>>,
}

impl Poster {
    fn start(client: reqwest::Client, url: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let posts = Arc::new(Mutex::new(Vec::new()));
            let mut inside = JoinSet::new();
            let mut ticks = interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                number += 1;
                let body = call_started(1_000 + number);
                let (client, url, posts) = (client.clone(), url.clone(), Arc::clone(&posts));
                inside.spawn(async move {
                    let post = post(&client, &url, body).await;
                    posts.lock().unwrap().push(post);
                });
            }
            inside.join_all().await;
            Arc::try_unwrap(posts).unwrap().into_inner().unwrap()
        });
        Self { stop, task }
    }

    async fn stop(self) -> Vec<Result<Post, String>> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// A webhook that was answered with 200, or what came instead.
async fn post(client: &reqwest::Client, url: &str, body: String) -> Result<Post, String> {
    let sent = client.post(url).body(body.clone()).send().await;
    let answer = Answer::of(sent.map_err(|error| format!("{error:?}"))?).await;
    if answer.status != 200 {
        return Err(format!("{answer:?}"));
    }
    Ok(Post {
        event: expected(&body),
        answer: Some(answer.stored()),
        body,
    })
}

/// A proxy, and a client for it. Dropping it kills it.
struct Proxy {
    child: Child,
    /// The file with all that it says.
    said: PathBuf,
    client: reqwest::Client,
}

impl Proxy {
    fn start(folder: &Path, program: &str, arguments: &[&str]) -> Self {
        let path = env::var("PATH").unwrap_or_default();
        let said = File::create(folder.join("said")).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            // Debian has nginx where only root looks.
            .env("PATH", path + ":/usr/sbin")
            .env("HOME", folder)
            .env("XDG_CONFIG_HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn();
        Self {
            said: folder.join("said"),
            child: child.unwrap_or_else(|error| {
                panic!("{program} is needed for this test, and tests/run skips it without: {error}")
            }),
            client: client(Path::new(""), Http::One),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.said).unwrap_or_default());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// The block of code in the README in this language with this word in it.
fn snippet(language: &str, word: &str) -> String {
    let mut blocks = README.split("```").skip(1).step_by(2);
    let block = blocks.find_map(|block| {
        let text = block.strip_prefix(language)?.strip_prefix('\n')?;
        text.contains(word).then(|| text.to_owned())
    });
    block.expect("a block of code")
}
