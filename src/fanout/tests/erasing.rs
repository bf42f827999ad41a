//! What waits in memory for subscribers is not delivered after it was erased.

use super::*;
use crate::{event::Sequence, log::Target};

const EVENTS: u64 = 8;
/// So large that one read of the log returns a few events.
const LARGE_BYTES: usize = 50_000;

async fn append(rig: &Rig) {
    for id in 1..=EVENTS {
        let mut new = new_event(u8::try_from(id).unwrap(), "a");
        new.raw.json = format!("{{\"said\":\"{}\"}}", "secret".repeat(LARGE_BYTES / 6)).into();
        new.event.unmodeled_fields_omitted = true;
        new.event.trace_id = "x".repeat(LARGE_BYTES);
        rig.appender.append(new).await.unwrap();
    }
}

async fn erase_all(rig: &Rig) {
    for sequence in 1..=EVENTS {
        let target = Target::Sequence(Sequence(sequence));
        let mut erasing = rig.eraser.erase(target, false).await.unwrap();
        while erasing.next().await.unwrap().is_some() {}
    }
}

/// The next events up to this one, by whether they were erased.
async fn read(client: &mut Client, through: u64) -> Vec<(u64, bool)> {
    let mut got = Vec::new();
    while got.last().is_none_or(|&(last, _)| last < through) {
        let message = client.next().await.unwrap();
        if let Some(Response::Event(event)) = message.response {
            got.push((event.sequence, event.erase_time.is_some()));
        }
    }
    got
}

fn all(after: u64, erased: bool) -> Vec<(u64, bool)> {
    (after + 1..=EVENTS)
        .map(|sequence| (sequence, erased))
        .collect()
}

#[tokio::test]
async fn what_waits_for_a_subscriber_when_it_is_erased_is_delivered_erased() {
    let rig = Rig::new(Config {
        subscribers_max: 10,
        queue_bytes_max: 1 << 20,
        queues_bytes_max: usize::MAX,
    });
    let mut live = rig.subscribe(None, Start::Latest).await.unwrap();
    live.next().await.unwrap();
    append(&rig).await;
    // Reads ahead: the next events are in memory when it has got the first.
    let earliest = Start::Past(Past::Earliest);
    let mut behind = rig.subscribe(None, earliest).await.unwrap();
    assert_eq!(read(&mut behind, 1).await, [(1, false)]);

    erase_all(&rig).await;
    let mut later = rig.subscribe(None, earliest).await.unwrap();
    assert_eq!(read(&mut later, EVENTS).await, all(0, true));
    assert_eq!(read(&mut behind, EVENTS).await, all(1, true));
    assert_eq!(read(&mut live, EVENTS).await, all(0, true));
}
