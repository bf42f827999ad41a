//! Clients of the webhook door: well-behaved ones, and sockets for those that are not.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{process::Gateway, soon};

/// The protocols that the door speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

/// Both, for tables.
pub(crate) const BOTH: [Http; 2] = [Http::One, Http::Two];

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a body"),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a refusal, whose body is complete.
    pub(crate) fn code(&self) -> String {
        let body = self.json();
        assert_eq!(self.header("content-type"), Some("application/json"));
        let message = body["error"]["message"].as_str();
        assert!(message.is_some_and(|text| !text.is_empty()), "{self:?}");
        let code = body["error"]["code"].as_str();
        code.unwrap_or_else(|| panic!("no code: {self:?}")).into()
    }

    /// What was stored.
    pub(crate) fn stored(&self) -> Stored {
        assert_eq!(self.status, 200, "{self:?}");
        Stored::read(&self.text)
    }
}

/// The body of a 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) sequence: u64,
    pub(crate) duplicate: bool,
}

impl Stored {
    pub(crate) fn read(text: &str) -> Self {
        let body: Value = serde_json::from_str(text).expect("JSON");
        let text = |key: &str| body[key].as_str().expect("a string").to_owned();
        Self {
            id: text("id"),
            sequence: text("sequence").parse().expect("a number"),
            duplicate: body["duplicate"].as_bool().expect("a boolean"),
        }
    }
}

impl Gateway {
    /// A client that trusts the gateway's own CA.
    pub(crate) fn http(&self, http: Http) -> reqwest::Client {
        client(&self.ca(), http)
    }

    /// Posts a body as Verbex does, again if the disk was slow, and takes its 200.
    pub(crate) async fn post(&self, body: impl Into<reqwest::Body> + Clone) -> Stored {
        self.store(&self.http(Http::One), body).await
    }

    /// Posts bodies in this order, over one connection.
    pub(crate) async fn post_all(&self, bodies: impl IntoIterator<Item = String>) -> Vec<Stored> {
        let client = self.http(Http::Two);
        let mut stored = Vec::new();
        for body in bodies {
            stored.push(self.store(&client, body).await);
        }
        stored
    }

    /// Posts a body until it is stored: a busy machine's disk may take longer than a webhook waits.
    pub(crate) async fn store(
        &self,
        client: &reqwest::Client,
        body: impl Into<reqwest::Body> + Clone,
    ) -> Stored {
        loop {
            let answer = self.send(client, body.clone()).await;
            if answer.status != 503 {
                return answer.stored();
            }
        }
    }

    pub(crate) async fn send(
        &self,
        client: &reqwest::Client,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = client
            .post(&self.webhook_url)
            .header("content-type", "application/json")
            .body(body);
        let response = request.send().await.expect("an answer");
        Answer::of(response).await
    }

    /// Gets a page of the operators' door.
    pub(crate) async fn operations(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.admin_url);
        let client = client(Path::new(""), Http::One);
        Answer::of(client.get(url).send().await.expect("an answer")).await
    }

    /// A TLS connection of HTTP/1.1, for requests that no library would send.
    pub(crate) async fn socket(&self) -> Socket {
        Socket::open(self.webhook_addr(), &self.ca()).await
    }
}

/// A client that trusts only this CA, if there is one.
pub(crate) fn client(ca: &Path, http: Http) -> reqwest::Client {
    provide_crypto();
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30));
    if let Ok(pem) = std::fs::read(ca) {
        let ca = reqwest::Certificate::from_pem(&pem).expect("a certificate");
        builder = builder.tls_certs_only([ca]);
    }
    let builder = match http {
        Http::One => builder.http1_only(),
        // Over TLS this is what ALPN has to settle on.
        Http::Two => builder.http2_prior_knowledge(),
    };
    builder.build().expect("a client")
}

/// The library's clients take the process's provider; several tests in one process set it.
pub(crate) fn provide_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An open connection.
pub(crate) struct Socket(TlsStream<TcpStream>);

impl Socket {
    pub(crate) async fn open(addr: SocketAddr, ca: &Path) -> Self {
        provide_crypto();
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(ca).expect("a certificate");
        roots.add(ca).expect("a CA");
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(addr).await.expect("a connection");
        let name = ServerName::from(addr.ip());
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        Self(tls.await.expect("a handshake"))
    }

    /// Writes some bytes of a request.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let written = self.0.write_all(bytes.as_ref()).await;
        written.expect("the gateway reads");
        self.0.flush().await.expect("the gateway reads");
    }

    /// The answer to all that was written, by a server that closes or keeps the connection.
    pub(crate) async fn answer(&mut self) -> Answer {
        let reading = async {
            let mut bytes = Vec::new();
            loop {
                if let Some(answer) = parse(&bytes) {
                    return answer;
                }
                let read = self.0.read_buf(&mut bytes).await;
                if matches!(read, Ok(0) | Err(_)) {
                    panic!("no answer: {}", String::from_utf8_lossy(&bytes));
                }
            }
        };
        soon("an answer", reading).await
    }
}

/// An answer with a content length, once it is whole.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: reqwest::header::HeaderMap = lines
        .filter_map(|line| line.split_once(": "))
        .filter_map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let name = reqwest::header::HeaderName::try_from(name).ok()?;
            Some((name, value.parse().ok()?))
        })
        .collect();
    let length: usize = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let text = body.get(..length)?.to_owned();
    Some(Answer {
        status,
        headers,
        text,
    })
}
