//! Where a gateway is, and how to talk to it.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::Error;
use crate::proto::{
    Event, GetEventRequest, ListEventsRequest, ListEventsResponse, SubscribeRequest,
    SubscribeResponse, event_service_client::EventServiceClient,
};

/// TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(10);
/// Finds a dead connection below gRPC; a gateway allows a ping every 10 s.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_ANSWER: Duration = Duration::from_secs(10);
/// The answer to a page or an event. A page that has to search a long log for few matches takes a while.
const ANSWER: Duration = Duration::from_secs(60);

/// Where a gateway is, whom to trust there, and as whom to come.
#[derive(Clone, Debug)]
pub struct Gateway {
    address: String,
    endpoint: Endpoint,
    bearer: Bearer,
}

impl Gateway {
    /// The gateway at `http://host:port` or `https://host:port`. Over TLS it trusts the certificates in `ca_pem`, or else those of the system.
    ///
    /// # Errors
    /// If one of the three cannot be what it should be. Nothing is connected yet.
    pub fn new(address: &str, ca_pem: Option<&str>, token: Option<&str>) -> Result<Self, Error> {
        let malformed = || Error::Address(address.to_owned());
        let uri: http::Uri = address.parse().map_err(|_| malformed())?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(malformed()),
        };
        let mut endpoint = Endpoint::from(uri)
            .user_agent(concat!("verbex-gateway/", env!("CARGO_PKG_VERSION")))
            .map_err(|_| malformed())?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_ANSWER);
        if tls {
            let roots = match ca_pem {
                Some(pem)
                    if CertificateDer::pem_slice_iter(pem.as_bytes())
                        .next()
                        .is_none() =>
                {
                    return Err(Error::Ca("there is no certificate in PEM".to_owned()));
                }
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            endpoint = endpoint
                .tls_config(roots.timeout(CONNECT))
                .map_err(|error| {
                    let error: &(dyn std::error::Error + 'static) = &error;
                    let cause = std::iter::successors(Some(error), |cause| cause.source()).last();
                    Error::Ca(cause.unwrap_or(error).to_string())
                })?;
        }
        Ok(Self {
            address: address.to_owned(),
            endpoint,
            bearer: Bearer::new(token)?,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connects.
    ///
    /// # Errors
    /// If nobody answers there within 10 s, or not as a gateway.
    pub async fn connect(&self) -> Result<Connection, Error> {
        let channel = tokio::time::timeout(2 * CONNECT, self.endpoint.connect())
            .await
            .map_err(|_| Error::Unreachable {
                address: self.address.clone(),
                why: "no answer in time".to_owned(),
            })?
            .map_err(|error| Error::from_transport(&self.address, &error))?;
        Ok(Connection {
            address: self.address.clone(),
            answered: false,
            client: EventServiceClient::with_interceptor(channel, self.bearer.clone()),
        })
    }
}

/// A connection to a gateway. For a stream that survives it, see [`subscribe`](super::subscribe).
#[derive(Clone, Debug)]
pub struct Connection {
    address: String,
    answered: bool,
    client: EventServiceClient<InterceptedService<Channel, Bearer>>,
}

impl Connection {
    /// One page of history.
    ///
    /// # Errors
    /// As the gateway says, or if the connection is lost.
    pub async fn list_events(
        &mut self,
        request: ListEventsRequest,
    ) -> Result<ListEventsResponse, Error> {
        let answer = self.client.list_events(in_time(request)).await;
        self.read(answer)
    }

    /// The event with this id, in `EVENT_VIEW_RAW`.
    ///
    /// # Errors
    /// As the gateway says, or if the connection is lost.
    pub async fn get_event(&mut self, id: String) -> Result<Event, Error> {
        let request = in_time(GetEventRequest { id });
        let answer = self.client.get_event(request).await;
        Ok(self.read(answer)?.event.unwrap_or_default())
    }

    pub(super) async fn subscribe(
        &mut self,
        request: SubscribeRequest,
    ) -> Result<Streaming<SubscribeResponse>, Error> {
        let answer = self.client.subscribe(request).await;
        self.read(answer)
    }

    fn read<T>(&mut self, answer: Result<Response<T>, Status>) -> Result<T, Error> {
        match answer {
            Ok(response) => {
                self.answered = true;
                Ok(response.into_inner())
            }
            Err(status) => {
                let error = Error::from_status(&self.address, &status);
                Err(if self.answered {
                    error
                } else {
                    error.before_any_answer()
                })
            }
        }
    }
}

/// Puts the token on every request.
#[derive(Clone, Debug)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn new(token: Option<&str>) -> Result<Self, Error> {
        let header = token.map(|token| {
            let mut header: MetadataValue<Ascii> = format!("Bearer {}", token.trim())
                .parse()
                .map_err(|_| Error::Token)?;
            header.set_sensitive(true);
            Ok(header)
        });
        header.transpose().map(Self)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", header.clone());
        }
        Ok(request)
    }
}

fn in_time<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER);
    request
}
