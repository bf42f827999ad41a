//! The typed tree. The settings of a room are that room's own `Config`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{auth, fanout, log, webhook};

/// The settings of the gateway. They satisfy the rules of `config`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub log: log::Config,
    /// The organisation of events that name none.
    pub organization: Option<String>,
    /// Whether the gateway posts made-up calls to the webhook door.
    pub demo: bool,
    /// How long subscribers have to leave at a shutdown.
    pub drain: Duration,
    /// The longest TLS handshake, on every door.
    pub tls_handshake: Duration,
    pub webhook: WebhookDoor,
    pub grpc: GrpcDoor,
    pub admin: AdminDoor,
    pub logging: Logging,
    /// Tokens of subscribers. If empty, everybody who reaches the door may subscribe.
    pub tokens: Vec<auth::Token>,
}

/// The door for Verbex.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WebhookDoor {
    pub addr: SocketAddr,
    /// Whether the operator allows other machines to reach it without TLS or credentials.
    pub open_allowed: bool,
    pub tls: WebhookTls,
    pub service: webhook::Config,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WebhookTls {
    /// A certificate that the gateway makes for itself, for this machine only.
    SelfMade,
    Files(TlsFiles),
    /// No TLS, because a proxy in front of the gateway ends it.
    PlainHttp,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate chain, the leaf first.
    pub cert: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// The door for subscribers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GrpcDoor {
    pub addr: SocketAddr,
    /// Whether the operator allows other machines to reach it without TLS or credentials.
    pub open_allowed: bool,
    /// None means plain text.
    pub tls: Option<TlsFiles>,
    pub fanout: fanout::Config,
    /// How streams may be compressed, in order of preference. Empty means not at all.
    pub compression: Vec<fanout::Encoding>,
    /// Origins of web pages that may call. Empty means none.
    pub cors_allowed_origins: Vec<http::HeaderValue>,
}

/// The door for operators, in plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminDoor {
    pub addr: SocketAddr,
}

/// The gateway's own log, on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    pub format: LogFormat,
    /// The log level, in the syntax of `RUST_LOG`.
    pub level: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether only this machine can reach a door at this address.
#[must_use]
pub(crate) fn is_loopback(addr: SocketAddr) -> bool {
    // `::ffff:127.0.0.1` is 127.0.0.1, written as an IPv6 address.
    addr.ip().to_canonical().is_loopback()
}
