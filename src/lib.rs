//! `verbex-gateway`: receives Verbex webhooks, makes each one durable, and streams them over gRPC.
//!
//! Events go one way through these rooms:
//!
//! ```text
//! Verbex ──HTTPS──▶ webhook ──▶ verbex ──▶ log ──▶ fanout ──▶ grpc ──HTTP/2──▶ subscribers
//!                   (door)   (normalize) (durable) (who wants   (streams)
//!                                           ▲        what)
//!                                           └── catch-up reads of the slow and the returning
//! ```
//!
//! # Features
//!
//! | feature | gives |
//! |---|---|
//! | `gateway` (default) | the program, and the rooms that it is made of |
//! | `client` | [`client`]: a subscriber that resumes, without what a server needs |
//! | none | [`proto`]: the messages and stubs alone |
//!
//! A program that follows a gateway needs only `client`:
//!
//! ```toml
//! verbex-gateway = { version = "0.1", default-features = false, features = ["client"] }
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::unwrap_used,
        reason = "a test that fails so says where"
    )
)]

#[cfg(feature = "client")]
pub mod client;
pub mod proto;

#[cfg(feature = "gateway")]
pub mod cli;

#[cfg(feature = "gateway")]
mod admin;
#[cfg(feature = "gateway")]
mod auth;
#[cfg(feature = "gateway")]
mod config;
#[cfg(feature = "gateway")]
mod event;
#[cfg(feature = "gateway")]
mod fanout;
#[cfg(feature = "gateway")]
mod filter;
#[cfg(feature = "gateway")]
mod gateway;
#[cfg(feature = "gateway")]
mod grpc;
#[cfg(feature = "gateway")]
mod log;
#[cfg(feature = "gateway")]
mod notices;
#[cfg(feature = "gateway")]
mod sealed;
#[cfg(feature = "gateway")]
mod server;
#[cfg(feature = "gateway")]
mod simulate;
#[cfg(feature = "gateway")]
mod tls;
#[cfg(feature = "gateway")]
mod verbex;
#[cfg(feature = "gateway")]
mod view;
#[cfg(feature = "gateway")]
mod vitals;
#[cfg(feature = "gateway")]
mod webhook;

/// For benchmarks and for tests of the program only. It may change at any time.
#[cfg(feature = "gateway")]
#[doc(hidden)]
pub mod inside {
    pub mod auth {
        pub use crate::auth::{TokenHash, Tokens, token_from};
    }
    pub mod event {
        pub use crate::event::{
            Epoch, EventId, Group, NewEvent, Position, Raw, Sequence, StoredEvent, timestamp,
        };
    }
    pub mod fanout {
        pub use crate::fanout::{Config, Encoding, Fanout, Metrics};
    }
    pub mod filter {
        pub use crate::filter::Selector;
    }
    pub mod grpc {
        pub use crate::grpc::{Config, Parts, service};
    }
    pub mod log {
        pub use crate::log::{
            Age, Config, Followers, Lane, Limits, Log, Metrics, Publisher, Query, Reader, Tail,
            followers, open,
        };
        pub mod cursor {
            pub use crate::log::cursor::{Cursor, encode};
        }
    }
    pub mod server {
        pub use crate::server::{Config, Metrics, Stop, serve};
    }
    pub mod tls {
        pub use crate::tls::self_made;
    }
    pub mod webhook {
        pub use crate::webhook::{Metrics, PATH, server_config};
    }
}
