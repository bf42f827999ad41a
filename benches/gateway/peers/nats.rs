//! nats-server, where its binary is found: one subject that everybody subscribes to, no filters.
//!
//! As core NATS, which stores nothing, and with JetStream: a stream in a file that is synced before
//! a publisher hears that its event is in it, and a consumer for each subscriber, without
//! acknowledgements. It speaks a text protocol; the little of it that is needed is written out
//! here.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
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
const SUBJECT: &str = "events";
/// JetStream's name for what is published there.
const STREAM: &str = "EVENTS";

/// How the publisher is set up.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    /// The server's binary.
    pub program: PathBuf,
    /// Where the server is.
    pub addr: SocketAddr,
    /// Bytes of one message, without NATS's own head.
    pub message_bytes: usize,
    /// Whether JetStream stores them.
    pub durable: bool,
}

impl Setup {
    /// None where there is no nats-server.
    pub(crate) fn find(message_bytes: usize, durable: bool) -> Option<Self> {
        Some(Self {
            program: find()?,
            addr: ([127, 0, 0, 1], 0).into(),
            message_bytes,
            durable,
        })
    }
}

/// `NATS_SERVER`, or on the path, or in the environment that `docs/performance.md` says how to
/// make.
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

/// A server of its own. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct NatsServer {
    process: Child,
    pub addr: SocketAddr,
    /// Removed with it.
    _folder: TempDir,
}

impl NatsServer {
    pub(crate) fn start(setup: &Setup) -> anyhow::Result<Self> {
        let program = &setup.program;
        let folder = crate::temporary_folder()?;
        let config = folder.path().join("nats.conf");
        let store = folder.path().join("store");
        let jetstream = match setup.durable {
            true => format!(
                "jetstream {{ store_dir: {:?}, sync_interval: always }}",
                store.display().to_string()
            ),
            false => String::new(),
        };
        fs::write(&config, format!("listen: \"127.0.0.1:-1\"\n{jetstream}\n"))?;
        let mut process = Command::new(program)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut log = BufReader::new(process.stderr.take().context("no output")?);
        let mut server = Self {
            process,
            addr: ([127, 0, 0, 1], 0).into(),
            _folder: folder,
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
    let (mut reader, mut writer) = connect(setup.addr, "SUB answers 1\r\n").await?;
    if setup.durable {
        let stream = format!(r#"{{"name":"{STREAM}","subjects":["{SUBJECT}"],"storage":"file"}}"#);
        let create = format!("$JS.API.STREAM.CREATE.{STREAM}");
        request(&mut reader, &mut writer, &create, "answers", &stream).await?;
    }
    let mut pace = Pace::listen().await?;
    control.answer(&Ready {
        addr: setup.addr,
        pace: pace.addr,
    })?;
    let answers = if setup.durable { " answers" } else { "" };
    let mut message = format!("PUB {SUBJECT}{answers} {}\r\n", setup.message_bytes).into_bytes();
    message.resize(message.len() + setup.message_bytes, b'x');
    message.extend_from_slice(b"\r\n");
    while let Some(order) = control.order::<Publication>().await? {
        let batch = message.repeat(order.batch_events);
        let published = pace
            .publish(order, async |_, count| {
                writer.write_all(&batch).await?;
                if setup.durable {
                    for _ in 0..count {
                        answer(&mut reader).await?;
                    }
                }
                Ok(())
            })
            .await?;
        control.answer(&published)?;
    }
    Ok(())
}

/// A subscriber's connection: `place` tells it from others.
pub(crate) async fn subscribe(
    addr: SocketAddr,
    durable: bool,
    place: usize,
) -> anyhow::Result<Connection> {
    if !durable {
        return connect(addr, &format!("SUB {SUBJECT} 1\r\n")).await;
    }
    let (events, answers) = (format!("to.{place}"), format!("answers.{place}"));
    let commands = format!("SUB {events} 1\r\nSUB {answers} 2\r\n");
    let (mut reader, mut writer) = connect(addr, &commands).await?;
    let consumer = format!(
        r#"{{"stream_name":"{STREAM}","config":{{"deliver_subject":"{events}","deliver_policy":"new","ack_policy":"none","mem_storage":true}}}}"#
    );
    let create = format!("$JS.API.CONSUMER.CREATE.{STREAM}");
    request(&mut reader, &mut writer, &create, &answers, &consumer).await?;
    Ok((reader, writer))
}

/// The two ways of a connection.
pub(crate) type Connection = (tokio::io::BufReader<OwnedReadHalf>, OwnedWriteHalf);

/// A connection that has said hello and `commands`, and knows that the server has taken them.
async fn connect(addr: SocketAddr, commands: &str) -> anyhow::Result<Connection> {
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

/// Asks JetStream for something.
async fn request(
    reader: &mut tokio::io::BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    subject: &str,
    inbox: &str,
    body: &str,
) -> anyhow::Result<()> {
    let request = format!("PUB {subject} {inbox} {}\r\n{body}\r\n", body.len());
    writer.write_all(request.as_bytes()).await?;
    answer(reader).await
}

/// Waits for the next message, which is JetStream's answer to something.
async fn answer(reader: &mut tokio::io::BufReader<OwnedReadHalf>) -> anyhow::Result<()> {
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            bail!("nats-server hung up");
        }
        // Its pings go unanswered: a run is over before it minds.
        let Some(head) = line.strip_prefix("MSG ") else {
            continue;
        };
        let size: usize = head.rsplit(' ').next().context("a size")?.trim().parse()?;
        let mut body = vec![0; size + "\r\n".len()];
        reader.read_exact(&mut body).await?;
        let body = String::from_utf8_lossy(&body);
        if body.contains(r#""error""#) {
            bail!("JetStream says {body}");
        }
        return Ok(());
    }
}
