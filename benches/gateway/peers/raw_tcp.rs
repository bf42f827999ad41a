//! The floor: as many bytes as the messages of a batch have, written to raw TCP sockets by as many
//! threads as there are cores.

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::{
    pace::{Pace, Publication},
    process::Control,
    servers::Ready,
};

/// How it is set up.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Setup {
    /// Bytes of one message.
    pub message_bytes: usize,
    pub subscribers: usize,
}

pub(crate) async fn run(setup: Setup, mut control: Control) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let mut pace = Pace::listen().await?;
    control.answer(&Ready {
        addr,
        pace: pace.addr,
    })?;

    let writers = thread::available_parallelism()?.get();
    let mut sockets: Vec<Vec<TcpStream>> = (0..writers).map(|_| Vec::new()).collect();
    for place in 0..setup.subscribers {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let socket = socket.into_std()?;
        socket.set_nonblocking(false)?;
        sockets[place % writers].push(socket);
    }
    let writers: Vec<SyncSender<Arc<[u8]>>> = sockets.into_iter().map(write_to).collect();
    while let Some(order) = control.order::<Publication>().await? {
        let batch: Arc<[u8]> = vec![0; order.batch_events * setup.message_bytes].into();
        let published = pace
            .publish(order, async |_, _| {
                for writer in &writers {
                    writer
                        .send(batch.clone())
                        .ok()
                        .context("a writer is gone")?;
                }
                Ok(())
            })
            .await?;
        control.answer(&published)?;
    }
    Ok(())
}

/// A thread that writes each batch to each of these sockets.
fn write_to(mut sockets: Vec<TcpStream>) -> SyncSender<Arc<[u8]>> {
    let (sender, batches): (_, Receiver<Arc<[u8]>>) = sync_channel(64);
    thread::spawn(move || {
        for batch in batches {
            for socket in &mut sockets {
                if socket.write_all(&batch).is_err() {
                    return;
                }
            }
        }
    });
    sender
}
