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

pub mod event;
pub mod filter;
pub mod log;
pub mod proto;
pub mod verbex;
