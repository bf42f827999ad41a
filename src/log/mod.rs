//! The log: makes events durable, numbers them, and reads them back.
//!
//! # Contract
//!
//! - **Committing.** Events that wait at the same time are committed in groups.
//!   [`Appender::append`] resolves when the event's group is on disk, when it is certain that the
//!   log did not take the event, or after 700 ms: then the event may be taken all the same. An
//!   event whose id is already in the log is not stored again: the answer names the place of the
//!   first. Sequences strictly increase, and receive times never decrease, except where an operator
//!   has set a wrong clock right.
//! - **Following.** [`Tail`] says where the log ends and whether it can take events. It moves after
//!   the commit and before the answer, so whoever has an answer can read the event. A [`Follower`]
//!   begins anywhere and yields all events up to the tail in order, or says what was removed. It
//!   takes committed groups without a read, and reads from the file the groups that it missed.
//! - **Reading.** A [`Reader`] knows the file and never the appender. So it does not matter to
//!   readers who commits.
//!
//! ```text
//!       trimmed            earliest                     tail
//!  ────────┼───────────────────┼──────── events ─────────┼──────▶ sequence
//!   removed by retention        what readers see          what is durable
//! ```

mod appender;
pub(crate) mod cursor;
mod eraser;
mod erasure;
mod error;
mod follow;
mod limits;
mod metrics;
mod parts;
mod phone;
mod progress;
mod pulse;
mod query;
mod sqlite;
#[cfg(test)]
mod tests;

pub(crate) use appender::{Appended, Appender, Offered};
pub(crate) use eraser::{EraseError, Erased, Eraser, Erasing, Stage};
pub(crate) use erasure::Target;
pub(crate) use error::{AppendError, OpenError, RETRY_INTERVAL, ReadError, WorkError};
pub(crate) use follow::{Followed, Follower};
pub use follow::{Followers, Publisher, Tail, followers};
pub(crate) use limits::BYTES_MIN;
pub use limits::{Age, Limits};
pub use metrics::Metrics;
pub(crate) use parts::Consent;
pub(crate) use parts::FILES;
pub use parts::{Config, Log};
pub(crate) use phone::Phone;
pub(crate) use progress::Progress;
pub(crate) use query::{Batch, Bounds, Damage, Earliest, Located, SCAN_ROWS_MAX};
pub use query::{Lane, Query};
pub(crate) use sqlite::open_read_only;
#[cfg(test)]
pub(crate) use sqlite::tests::trim;
pub use sqlite::{Reader, open};
pub(crate) use sqlite::{copy, stats, verify};
