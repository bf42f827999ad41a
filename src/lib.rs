//! `verbex-gateway`: takes Verbex webhooks, makes each one durable, and streams them over gRPC.
//!
//! One way through the house, front to back, each room knowing only the next:
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
//! A program that follows a gateway takes the second:
//!
//! ```toml
//! verbex-gateway = { version = "0.1", default-features = false, features = ["client"] }
//! ```

#[cfg(feature = "client")]
pub mod client;
pub mod proto;

#[cfg(feature = "gateway")]
pub mod admin;
#[cfg(feature = "gateway")]
pub mod auth;
#[cfg(feature = "gateway")]
pub mod cli;
#[cfg(feature = "gateway")]
pub mod config;
#[cfg(feature = "gateway")]
pub mod event;
#[cfg(feature = "gateway")]
pub mod fanout;
#[cfg(feature = "gateway")]
pub mod filter;
#[cfg(feature = "gateway")]
pub mod gateway;
#[cfg(feature = "gateway")]
pub mod grpc;
#[cfg(feature = "gateway")]
pub mod log;
#[cfg(feature = "gateway")]
pub mod notices;
#[cfg(feature = "gateway")]
mod sealed;
#[cfg(feature = "gateway")]
pub mod server;
#[cfg(feature = "gateway")]
pub mod tls;
#[cfg(feature = "gateway")]
pub mod verbex;
#[cfg(feature = "gateway")]
pub mod view;
#[cfg(feature = "gateway")]
pub mod vitals;
#[cfg(feature = "gateway")]
pub mod webhook;
