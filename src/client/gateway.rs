//! A gateway's address and credentials, and calls to it.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri},
};

use super::{Error, Subscriber, Subscription, error::innermost};
use crate::proto::{
    EraseEventsRequest, EraseEventsResponse, Event, GetEventRequest, GetStatusRequest,
    GetStatusResponse, ListEventsRequest, ListEventsResponse, SubscribeRequest, SubscribeResponse,
    admin_service_client::AdminServiceClient, event_service_client::EventServiceClient,
};

/// The time to connect, TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(10);
/// Pings find a dead connection below gRPC. A gateway allows a ping every 10 s.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_ANSWER: Duration = Duration::from_secs(10);
/// The time for a page or an event. A page with few matches in a long log takes a while.
const ANSWER: Duration = Duration::from_secs(60);

/// A gateway's address, the CAs to trust, and the token to send.
///
/// While a call is open, connections are pinged every 20 s. TCP and TLS have 10 s each to connect.
#[derive(Clone, Debug)]
pub struct Gateway {
    address: String,
    endpoint: Endpoint,
    /// None means plain text.
    tls: Option<ClientTlsConfig>,
    bearer: Bearer,
}

impl Gateway {
    /// The gateway at `http://host:port`, or `https://host:port` if it uses TLS. This does not
    /// connect.
    ///
    /// # Errors
    /// [`Error::Address`] if the text is not such an address.
    pub fn new(address: &str) -> Result<Self, Error> {
        let malformed = || Error::Address(address.to_owned());
        let uri: Uri = address.parse().map_err(|_| malformed())?;
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => Some(ClientTlsConfig::new().with_native_roots()),
            _ => return Err(malformed()),
        };
        let endpoint = Endpoint::from(uri)
            .user_agent(concat!("verbex-gateway/", env!("CARGO_PKG_VERSION")))
            .map_err(|_| malformed())?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_ANSWER);
        Ok(Self {
            address: address.to_owned(),
            endpoint,
            tls,
            bearer: Bearer(None),
        })
    }

    /// Trusts only the CA certificates in this PEM text, instead of the system's.
    ///
    /// # Errors
    /// If the text has no certificate, or a broken one.
    pub fn with_ca(mut self, pem: &str) -> Result<Self, Error> {
        if CertificateDer::pem_slice_iter(pem.as_bytes())
            .next()
            .is_none()
        {
            return Err(Error::Ca(
                "they contain no certificate in PEM format".to_owned(),
            ));
        }
        if let Some(tls) = &mut self.tls {
            *tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        }
        self.secured()?;
        Ok(self)
    }

    /// Sends this token with every call. The token is never printed.
    ///
    /// # Errors
    /// If it has characters that a header cannot hold.
    pub fn with_token(mut self, token: &str) -> Result<Self, Error> {
        self.bearer = Bearer::new(token)?;
        Ok(self)
    }

    /// The address as it was given to [`Gateway::new`].
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Subscribes. The stream connects when it is first polled.
    #[must_use]
    pub fn subscribe(&self, subscription: Subscription) -> Subscriber {
        Subscriber::new(self.clone(), subscription)
    }

    /// Connects, to read history.
    ///
    /// # Errors
    /// If there is no connection within 20 s, TLS fails, or the CA certificates cannot be used. If
    /// the port is not a gateway's, sometimes only the first call fails.
    pub async fn connect(&self) -> Result<Connection, Error> {
        let endpoint = self.secured()?;
        let channel = tokio::time::timeout(2 * CONNECT, endpoint.connect())
            .await
            .map_err(|_| Error::Unreachable {
                address: self.address.clone(),
                why: "no answer in time".to_owned(),
            })?
            .map_err(|error| Error::from_transport(&self.address, &error))?;
        Ok(Connection {
            address: self.address.clone(),
            answered: false,
            admin: AdminServiceClient::with_interceptor(channel.clone(), self.bearer.clone()),
            client: EventServiceClient::with_interceptor(channel, self.bearer.clone()),
        })
    }

    fn secured(&self) -> Result<Endpoint, Error> {
        let Some(tls) = &self.tls else {
            return Ok(self.endpoint.clone());
        };
        let endpoint = self.endpoint.clone();
        endpoint
            .tls_config(tls.clone().timeout(CONNECT))
            .map_err(|error| Error::Ca(innermost(&error).to_string()))
    }
}

/// A connection to a gateway, to read history. For a stream that reconnects by itself, see
/// [`Gateway::subscribe`].
#[derive(Clone, Debug)]
pub struct Connection {
    address: String,
    answered: bool,
    client: EventServiceClient<InterceptedService<Channel, Bearer>>,
    admin: AdminServiceClient<InterceptedService<Channel, Bearer>>,
}

impl Connection {
    /// Gets one page of history. For the next page, send the request again with the answer's
    /// `next_page_token` as its `page_token`.
    ///
    /// # Errors
    /// If the gateway refuses, the connection is lost, or there is no answer within 60 s.
    pub async fn list_events(
        &mut self,
        request: ListEventsRequest,
    ) -> Result<ListEventsResponse, Error> {
        let answer = self.client.list_events(in_time(request)).await;
        self.read(answer)
    }

    /// Gets the event with this id, in `EVENT_VIEW_RAW`.
    ///
    /// # Errors
    /// If the gateway refuses, the connection is lost, or there is no answer within 60 s.
    pub async fn get_event(&mut self, id: String) -> Result<Event, Error> {
        let request = in_time(GetEventRequest { id });
        let answer = self.client.get_event(request).await;
        Ok(self.read(answer)?.event.unwrap_or_default())
    }

    /// Gets the state of the gateway. The token must be an operator's.
    ///
    /// # Errors
    /// If the gateway refuses, the connection is lost, or there is no answer within 60 s.
    pub async fn get_status(&mut self) -> Result<GetStatusResponse, Error> {
        let answer = self.admin.get_status(in_time(GetStatusRequest {})).await;
        self.read(answer)
    }

    /// Erases events, or counts them. The token must be an operator's. The work is done while the
    /// answers are read, and it is done when they have ended.
    ///
    /// # Errors
    /// If the gateway refuses, or the connection is lost.
    pub async fn erase_events(&mut self, request: EraseEventsRequest) -> Result<Erasing, Error> {
        let answer = self.admin.erase_events(request).await;
        Ok(Erasing {
            address: self.address.clone(),
            answers: self.read(answer)?,
        })
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

/// An erasure that is under way.
#[derive(Debug)]
pub struct Erasing {
    address: String,
    answers: Streaming<EraseEventsResponse>,
}

impl Erasing {
    /// Waits until more is done. None when the gateway has ended the answer.
    ///
    /// # Errors
    /// If the gateway could not erase all, or the connection is lost.
    pub async fn next(&mut self) -> Result<Option<EraseEventsResponse>, Error> {
        let answer = self.answers.message().await;
        answer.map_err(|status| Error::from_status(&self.address, &status))
    }
}

/// Adds the token to every request.
#[derive(Clone, Debug)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn new(token: &str) -> Result<Self, Error> {
        let header = format!("Bearer {}", token.trim());
        let mut header: MetadataValue<Ascii> = header.parse().map_err(|_| Error::Token)?;
        header.set_sensitive(true);
        Ok(Self(Some(header)))
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
