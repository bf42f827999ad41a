//! Servers and clients as processes of their own: children of the benchmark, and the same
//! executable.
//!
//! A child reads its [`Role`] from the first line of standard input, then one order a line, and
//! answers each with a line on standard output. It ends when its input does, so that nothing is
//! left behind by a benchmark that was killed.

use std::{
    io::{self, BufRead, BufReader, Stdout, Write},
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufReadExt, Lines, Stdin};

use crate::{load, logs, peers, servers};

/// The argument that makes a process a child. Not for people.
pub(crate) const CHILD_ARGUMENT: &str = "--child";

/// What a child is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Role {
    Gateway(servers::gateway::Setup),
    TonicBroadcast(peers::tonic_broadcast::Setup),
    RawTcp(peers::raw_tcp::Setup),
    NatsPublisher(peers::nats::Setup),
    BareHttps(peers::bare_https::Setup),
    WebhookBroadcast(peers::webhook_broadcast::Setup),
    Subscribers(load::subscribers::Setup),
    Posters(load::posters::Setup),
    WebhookToSubscriber(load::webhook_to_subscriber::Setup),
    Churn(load::churn::Setup),
    History(load::history::Setup),
    Steady(load::steady::Setup),
    LogReader(logs::ReaderSetup),
    LogFiller(logs::FillerSetup),
    Appender(servers::appender::Setup),
    Version1(peers::version_1::Setup),
    Version1Filler(logs::FillerSetup),
    PlainFile(peers::plain_file::Setup),
}

impl Role {
    async fn run(self, control: Control) -> anyhow::Result<()> {
        match self {
            Self::Gateway(setup) => servers::gateway::run(setup, control).await,
            Self::TonicBroadcast(setup) => peers::tonic_broadcast::run(setup, control).await,
            Self::RawTcp(setup) => peers::raw_tcp::run(setup, control).await,
            Self::NatsPublisher(setup) => peers::nats::run(setup, control).await,
            Self::BareHttps(setup) => peers::bare_https::run(setup, control).await,
            Self::WebhookBroadcast(setup) => peers::webhook_broadcast::run(setup, control).await,
            Self::Subscribers(setup) => load::subscribers::run(setup, control).await,
            Self::Posters(setup) => load::posters::run(setup, control).await,
            Self::WebhookToSubscriber(setup) => {
                load::webhook_to_subscriber::run(setup, control).await
            }
            Self::Churn(setup) => load::churn::run(setup, control).await,
            Self::History(setup) => load::history::run(setup, control).await,
            Self::Steady(setup) => load::steady::run(setup, control).await,
            Self::LogReader(setup) => logs::read(setup, control).await,
            Self::LogFiller(setup) => logs::fill(setup, control).await,
            Self::Appender(setup) => servers::appender::run(setup, control).await,
            Self::Version1(setup) => peers::version_1::run(setup, control).await,
            Self::Version1Filler(setup) => peers::version_1::fill(setup, control).await,
            Self::PlainFile(setup) => peers::plain_file::run(setup, control).await,
        }
    }
}

/// A child, seen by the benchmark. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Child {
    role: String,
    process: process::Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Child {
    /// Starts a child and waits for its first answer: it is ready.
    pub(crate) fn start<R: DeserializeOwned>(role: Role) -> anyhow::Result<(Self, R)> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(CHILD_ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a child")?;
        let orders = process.stdin.take().context("a child without input")?;
        let answers = process.stdout.take().context("a child without output")?;
        let mut child = Self {
            role: format!("{role:?}"),
            process,
            orders,
            answers: BufReader::new(answers),
        };
        let ready = child.ask(&role)?;
        Ok((child, ready))
    }

    /// Gives an order and waits for the answer.
    pub(crate) fn ask<R: DeserializeOwned>(&mut self, order: &impl Serialize) -> anyhow::Result<R> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders
            .write_all(&line)
            .with_context(|| format!("{} is gone", self.role))?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            bail!("{} ended without an answer", self.role);
        }
        let answer: Result<R, String> = serde_json::from_str(&answer)
            .with_context(|| format!("an answer of {}: {answer}", self.role))?;
        answer.map_err(|error| anyhow!("{}: {error}", self.role))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The benchmark, seen by a child.
#[derive(Debug)]
pub(crate) struct Control {
    orders: Lines<tokio::io::BufReader<Stdin>>,
    answers: Stdout,
}

impl Control {
    /// The next order; none once the benchmark wants no more.
    pub(crate) async fn order<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        match self.orders.next_line().await? {
            Some(line) => Ok(Some(serde_json::from_str(&line)?)),
            None => Ok(None),
        }
    }

    pub(crate) fn answer(&self, answer: &impl Serialize) -> anyhow::Result<()> {
        say(&self.answers, &Ok::<_, String>(answer))
    }
}

/// The whole life of a child.
pub(crate) fn live() -> ! {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            runtime.block_on(async {
                let mut control = Control {
                    orders: tokio::io::BufReader::new(tokio::io::stdin()).lines(),
                    answers: io::stdout(),
                };
                match control.order::<Role>().await? {
                    Some(role) => role.run(control).await,
                    None => Ok(()),
                }
            })
        });
    let code = match outcome {
        Ok(()) => 0,
        Err(error) => {
            let _ = say(&io::stdout(), &Err::<(), _>(format!("{error:#}")));
            1
        }
    };
    // Without waiting for the thread that reads standard input.
    process::exit(code)
}

fn say<T: Serialize>(out: &Stdout, answer: &Result<T, String>) -> anyhow::Result<()> {
    let mut out = out.lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
