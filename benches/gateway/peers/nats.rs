//! nats-server, where its binary is found: core NATS, one subject that everybody subscribes to, no filters.
//!
//! It speaks a text protocol; the little of it that is needed is written out here.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    pace::{Pace, Publication},
    process::Control,
    servers::Ready,
};

/// What everybody subscribes to.
pub(crate) const SUBJECT: &str = "events";

/// How the publisher is set up.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    /// The server's binary.
    pub program: PathBuf,
    /// Where the server is.
    pub addr: SocketAddr,
    /// Bytes of one message, without NATS's own head.
    pub message_bytes: usize,
}

impl Setup {
    /// None where there is no nats-server.
    pub(crate) fn find(message_bytes: usize) -> Option<Self> {
        Some(Self {
            program: find()?,
            addr: ([127, 0, 0, 1], 0).into(),
            message_bytes,
        })
    }
}

/// `NATS_SERVER`, or on the path, or in the environment that `docs/performance.md` says how to make.
fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os("NATS_SERVER") {
        return Some(named.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([crate::folder().join("nats/bin")])
        .map(|folder| folder.join("nats-server"))
        .find(|program| program.is_file())
}

/// A server of its own, with nothing configured. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct NatsServer {
    process: Child,
    pub addr: SocketAddr,
}

impl NatsServer {
    pub(crate) fn start(program: &Path) -> anyhow::Result<Self> {
        let mut process = Command::new(program)
            .args(["--addr", "127.0.0.1", "--port", "-1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut log = BufReader::new(process.stderr.take().context("no output")?);
        let mut server = Self {
            process,
            addr: ([127, 0, 0, 1], 0).into(),
        };
        let mut line = String::new();
        while server.addr.port() == 0 {
            line.clear();
            if log.read_line(&mut line)? == 0 {
                bail!("nats-server did not start");
            }
            if let Some((_, addr)) = line.split_once("client connections on ") {
                server.addr = addr.trim().parse()?;
            }
        }
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let (mut said, mut server) = connect(setup.addr, "").await?;
    // Its pings go unanswered: a run is over before it minds.
    tokio::spawn(async move { tokio::io::copy(&mut said, &mut tokio::io::sink()).await });
    let mut pace = Pace::listen().await?;
    control.answer(&Ready {
        addr: setup.addr,
        pace: pace.addr,
    })?;
    let mut message = format!("PUB {SUBJECT} {}\r\n", setup.message_bytes).into_bytes();
    message.resize(message.len() + setup.message_bytes, b'x');
    message.extend_from_slice(b"\r\n");
    while let Some(order) = control.order::<Publication>().await? {
        let batch = message.repeat(order.batch_events);
        let published = pace
            .publish(order, async |_, _| Ok(server.write_all(&batch).await?))
            .await?;
        control.answer(&published)?;
    }
    Ok(())
}

/// The two ways of a connection.
pub(crate) type Connection = (tokio::io::BufReader<OwnedReadHalf>, OwnedWriteHalf);

/// A connection that has said hello and `commands`, and knows that the server has taken them.
pub(crate) async fn connect(addr: SocketAddr, commands: &str) -> anyhow::Result<Connection> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = tokio::io::BufReader::with_capacity(64 * 1024, reader);
    let hello = format!("CONNECT {{\"verbose\":false}}\r\n{commands}PING\r\n");
    writer.write_all(hello.as_bytes()).await?;
    let mut line = String::new();
    while line != "PONG\r\n" {
        line.clear();
        if reader.read_line(&mut line).await? == 0 {
            bail!("nats-server hung up");
        }
        if line.starts_with("-ERR") {
            bail!("nats-server says {line}");
        }
    }
    Ok((reader, writer))
}
