//! The real program, in a folder of its own, on ports of its own.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{eventually, eventually_within};

/// The program that is tested.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_verbex-gateway");
/// How long a start or an end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a gateway is started. Clones share the folder.
#[derive(Clone)]
pub(crate) struct Setup {
    folder: Arc<TempDir>,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    shell: Option<String>,
}

impl Setup {
    /// All ports free ones, all else by default.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("verbex-gateway-").tempdir();
        let folder = Arc::new(folder.expect("a temporary folder"));
        let setup = Self {
            folder,
            args: Vec::new(),
            variables: Vec::new(),
            shell: None,
        };
        let data = setup.data().display().to_string();
        setup
            .set("DATA_DIR", &data)
            .set("WEBHOOK_ADDR", "127.0.0.1:0")
            .set("GRPC_ADDR", "127.0.0.1:0")
            .set("ADMIN_ADDR", "127.0.0.1:0")
    }

    /// With one more argument of `serve`.
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With a setting, by the name of its variable without the prefix.
    pub(crate) fn set(mut self, setting: &str, value: &str) -> Self {
        let name = format!("VERBEX_GATEWAY_{setting}");
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.into()));
        self
    }

    /// With a variable that is no setting, or without it.
    pub(crate) fn environment(mut self, name: &str, value: Option<&str>) -> Self {
        self.variables.retain(|(known, _)| known != name);
        let named = value.map(|value| (name.into(), value.into()));
        self.variables.extend(named);
        self
    }

    /// With a configuration file.
    pub(crate) fn file(self, toml: &str) -> Self {
        let path = self.folder().join("config.toml");
        fs::write(&path, toml).expect("a configuration file");
        let path = path.display().to_string();
        self.arg("--config").arg(&path)
    }

    /// With TLS on the gRPC door, by the certificate that another gateway has made for its webhook
    /// door: a good one for both.
    pub(crate) fn grpc_tls_of(self, other: &Gateway) -> Self {
        let path = |name| {
            let path = other.ca().with_file_name(name);
            path.display().to_string()
        };
        self.set("GRPC_TLS_CERT", &path("server.pem"))
            .set("GRPC_TLS_KEY", &path("server-key.pem"))
    }

    /// Behind a few words of shell, which run first in the process that the gateway then is.
    pub(crate) fn shell(mut self, words: &str) -> Self {
        self.shell = Some(words.into());
        self
    }

    /// Where the gateway runs, and keeps its data in `data`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The log's file.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.data().join("events.db")
    }

    /// A gateway whose doors are open.
    pub(crate) async fn start(self) -> Gateway {
        let process = Process::spawn(self.command(), self.folder());
        self.announced(process).await
    }

    /// The gateway that this process is, once it has said where its doors are.
    pub(super) async fn announced(self, process: Process) -> Gateway {
        let announced = self.unless_ended(process).await;
        announced.unwrap_or_else(|finished| panic!("the gateway ended\n{finished}"))
    }

    /// A gateway whose doors are open, or that has ended before.
    pub(crate) async fn try_start(self) -> Result<Gateway, Finished> {
        let process = Process::spawn(self.command(), self.folder());
        self.unless_ended(process).await
    }

    async fn unless_ended(self, process: Process) -> Result<Gateway, Finished> {
        let announced = || {
            if process.status().is_some() {
                return Some(None);
            }
            let stdout = process.stdout();
            let word = |door: &str| {
                let line = stdout.lines().find_map(|line| line.strip_prefix(door))?;
                line.split_whitespace().next().map(str::to_owned)
            };
            Some(Some((word("webhook ")?, word("grpc ")?, word("admin ")?)))
        };
        let waiting = eventually_within(PATIENCE, "the banner says where the doors are", announced);
        let Some((webhook_url, grpc, admin_url)) = waiting.await else {
            return Err(process.finished().await);
        };
        Ok(Gateway {
            webhook_url,
            grpc: grpc.parse().expect("the banner has an address"),
            admin_url,
            setup: self,
            process,
        })
    }

    /// A start that is expected to end by itself.
    pub(crate) async fn refused(self) -> Finished {
        let process = Process::spawn(self.command(), self.folder());
        process.finished().await
    }

    /// What a setting was set to.
    pub(super) fn variable(&self, setting: &str) -> Option<&str> {
        let name = format!("VERBEX_GATEWAY_{setting}");
        let mut known = self.variables.iter();
        known.find_map(|(known, value)| (*known == name).then_some(value.as_str()))
    }

    pub(super) fn command(&self) -> Command {
        let mut command = match &self.shell {
            None => Command::new(PROGRAM),
            Some(words) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("{words}; exec \"$0\" \"$@\""), PROGRAM]);
                shell
            }
        };
        command.arg("serve");
        command.args(&self.args);
        isolate(&mut command);
        command.envs(self.variables.iter().cloned());
        command
    }
}

/// A gateway whose doors were open when it was made. Dropping it kills it.
pub(crate) struct Gateway {
    /// The webhook door without its path secret, as the banner has it.
    pub(crate) webhook_url: String,
    pub(crate) grpc: SocketAddr,
    pub(crate) admin_url: String,
    pub(crate) setup: Setup,
    pub(super) process: Process,
}

impl Gateway {
    /// A gateway with nothing configured.
    pub(crate) async fn start() -> Self {
        Setup::new().start().await
    }

    /// The CA of the certificate that the gateway made for itself.
    pub(crate) fn ca(&self) -> PathBuf {
        self.setup.data().join("tls/dev-ca.pem")
    }

    pub(crate) fn webhook_addr(&self) -> SocketAddr {
        let address = self.webhook_url.split('/').nth(2);
        let address = address.and_then(|address| address.parse().ok());
        address.expect("the banner has an address")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has written so far, on standard output and standard error.
    pub(crate) fn output(&self) -> (String, String) {
        (self.process.stdout(), self.process.stderr())
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let status = status.expect("the kernel's view of the process");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kib.expect("VmRSS") * 1024
    }

    /// Sends a signal, by name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Asks it to leave.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn finished(self) -> Finished {
        self.process.finished().await
    }

    /// Ends it as a crash would: SIGKILL. What to start afterwards has the same folder and ports.
    pub(crate) async fn kill(self) -> Setup {
        let setup = self.same_ports();
        self.process.signal("KILL");
        self.process.finished().await;
        setup
    }

    /// Lets it drain. What to start afterwards has the same folder and ports.
    pub(crate) async fn stop(self) -> Setup {
        let setup = self.same_ports();
        self.terminate();
        let finished = self.finished().await;
        assert_eq!(finished.code, Some(0), "{finished}");
        setup
    }

    fn same_ports(&self) -> Setup {
        let admin = self.admin_url.trim_start_matches("http://");
        self.setup
            .clone()
            .set("WEBHOOK_ADDR", &self.webhook_addr().to_string())
            .set("GRPC_ADDR", &self.grpc.to_string())
            .set("ADMIN_ADDR", admin)
    }
}

/// Runs another command of the program to its end, with `input` on standard input.
pub(crate) async fn run(folder: &Path, args: &[&str], input: &str) -> Finished {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    isolate(&mut command);
    let process = Process::spawn_with_input(command, folder, input);
    process.finished().await
}

/// Runs words of shell to their end, in which `"$0"` is the program.
pub(crate) async fn run_in_shell(folder: &Path, words: &str) -> Finished {
    let mut command = Command::new("sh");
    command.args(["-c", words, PROGRAM]);
    isolate(&mut command);
    Process::spawn(command, folder).finished().await
}

/// A command of the program that goes on by itself.
pub(crate) fn spawn(folder: &Path, args: &[&str]) -> Process {
    let mut command = Command::new(PROGRAM);
    command.args(args);
    isolate(&mut command);
    Process::spawn(command, folder)
}

/// Nothing from this environment gets in.
pub(super) fn isolate(command: &mut Command) {
    command.env_clear();
    for kept in ["PATH", "HOME", "LLVM_PROFILE_FILE"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
}

/// How a process ended. Shown whole where a test fails.
pub(crate) struct Finished {
    /// None if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    report: String,
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.report)
    }
}

/// A process, and all that it says. Dropping it kills it; while a test fails, it shows what it
/// knows.
pub(crate) struct Process {
    command: String,
    folder: PathBuf,
    child: Mutex<Child>,
    stdout: Text,
    stderr: Text,
}

type Text = Arc<Mutex<String>>;

impl Process {
    fn spawn(command: Command, folder: &Path) -> Self {
        Self::spawn_with_input(command, folder, "")
    }

    fn spawn_with_input(mut command: Command, folder: &Path, input: &str) -> Self {
        command
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_owned();
        thread::spawn(move || {
            // Who does not read its input is no failure of this harness.
            let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
        });
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        Self::started(&command, folder, child, stdout, stderr)
    }

    pub(super) fn started(
        command: &Command,
        folder: &Path,
        child: Child,
        stdout: impl Read + Send + 'static,
        stderr: impl Read + Send + 'static,
    ) -> Self {
        Self {
            command: format!("{command:?}"),
            folder: folder.to_owned(),
            child: Mutex::new(child),
            stdout: gather(stdout),
            stderr: gather(stderr),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Sends a signal, by name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let mut child = self.child.lock().unwrap();
        // Not reaped before, so that the id is still this process and no other.
        if child.try_wait().expect("a child to wait for").is_some() {
            return;
        }
        // The shell's own, since not every system has it as a program.
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -{name} {}", child.id())]);
        assert!(kill.status().expect("kill runs").success(), "kill -{name}");
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub(crate) async fn finished(self) -> Finished {
        let ended = || {
            // Both pipes are read to their end, too.
            let read = Arc::strong_count(&self.stdout) + Arc::strong_count(&self.stderr) == 2;
            self.status().filter(|_| read)
        };
        let status = eventually_within(PATIENCE, "the process ends", ended).await;
        Finished {
            code: status.code(),
            stdout: self.stdout(),
            stderr: self.stderr(),
            report: self.report(),
        }
    }

    fn status(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap();
        child.try_wait().expect("a child to wait for")
    }

    /// Everything that explains a failure.
    pub(crate) fn report(&self) -> String {
        let mut listing = String::new();
        list(&self.folder, &mut listing);
        let status = match self.status() {
            Some(status) => status.to_string(),
            None => "running".into(),
        };
        format!(
            "command: {}\nfolder: {}\n{listing}status: {status}\nstdout:\n{}\nstderr:\n{}",
            self.command,
            self.folder.display(),
            self.stdout(),
            self.stderr(),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.report());
        }
        // Has it ended, there is nothing to kill.
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads a pipe to its end; the text is shared until then.
fn gather(pipe: impl Read + Send + 'static) -> Text {
    let text = Text::default();
    let shared = text.clone();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let line = std::mem::take(&mut line);
            let line = String::from_utf8_lossy(&line);
            shared.lock().unwrap().push_str(&line);
        }
        // A terminal ends with an error, perhaps in the middle of a line.
        let rest = String::from_utf8_lossy(&line);
        shared.lock().unwrap().push_str(&rest);
    });
    text
}

fn list(folder: &Path, into: &mut String) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
        let _ = writeln!(into, "  {} ({bytes} bytes)", path.display());
        list(&path, into);
    }
}

#[tokio::test]
async fn a_killed_gateway_comes_back_with_its_folder_and_ports() {
    let gateway = Gateway::start().await;
    let (webhook, grpc, admin) = (
        gateway.webhook_url.clone(),
        gateway.grpc,
        gateway.admin_url.clone(),
    );
    let gateway = gateway.kill().await.start().await;
    assert_eq!(
        (&gateway.webhook_url, gateway.grpc, &gateway.admin_url),
        (&webhook, grpc, &admin)
    );
    eventually("it is running", || {
        gateway.process.status().is_none().then_some(())
    })
    .await;
}
