//! A subscriber that resumes: what a program written in Rust uses to follow a gateway, and what
//! `verbex-gateway tail` uses.
//!
//! ```toml
//! verbex-gateway = { version = "0.1", default-features = false, features = ["client"] }
//! ```
//!
//! [`Gateway::subscribe`] gives a stream that reconnects by itself and goes on at the exact place
//! where it was cut off:
//!
//! ```no_run
//! use verbex_gateway::client::{CursorStore, FileStore, Gateway, Item, Start, Subscription};
//!
//! # async fn follow() -> Result<(), Box<dyn std::error::Error>> {
//! let mut store = FileStore::open("calls.cursor")?;
//! let start = Start::resume(&store, Start::Earliest)?;
//! let mut items = Gateway::new("http://127.0.0.1:50051")?.subscribe(Subscription::new(start));
//! while let Some(item) = items.try_next().await? {
//!     if let Item::Event { event, .. } = &item {
//!         println!("{} {}", event.call_id, event.event_name); // first the work
//!     }
//!     if let Some(cursor) = item.cursor() {
//!         store.save(cursor)?; // then the cursor
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it promises:
//!
//! - **It never skips.** It goes on after the last cursor that it has handed out, or, before the
//!   first, begins again as it was told to begin (what that means for [`Start::Latest`] is said
//!   there). It never moves to the end of the log by itself: where the gateway refuses a cursor,
//!   the stream ends with the error and the program decides. So it does at a message that it cannot
//!   read.
//! - **Silence is a dead connection.** A gateway says something in every `progress_interval`; after
//!   two without a message the connection is given up and made anew.
//! - **It does not stampede.** Between attempts it waits with exponential [`backoff`] and full
//!   jitter, and as long as the gateway asks for.
//! - **What waiting mends, it waits for**, and tells each time with an [`Item::Interrupted`].
//!   [`Error::may_pass`] is the table.
//!
//! Cursors over restarts are the program's. Save each item's cursor once the work on that item is
//! done: a program that dies between the two gets that one event again, with the same
//! [`id`](crate::proto::Event::id). If the work is written to a database, write the cursor in the
//! same transaction, and begin with [`Start::After`] what it holds: then the work on each event
//! happens exactly once.
//!
//! With TLS and a token:
//!
//! ```no_run
//! use verbex_gateway::client::{Error, Gateway};
//!
//! # fn gateway(ca_pem: &str, token: &str) -> Result<Gateway, Error> {
//! Gateway::new("https://calls.example.com:50051")?
//!     .with_token(token)?
//!     .with_ca(ca_pem) // only if its certificate is of a CA of your own
//! # }
//! ```

pub mod backoff;
mod cursor_store;
mod error;
mod gateway;
mod retry;
mod subscriber;
#[cfg(test)]
mod tests;

pub use cursor_store::{CursorStore, FileStore, MemoryStore};
pub use error::Error;
pub use gateway::{Connection, Gateway};
pub use subscriber::{Item, Start, Subscriber, Subscription};
