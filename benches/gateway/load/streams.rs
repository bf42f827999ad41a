//! A raw HTTP/2 client for `Subscribe`.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, bail};
use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Request};
use prost::Message;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use verbex_gateway::proto::SubscribeRequest;

/// What the client asks of HTTP/2. The server's DATA frames follow it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Http2 {
    pub stream_window_bytes: u32,
    pub connection_window_bytes: u32,
    pub frame_bytes_max: u32,
}

impl Default for Http2 {
    /// Large windows, and the frames that everybody has.
    fn default() -> Self {
        Self {
            stream_window_bytes: 1024 * 1024,
            connection_window_bytes: 4 * 1024 * 1024,
            frame_bytes_max: 16 * 1024,
        }
    }
}

/// A connection that streams can be opened on.
#[derive(Clone)]
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    scheme: &'static str,
}

/// A plain or a TLS connection.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

impl Connection {
    pub(crate) async fn open(
        addr: SocketAddr,
        ca: Option<&Path>,
        http2: Http2,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let (stream, scheme): (Box<dyn Socket>, _) = match ca {
            None => (Box::new(stream), "http"),
            Some(ca) => {
                let connector = TlsConnector::from(tls_config(ca, b"h2")?);
                (
                    Box::new(connector.connect(addr.ip().into(), stream).await?),
                    "https",
                )
            }
        };
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(http2.stream_window_bytes)
            .initial_connection_window_size(http2.connection_window_bytes)
            .max_frame_size(http2.frame_bytes_max)
            .enable_push(false)
            .handshake(stream)
            .await?;
        tokio::spawn(connection);
        Ok(Self { requests, scheme })
    }

    /// Begins a subscription. Returns its stream once the server has answered that there is one,
    /// and the compression of its messages.
    pub(crate) async fn subscribe(
        &self,
        request: &SubscribeRequest,
        accept_encoding: Option<&str>,
    ) -> anyhow::Result<(RecvStream, String)> {
        let mut head = Request::post(format!(
            "{}://localhost/verbex.gateway.v1.EventService/Subscribe",
            self.scheme
        ))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
        if let Some(encodings) = accept_encoding {
            head = head.header("grpc-accept-encoding", encodings);
        }
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut body) = requests.send_request(head.body(())?, false)?;
        body.send_data(framed(request), true)?;
        let (head, body) = response.await?.into_parts();
        refused(&head.headers)?;
        let encoding = head.headers.get("grpc-encoding");
        let encoding = encoding.map_or(Ok("identity"), |encoding| encoding.to_str())?;
        Ok((body, encoding.to_owned()))
    }
}

/// An error if these headers or trailers end a call.
pub(crate) fn refused(headers: &HeaderMap) -> anyhow::Result<()> {
    match headers.get("grpc-status") {
        None => Ok(()),
        Some(status) => bail!("grpc-status {status:?}: {:?}", headers.get("grpc-message")),
    }
}

/// A client's TLS, trusting one CA and speaking one protocol.
pub(crate) fn tls_config(ca: &Path, protocol: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(ca)
        .with_context(|| format!("the CA certificate {}", ca.display()))?;
    roots.add(certificate)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// A message as gRPC sends it.
fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(5 + length);
    framed.put_u8(0);
    framed.put_u32(length as u32);
    framed.put_slice(&message.encode_to_vec());
    framed.freeze()
}
