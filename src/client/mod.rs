//! A subscriber that resumes, for programs in Rust. `verbex-gateway tail` uses it too.
//!
//! ```toml
//! verbex-gateway = { version = "0.1", default-features = false, features = ["client"] }
//! ```
//!
//! [`Gateway::subscribe`] returns a stream that reconnects by itself and resumes at the exact place
//! where it was interrupted:
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
//! - **It never skips events.** It resumes after the last cursor that it has returned. Before the
//!   first cursor it begins again with its [`Start`] (see [`Start::Latest`] for what that means).
//!   It never moves to the end of the log by itself. If the gateway refuses a cursor, or sends a
//!   message that the client cannot read, the stream ends with the error and the program decides.
//! - **It detects dead connections.** A gateway sends a message in every `progress_interval`. After
//!   two intervals without a message the client reconnects.
//! - **It does not overload the gateway.** Between attempts it waits with exponential [`backoff`]
//!   and full jitter, and at least as long as the gateway asks for.
//! - **It waits when waiting helps**, and reports each interruption as an [`Item::Interrupted`].
//!   [`Error::may_pass`] says for which errors it waits.
//!
//! The program saves the cursor over restarts. Save each item's cursor when the work on that item
//! is done. If the program dies between the two, it gets that event again, with the same
//! [`id`](crate::proto::Event::id). If the work is written to a database, write the cursor in the
//! same transaction, and begin with [`Start::After`] that cursor: then the work on each event is
//! done exactly once.
//!
//! With TLS and a token:
//!
//! ```no_run
//! use verbex_gateway::client::{Error, Gateway};
//!
//! # fn gateway(ca_pem: &str, token: &str) -> Result<Gateway, Error> {
//! Gateway::new("https://calls.example.com:50051")?
//!     .with_token(token)?
//!     .with_ca(ca_pem) // only if its certificate is from your own CA
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
pub use gateway::{Connection, Erasing, Gateway};
pub use subscriber::{Item, Start, Subscriber, Subscription};
