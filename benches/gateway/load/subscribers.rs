//! Many subscribers in one process. They read, count and forget.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use h2::RecvStream;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use verbex_gateway::proto::{StartPosition, SubscribeRequest, subscribe_request::Start};

use super::{
    messages::Messages,
    streams::{self, Connection, Http2},
};
use crate::{events::Filters, measure::now_nanos, pace::Counter, peers::nats, process::Control};

/// Connections that are opened at the same time.
const OPENING_MAX: usize = 64;

/// Who they are.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    pub protocol: Protocol,
    pub addr: SocketAddr,
    pub count: usize,
    /// Whether to begin with the earliest event.
    pub from_earliest: bool,
    /// Where to report what was delivered, see [`crate::pace`].
    pub pace: Option<SocketAddr>,
    /// Deliveries from one report to the next.
    pub pace_step: u64,
    /// Whether to note when each event arrives.
    pub noted: bool,
}

/// How they read.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Protocol {
    Grpc(Grpc),
    /// Messages of one size, over plain TCP.
    Raw {
        message_bytes: usize,
    },
    Nats {
        durable: bool,
    },
}

/// gRPC, and what it lets one choose.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Grpc {
    pub filters: Filters,
    pub streams_per_connection: usize,
    pub http2: Http2,
    /// TLS, trusting this CA.
    pub ca: Option<PathBuf>,
    pub accept_encoding: Option<String>,
}

impl Default for Grpc {
    /// One connection a subscriber, in plain text, for all events.
    fn default() -> Self {
        Self {
            filters: Filters::One,
            streams_per_connection: 1,
            http2: Http2::default(),
            ca: None,
            accept_encoding: None,
        }
    }
}

/// All are subscribed.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ready {
    /// The compression that the server has chosen.
    pub encoding: String,
}

/// What they can be asked.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Order {
    /// What was delivered so far.
    Count,
    /// To wait for so many deliveries. Answers the time since the subscriptions began.
    Until(u64),
    /// When each event arrived since the last such question, in nanoseconds of the monotonic clock.
    Arrivals,
}

/// Answers [`Order::Count`].
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Delivered {
    pub deliveries: u64,
    pub bytes: u64,
    /// Subscriptions that are still open.
    pub open: usize,
}

/// What the subscribers share.
struct Shared {
    counter: Arc<Counter>,
    /// Of all subscribers, in no order.
    arrivals: Option<Mutex<Vec<u64>>>,
}

impl Shared {
    fn add(&self, deliveries: u64, bytes: u64) {
        if let Some(arrivals) = &self.arrivals {
            let now = now_nanos();
            let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
            arrivals.extend((0..deliveries).map(|_| now));
        }
        self.counter.add(deliveries, bytes);
    }
}

pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let shared = Arc::new(Shared {
        counter: Counter::new(setup.pace_step),
        arrivals: setup.noted.then(Mutex::default),
    });
    if let Some(pace) = setup.pace {
        shared.counter.clone().report(pace).await?;
    }
    let began = Instant::now();
    let mut encoding = "identity".to_owned();
    match &setup.protocol {
        Protocol::Grpc(grpc) => {
            if let Some(chosen) = subscribe(&setup, grpc, &shared).await? {
                encoding = chosen;
            }
        }
        Protocol::Raw { message_bytes } => {
            for _ in 0..setup.count {
                let socket = TcpStream::connect(setup.addr).await?;
                keep(read_raw(socket, *message_bytes, shared.clone()));
            }
        }
        Protocol::Nats { durable } => {
            for place in 0..setup.count {
                let socket = nats::subscribe(setup.addr, *durable, place).await?;
                keep(read_nats(socket, shared.clone()));
            }
        }
    }
    control.answer(&Ready { encoding })?;

    while let Some(order) = control.order::<Order>().await? {
        match order {
            Order::Count => control.answer(&Delivered {
                deliveries: shared.counter.deliveries(),
                bytes: shared.counter.bytes(),
                // Each reader holds one; this function holds the other.
                open: Arc::strong_count(&shared) - 1,
            })?,
            Order::Until(count) => {
                shared.counter.reached(count).await;
                control.answer(&began.elapsed())?;
            }
            Order::Arrivals => {
                let arrivals = shared.arrivals.as_ref().context("nothing was noted")?;
                let arrivals = arrivals.lock().map(|mut noted| std::mem::take(&mut *noted));
                control.answer(&arrivals.unwrap_or_default())?;
            }
        }
    }
    Ok(())
}

/// Reads on beside all others.
fn keep(reading: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = reading.await {
            eprintln!("a subscriber ended: {error:#}");
        }
    });
}

/// Opens all connections, and on each its streams. Returns the compression of the last.
async fn subscribe(
    setup: &Setup,
    grpc: &Grpc,
    shared: &Arc<Shared>,
) -> anyhow::Result<Option<String>> {
    let on_one = grpc.streams_per_connection.max(1);
    let connections = setup.count.div_ceil(on_one);
    let encodings: Vec<Option<String>> = stream::iter(0..connections)
        .map(|connection| async move {
            let places = connection * on_one..setup.count.min((connection + 1) * on_one);
            let connection = Connection::open(setup.addr, grpc.ca.as_deref(), grpc.http2).await?;
            let mut encoding = None;
            for place in places {
                let request = SubscribeRequest {
                    filter: Some(grpc.filters.at(place)),
                    start: setup
                        .from_earliest
                        .then(|| Start::StartPosition(StartPosition::Earliest.into())),
                    // Nothing but events, for as long as a run lasts.
                    progress_interval: Some(prost_types::Duration {
                        seconds: 300,
                        nanos: 0,
                    }),
                    ..SubscribeRequest::default()
                };
                let (body, chosen) = connection
                    .subscribe(&request, grpc.accept_encoding.as_deref())
                    .await?;
                encoding = Some(chosen);
                keep(read_grpc(body, shared.clone()));
            }
            anyhow::Ok(encoding)
        })
        .buffer_unordered(OPENING_MAX)
        .try_collect()
        .await?;
    Ok(encodings.into_iter().flatten().next_back())
}

async fn read_grpc(mut body: RecvStream, shared: Arc<Shared>) -> anyhow::Result<()> {
    let mut messages = Messages::default();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        shared.add(messages.take(&chunk), chunk.len() as u64);
        body.flow_control().release_capacity(chunk.len())?;
    }
    if let Some(trailers) = body.trailers().await? {
        streams::refused(&trailers)?;
    }
    bail!("without a reason")
}

async fn read_raw(
    mut socket: TcpStream,
    message_bytes: usize,
    shared: Arc<Shared>,
) -> anyhow::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes_over = 0;
    loop {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            bail!("the writer has hung up");
        }
        bytes_over += read;
        shared.add((bytes_over / message_bytes) as u64, read as u64);
        bytes_over %= message_bytes;
    }
}

async fn read_nats(
    (mut reader, mut writer): nats::Connection,
    shared: Arc<Shared>,
) -> anyhow::Result<()> {
    let mut line = String::new();
    let (mut deliveries, mut bytes) = (0, 0);
    loop {
        // All that one read brought is counted together.
        if reader.buffer().is_empty() {
            shared.add(deliveries, bytes);
            (deliveries, bytes) = (0, 0);
        }
        line.clear();
        if reader.read_line(&mut line).await? == 0 {
            bail!("nats-server has hung up");
        }
        bytes += line.len() as u64;
        if let Some(rest) = line.strip_prefix("MSG ") {
            let size: usize = rest.rsplit(' ').next().context("a size")?.trim().parse()?;
            let mut left = size + "\r\n".len();
            bytes += left as u64;
            while left > 0 {
                let part = reader.fill_buf().await?.len().min(left);
                if part == 0 {
                    bail!("nats-server has hung up");
                }
                reader.consume(part);
                left -= part;
            }
            deliveries += 1;
        } else if line.starts_with("PING") {
            writer.write_all(b"PONG\r\n").await?;
        }
    }
}
