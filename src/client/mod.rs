//! A subscriber that resumes: what a program written in Rust uses to follow a gateway, and what `verbex-gateway tail` uses.
//!
//! [`subscribe`] gives a stream that reconnects by itself and goes on at the exact place where it was cut off. What it promises:
//!
//! - **It never skips.** It goes on after the last cursor that it has handed out, or begins again as it was told to begin. It never moves
//!   to the end of the log by itself: where the gateway refuses a cursor, the stream ends with the error and the program decides.
//! - **Silence is a dead connection.** A gateway says something in every `progress_interval`; after two without a message the
//!   connection is given up and made anew.
//! - **It does not stampede.** Between attempts it waits with exponential [`backoff`] and full jitter, and as long as the gateway asks for.
//!
//! Cursors over restarts are the program's: load the last one from a [`CursorStore`] through [`Start::resume`], and save an item's
//! cursor once the work on that item is done.
//!
//! ```no_run
//! use futures_util::StreamExt;
//! use verbex_gateway::client::{CursorStore, FileStore, Gateway, Item, Start, Subscription, subscribe};
//!
//! # async fn follow() -> Result<(), Box<dyn std::error::Error>> {
//! let mut store = FileStore::new("calls.cursor");
//! let gateway = Gateway::new("http://127.0.0.1:50051", None, None)?;
//! let mut items = subscribe(gateway, Subscription {
//!     start: Start::resume(&store, Start::Earliest)?,
//!     ..Subscription::default()
//! });
//! while let Some(item) = items.next().await {
//!     let item = item?;
//!     if let Item::Event { event, .. } = &item {
//!         println!("{} {}", event.call_id, event.event_name); // the work
//!     }
//!     if let Some(cursor) = item.cursor() {
//!         store.save(cursor)?; // only now
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub mod backoff;
mod cursor_store;
mod error;
mod gateway;
mod subscriber;
#[cfg(test)]
mod tests;

pub use cursor_store::{CursorStore, FileStore, MemoryStore};
pub use error::Error;
pub use gateway::{Connection, Gateway};
pub use subscriber::{Item, Start, Subscriber, Subscription, subscribe};
