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

pub mod admin;
pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
pub mod event;
pub mod fanout;
pub mod filter;
pub mod gateway;
pub mod grpc;
pub mod log;
pub mod proto;
mod sealed;
pub mod server;
pub mod tls;
pub mod verbex;
pub mod view;
pub mod webhook;
