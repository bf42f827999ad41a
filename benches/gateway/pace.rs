//! Keeps a publisher at its subscribers' pace, the same way whatever is measured.
//!
//! The subscribers' process tells, over a connection of its own, how many deliveries it has
//! counted. The publisher stays a few batches ahead of that. So every server is loaded as much as
//! it bears, nobody's queue overflows, and nothing is counted that did not arrive.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    time::timeout,
};

use crate::measure::now_nanos;

/// Without a delivery for so long, deliveries are lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// An order to publish.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Publication {
    /// Events that are published at once.
    pub batch_events: usize,
    /// Batches that may be published before the oldest of them has arrived everywhere. 0: one at a
    /// time.
    pub batches_ahead: u64,
    /// Subscribers that want an event.
    pub deliveries_per_event: u64,
    /// For how long.
    pub duration: Duration,
    /// Whether to note when each batch was published.
    pub noted: bool,
}

/// What came of it.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Published {
    pub events: u64,
    /// From the first event to the last delivery.
    pub elapsed: Duration,
    /// Groups that the log committed them in, where there is a log.
    pub groups: Option<u64>,
    /// When each batch was published, in nanoseconds of the monotonic clock, where that was asked
    /// for.
    pub published_at: Vec<u64>,
}

impl Published {
    pub(crate) fn events_per_second(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64()
    }
}

/// The publisher's end.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Where the subscribers' process reports.
    pub addr: SocketAddr,
    delivered: watch::Receiver<u64>,
    expected: u64,
}

impl Pace {
    pub(crate) async fn listen() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let (counted, delivered) = watch::channel(0);
        tokio::spawn(async move {
            let (mut reports, _) = listener.accept().await?;
            while let Ok(total) = reports.read_u64_le().await {
                counted.send_replace(total);
            }
            anyhow::Ok(())
        });
        Ok(Self {
            addr,
            delivered,
            expected: 0,
        })
    }

    /// What was delivered so far, for publishers that do not publish in batches.
    pub(crate) fn delivered_so_far(&self) -> watch::Receiver<u64> {
        self.delivered.clone()
    }

    /// Publishes batches by `send`, which gets the number of the first event and how many there
    /// are.
    pub(crate) async fn publish(
        &mut self,
        order: Publication,
        mut send: impl AsyncFnMut(u64, usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<Published> {
        let batch_deliveries = order.batch_events as u64 * order.deliveries_per_event;
        let mut published = Published::default();
        let start = Instant::now();
        while start.elapsed() < order.duration || published.events == 0 {
            if order.noted {
                published.published_at.push(now_nanos());
            }
            send(published.events, order.batch_events).await?;
            published.events += order.batch_events as u64;
            self.expected += batch_deliveries;
            let ahead = order.batches_ahead * batch_deliveries;
            self.delivered(self.expected.saturating_sub(ahead)).await?;
        }
        self.delivered(self.expected).await?;
        published.elapsed = start.elapsed();
        Ok(published)
    }

    /// Waits until so many deliveries were counted.
    async fn delivered(&mut self, count: u64) -> anyhow::Result<()> {
        let reached = self.delivered.wait_for(|&total| total >= count);
        let total = match timeout(PATIENCE, reached).await {
            Ok(total) => *total.context("the subscribers are gone")?,
            Err(_) => bail!("some of {count} deliveries are lost"),
        };
        if total > self.expected {
            bail!("{total} deliveries of {}: some came twice", self.expected);
        }
        Ok(())
    }
}

/// The subscribers' end: what was delivered to all of them.
#[derive(Debug)]
pub(crate) struct Counter {
    deliveries: AtomicU64,
    bytes: AtomicU64,
    /// A report is due each time another so many deliveries are complete.
    step: u64,
    due: Notify,
}

impl Counter {
    pub(crate) fn new(step: u64) -> Arc<Self> {
        Arc::new(Self {
            deliveries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            step: step.max(1),
            due: Notify::new(),
        })
    }

    /// Counts what one subscriber got.
    pub(crate) fn add(&self, deliveries: u64, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if deliveries == 0 {
            return;
        }
        let before = self.deliveries.fetch_add(deliveries, Ordering::Relaxed);
        if before / self.step != (before + deliveries) / self.step {
            self.due.notify_one();
        }
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until so many were counted.
    pub(crate) async fn reached(&self, count: u64) {
        while self.deliveries() < count {
            self.due.notified().await;
        }
    }

    /// Reports to a publisher until it is gone.
    pub(crate) async fn report(self: Arc<Self>, to: SocketAddr) -> anyhow::Result<()> {
        let mut publisher = TcpStream::connect(to).await?;
        publisher.set_nodelay(true)?;
        tokio::spawn(async move {
            loop {
                self.due.notified().await;
                if publisher.write_u64_le(self.deliveries()).await.is_err() {
                    break;
                }
            }
        });
        Ok(())
    }
}
