//! Memory for the bodies inside the door, and for what reading makes of them.
//!
//! The number of requests is bounded, so small bodies need no room. A larger body takes room before
//! more of it is read, before it is decompressed, and before it becomes an event. Each step has
//! room of its own: a request that waits for room holds only that of earlier steps. So some request
//! can always go on, and the others get their turns in order.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{limits::PLACE_RETRY, refusal::Refusal};

/// What a request may hold without room, in bytes.
pub(super) const FREE_BYTES: usize = 64 * 1024;
/// Room for bodies as they were sent, for decompressed ones, and for what is made of them. The
/// largest body with the most values needs less than the last.
const BODIES_BYTES: usize = 128 * 1024 * 1024;
const UNPACKED_BYTES: usize = 64 * 1024 * 1024;
const EVENTS_BYTES: usize = 192 * 1024 * 1024;
/// What a JSON value becomes, at most: a node of the tree while its list grows, and a field of the
/// event.
const VALUE_BYTES: usize = 96;

/// Semaphores count in this unit.
const UNIT_BYTES: usize = 1024;

/// The room of a door.
pub(super) struct Room {
    bodies: Arc<Semaphore>,
    unpacked: Arc<Semaphore>,
    events: Arc<Semaphore>,
}

/// Some room, until it is dropped. None was needed if it is empty.
pub(super) type Taken = Option<OwnedSemaphorePermit>;

impl Default for Room {
    fn default() -> Self {
        let of = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT_BYTES));
        Self {
            bodies: of(BODIES_BYTES),
            unpacked: of(UNPACKED_BYTES),
            events: of(EVENTS_BYTES),
        }
    }
}

impl Room {
    /// Room for a body of so many bytes, if it is not small.
    pub(super) async fn for_body(&self, bytes: usize, until: Instant) -> Result<Taken, Refusal> {
        take(&self.bodies, bytes, BODIES_BYTES, until).await
    }

    /// Room for a body that may have so many bytes when it is decompressed.
    pub(super) async fn to_unpack(&self, bytes: usize, until: Instant) -> Result<Taken, Refusal> {
        take(&self.unpacked, bytes, UNPACKED_BYTES, until).await
    }

    /// Room for what is made of a whole body.
    pub(super) async fn for_event(&self, body: &[u8], until: Instant) -> Result<Taken, Refusal> {
        // Even if each of its bytes is a value, it needs no room.
        if body.len() * (2 + VALUE_BYTES) <= FREE_BYTES {
            return Ok(None);
        }
        take(&self.events, made_of(body), EVENTS_BYTES, until).await
    }
}

/// Gives back what is more than so many bytes need.
pub(super) fn shrink(taken: &mut Taken, bytes: usize) {
    let needed = if bytes <= FREE_BYTES { 0 } else { units(bytes) };
    *taken = taken
        .take()
        .and_then(|mut all| all.split(needed as usize).or(Some(all)))
        .filter(|kept| kept.num_permits() > 0);
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

async fn take(
    room: &Arc<Semaphore>,
    bytes: usize,
    bytes_max: usize,
    until: Instant,
) -> Result<Taken, Refusal> {
    if bytes <= FREE_BYTES {
        return Ok(None);
    }
    let taking = Arc::clone(room).acquire_many_owned(units(bytes.min(bytes_max)));
    match timeout_at(until, taking).await {
        Ok(taken) => Ok(taken.ok()),
        Err(_) => Err(Refusal::RateLimited {
            retry_after: PLACE_RETRY,
        }),
    }
}

/// At least the bytes that a body's tree and event take. Each value but the first follows one of
/// these characters; in a text they count, too.
fn made_of(body: &[u8]) -> usize {
    let values = body
        .iter()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':'))
        .count();
    2 * body.len() + VALUE_BYTES * values
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::webhook::BODY_BYTES_LIMIT;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[tokio::test]
    async fn small_bodies_need_no_room_and_large_ones_wait_until_their_time_is_over() {
        let room = Room::default();
        let mut held = Vec::new();
        while let Ok(taken) = room.for_body(1 << 20, soon()).await {
            held.push(taken);
        }
        assert_eq!(held.len(), BODIES_BYTES >> 20);
        assert!(room.for_body(FREE_BYTES, soon()).await.is_ok());
        held.pop();
        assert!(room.for_body(1 << 20, soon()).await.is_ok());
    }

    #[tokio::test]
    async fn what_was_unpacked_keeps_only_what_it_needs() {
        let room = Room::default();
        let free = || room.unpacked.available_permits() * UNIT_BYTES;
        let take = || room.to_unpack(1 << 20, soon());
        let mut taken = take().await.unwrap();
        shrink(&mut taken, 100_000);
        assert_eq!(UNPACKED_BYTES - free(), 98 * 1024);
        shrink(&mut taken, 100);
        assert_eq!(free(), UNPACKED_BYTES);
    }

    #[tokio::test]
    async fn a_body_of_many_values_needs_more_room_and_the_worst_one_finds_it() {
        let of = |values: usize| format!("{{\"a\":[{}1]}}", "1,".repeat(values));
        assert!(made_of(of(30).as_bytes()) < FREE_BYTES);
        assert!(made_of(of(500_000).as_bytes()) > 40 << 20);
        let worst = vec![b'['; BODY_BYTES_LIMIT];
        assert!(made_of(&worst) < EVENTS_BYTES);
        assert!(Room::default().for_event(&worst, soon()).await.is_ok());
    }
}
