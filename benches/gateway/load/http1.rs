//! A keep-alive HTTPS connection that posts webhooks one after the other, as cheaply as can be.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, bail};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use verbex_gateway::inside::webhook;

/// An answer is far shorter.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// The connection.
#[derive(Debug)]
pub(crate) struct Poster {
    stream: TlsStream<TcpStream>,
    host: SocketAddr,
    buffer: Vec<u8>,
}

impl Poster {
    pub(crate) async fn connect(addr: SocketAddr, tls: Arc<ClientConfig>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(tls);
        Ok(Self {
            stream: connector.connect(addr.ip().into(), stream).await?,
            host: addr,
            buffer: Vec::with_capacity(ANSWER_BYTES_MAX),
        })
    }

    /// Posts a body, and returns once its 200 is here.
    pub(crate) async fn post(&mut self, body: &str) -> anyhow::Result<()> {
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            webhook::PATH,
            self.host,
            body.len(),
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        while !is_complete(&self.buffer)? {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server has hung up");
            }
        }
        if !self.buffer.starts_with(b"HTTP/1.1 200 ") {
            bail!("not stored: {}", String::from_utf8_lossy(&self.buffer));
        }
        Ok(())
    }
}

/// Whether all of an answer is here.
fn is_complete(answer: &[u8]) -> anyhow::Result<bool> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(head) = answer.windows(END.len()).position(|window| window == END) else {
        return Ok(false);
    };
    let length = str::from_utf8(&answer[..head])?
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .context("an answer without a length")?;
    let length: usize = length.1.trim().parse()?;
    Ok(answer.len() >= head + END.len() + length)
}
