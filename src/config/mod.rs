//! The configuration: one typed tree, checked, and the only place that reads files, environment and
//! flags.
//!
//! A setting has one name and is written in four places alike: `webhook.addr` is `addr` under
//! `[webhook]` in the file, `VERBEX_GATEWAY_WEBHOOK_ADDR` in the environment and `--webhook-addr`
//! on the command line (for those that have a flag). Flags count over environment, environment over
//! file, file over defaults.
//!
//! - `file`: the file as it was written, each value with its place.
//! - `environment`: the variables, and which of them Kubernetes set.
//! - `names`: what a setting is called in each layer, and what it was called before.
//! - `setting`: how a single value is read and printed.
//! - `reader`: reads one setting from all layers, and `effective` remembers which one counted.
//! - `tokens`: the entries of `[[tokens]]`, read and written.
//! - [`load()`]: the tree, setting by setting.
//! - `check`: the rules between settings.

mod check;
mod effective;
mod environment;
mod file;
pub(crate) mod load;
mod names;
mod reader;
mod setting;
mod tokens;

#[cfg(test)]
mod tests;

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use crate::auth;

pub(crate) use effective::Effective;
pub(crate) use load::load;
pub(crate) use tokens::token_entry;

/// All that the gateway is told. Whoever has one may rely on the rules of this module.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// Where everything durable lives.
    pub data_dir: PathBuf,
    /// The organisation of events that name none.
    pub organization: Option<String>,
    /// Whether made-up calls come in through the webhook's door.
    pub demo: bool,
    /// Whether a new log may begin where something is that is no log. For one start: nothing sets
    /// it but `serve --new-log`.
    pub new_log: bool,
    /// How long subscribers may take to leave.
    pub drain: Duration,
    /// How long a TLS handshake may take, on every door.
    pub tls_handshake: Duration,
    /// The door for Verbex.
    pub webhook: Webhook,
    /// The door for subscribers.
    pub grpc: Grpc,
    /// The door for operators.
    pub admin: Admin,
    /// What the gateway says about itself.
    pub logging: Logging,
    /// Who may subscribe. Empty: everybody who reaches the door.
    pub tokens: Vec<auth::Token>,
}

/// The door for Verbex.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Webhook {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it was said by name that it may be open to other machines without TLS or
    /// credentials.
    pub open_allowed: bool,
    /// How it is kept from listeners on the way.
    pub tls: WebhookTls,
    /// The last segment of the path, URL-safe.
    pub secret: Option<Secret>,
    /// What a caller has to show beside the path: any one of them, if there are any.
    pub credentials: Vec<Credential>,
    /// Where callers may come from; from anywhere if empty.
    pub addresses_allowed: Vec<IpNet>,
    /// Requests that are inside at the same time, 1 to 1,000,000.
    pub requests_in_flight_max: usize,
    /// Requests of one client address in a second, at least 1; any number if none.
    pub client_requests_per_second_max: Option<u32>,
    /// The largest body, before and after decompression: 1 to [`BODY_BYTES_LIMIT`].
    pub body_bytes_max: usize,
    /// How long a body may take.
    pub body_timeout: Duration,
}

/// The largest `webhook.body_bytes_max`. Twice as much and 512 KiB for what an event carries beside
/// its body stay under the 4 MiB that every gRPC client takes: no event that comes in is too large
/// to go out.
pub(crate) const BODY_BYTES_LIMIT: u32 = 1_835_008;

/// The smallest `grpc.subscriber_queue_bytes_max`.
pub(crate) const QUEUE_BYTES_LEAST: u32 = 64 << 10;

/// How webhooks are kept from listeners on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WebhookTls {
    /// By a certificate that the gateway makes for itself, good for this machine only.
    SelfMade,
    /// By this certificate.
    Files(TlsFiles),
    /// Not at all: a proxy in front ends TLS.
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

/// What a webhook's sender can show beside the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A header with this value.
    Header {
        /// Its lower-case name.
        name: http::HeaderName,
        /// Its whole value.
        value: Secret,
    },
    /// HTTP basic authentication.
    Basic {
        /// Has no colon in it.
        username: String,
        /// May have one.
        password: Secret,
    },
    /// `Authorization: Bearer …`.
    Bearer {
        /// What follows the scheme.
        token: Secret,
    },
}

/// The door for subscribers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grpc {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Whether it was said by name that it may be open to other machines without TLS or
    /// credentials.
    pub open_allowed: bool,
    /// Plain text without.
    pub tls: Option<TlsFiles>,
    /// Subscriptions at the same time, 1 to 1,000,000.
    pub subscribers_max: usize,
    /// What waits for one subscriber before it is served from the log instead; at least
    /// [`QUEUE_BYTES_LEAST`].
    pub subscriber_queue_bytes_max: usize,
    /// How streams may be compressed, what is liked best first; not at all if empty.
    pub compression: Vec<Compression>,
    /// Web pages that may call, by origin; none if empty.
    pub cors_allowed_origins: Vec<http::HeaderValue>,
}

/// A way to compress a stream's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Known to nearly every client.
    Gzip,
    /// Better and cheaper, known to fewer.
    Zstd,
}

/// The door for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admin {
    /// Where it listens, in plain text.
    pub addr: SocketAddr,
}

/// What the gateway says about itself, on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    /// In which form.
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
    // `::ffff:127.0.0.1` is loopback in other clothes.
    addr.ip().to_canonical().is_loopback()
}

/// A text that is printed nowhere.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that compares it.
    #[must_use]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why there is no configuration: everything that is wrong with it, a line each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid(pub Vec<Problem>);

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// `file:line:column: key`, the variable or the flag.
    pub place: String,
    /// What is wrong there, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
