//! The typed tree. What one room needs is that room's own `Config`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{auth, fanout, log, webhook};

/// All that the gateway is told. Whoever has one may rely on the rules of `config`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub log: log::Config,
    /// The organisation of events that name none.
    pub organization: Option<String>,
    /// Whether made-up calls come in through the webhook door.
    pub demo: bool,
    /// How long subscribers may take to leave.
    pub drain: Duration,
    /// How long a TLS handshake may take, on every door.
    pub tls_handshake: Duration,
    pub webhook: WebhookDoor,
    pub grpc: GrpcDoor,
    pub admin: AdminDoor,
    pub logging: Logging,
    /// Who may subscribe. Empty: everybody who reaches the door.
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
    /// With a certificate that the gateway makes for itself, good for this machine only.
    SelfMade,
    Files(TlsFiles),
    /// No TLS: a proxy in front ends it.
    PlainHttp,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The chain, the leaf first.
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
    /// Plain text without.
    pub tls: Option<TlsFiles>,
    pub fanout: fanout::Config,
    /// How streams may be compressed, the preferred way first; not at all if empty.
    pub compression: Vec<fanout::Encoding>,
    /// Web pages that may call, by origin; none if empty.
    pub cors_allowed_origins: Vec<http::HeaderValue>,
}

/// The door for operators, in plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminDoor {
    pub addr: SocketAddr,
}

/// What the gateway says about itself, on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    pub format: LogFormat,
    /// How much, in the language of `RUST_LOG`.
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
