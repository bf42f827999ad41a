//! The program itself, as an operator starts it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

const PROGRAM: &str = env!("CARGO_BIN_EXE_verbex-gateway");

/// However large the log is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that is ready. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Child,
    data_dir: PathBuf,
    pub webhook: SocketAddr,
    pub grpc: SocketAddr,
    /// From the start of the process to `/readyz` saying yes.
    pub start_up: Duration,
}

impl Gateway {
    pub(crate) fn start(data_dir: &Path) -> anyhow::Result<Self> {
        // The events of the logs that are kept have times of the past.
        Self::start_with(data_dir, &[("VERBEX_GATEWAY_LOG_RETENTION_AGE", "never")])
    }

    /// With settings, by the names of their variables.
    pub(crate) fn start_with(data_dir: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut process = Command::new(PROGRAM)
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .env_clear()
            .envs([
                ("VERBEX_GATEWAY_WEBHOOK_ADDR", "127.0.0.1:0"),
                ("VERBEX_GATEWAY_GRPC_ADDR", "127.0.0.1:0"),
                ("VERBEX_GATEWAY_ADMIN_ADDR", "127.0.0.1:0"),
                ("VERBEX_GATEWAY_LOGGING_LEVEL", "warn"),
            ])
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {PROGRAM}"))?;
        let mut lines = BufReader::new(process.stdout.take().context("no output")?);
        let mut gateway = Self {
            process,
            data_dir: data_dir.to_owned(),
            webhook: ([127, 0, 0, 1], 0).into(),
            grpc: ([127, 0, 0, 1], 0).into(),
            start_up: Duration::ZERO,
        };
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                bail!("the gateway did not start");
            }
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("webhook"), Some(url)) => {
                    let addr = url.split('/').nth(2).context("a webhook URL")?;
                    gateway.webhook = addr.parse()?;
                }
                (Some("grpc"), Some(addr)) => gateway.grpc = addr.parse()?,
                (Some("admin"), Some(url)) => {
                    let addr = url.trim_start_matches("http://").parse()?;
                    while !is_ready(addr)? {
                        ensure!(began.elapsed() < PATIENCE, "the gateway is not ready");
                        thread::sleep(Duration::from_millis(1));
                    }
                    gateway.start_up = began.elapsed();
                    break;
                }
                _ => {}
            }
        }
        // Whatever else it says is to find a reader.
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Ok(gateway)
    }

    /// Lets it drain, so that its log is closed as it should be.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.process.wait()?;
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The CA of its certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.data_dir.join("tls/dev-ca.pem")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_ready(admin: SocketAddr) -> anyhow::Result<bool> {
    let mut door = TcpStream::connect(admin)?;
    door.write_all(b"GET /readyz HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    door.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
