//! Subscribers that catch up and do not read hold a bounded amount of memory, and nobody waits for
//! them.

use super::*;

const SUBSCRIBERS: usize = 40;
const EVENTS: u64 = 6;
const EVENT_BYTES: usize = 100 * 1024;
/// Half of it is for those that catch up.
const QUEUES_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A request for all events in a class of its own.
fn request(number: usize) -> Request {
    let filter = EventFilter {
        agent_ids: vec!["a".into(), number.to_string()],
        ..EventFilter::default()
    };
    Request {
        filter: Arc::default(),
        selector: selector(&filter, &EventFilter::default()),
        view: View::Standard,
        redaction: Redaction::default(),
        encoding: Encoding::Identity,
        start: Start::Past(Past::Earliest),
        progress_interval: PATIENCE,
        expired: ExpiredAction::Fail,
        name: "test".into(),
        peer: String::new(),
    }
}

#[tokio::test]
async fn who_catches_up_and_does_not_read_holds_one_message_and_stops_nobody() {
    let rig = Rig::new(Config {
        subscribers_max: SUBSCRIBERS + 1,
        queues_bytes_max: QUEUES_BYTES_MAX,
        ..roomy()
    });
    let append = async |id: u64| {
        let mut event = new_event(id as u8, "a");
        event.event.status = "s".repeat(EVENT_BYTES);
        rig.appender.append(event).await.unwrap();
    };
    for id in 1..=EVENTS {
        append(id).await;
    }
    let live = Request {
        start: Start::Latest,
        ..request(SUBSCRIBERS)
    };
    let mut live = rig.fanout.subscribe(live).await.unwrap();
    live.next().await.unwrap();

    // Each gets a progress and an event, which stays in its connection, and reads no more.
    let mut stuck = Vec::new();
    for number in 0..SUBSCRIBERS {
        let mut subscription = rig.fanout.subscribe(request(number)).await.unwrap();
        subscription.next().await.unwrap();
        let message = timeout(PATIENCE, subscription.next()).await;
        stuck.push((subscription, message.unwrap().unwrap()));
        // Reads ahead go on by themselves.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let held = rig.fanout.memory[1].in_use();
    let most = QUEUES_BYTES_MAX / 2 + (SUBSCRIBERS + 2) * (EVENT_BYTES + 1024);
    assert!(held < most, "{held} bytes of {most}");

    // The live one goes on, and is not told that it is catching up.
    append(EVENTS + 1).await;
    let message = timeout(PATIENCE, live.next()).await.unwrap().unwrap();
    assert!(message.len() > EVENT_BYTES);
    drop(message);

    // The others get everything as soon as they read, one after the other.
    for (mut subscription, message) in stuck {
        let mut bytes = message.len();
        drop(message);
        while bytes < (EVENTS as usize + 1) * EVENT_BYTES {
            bytes += timeout(PATIENCE, subscription.next())
                .await
                .unwrap()
                .unwrap()
                .len();
        }
    }
    drop(live);
    assert_eq!(rig.fanout.memory[1].in_use(), 0);
}
