//! A subscriber that does something with each event and goes on where it stopped, whatever happens between:
//!
//! ```text
//! cargo run --example subscriber -- http://127.0.0.1:50051
//! ```
//!
//! Change `work`, the filter, and where it begins the first time.

use std::{env, error::Error};

use futures_util::StreamExt;
use verbex_gateway::{
    client::{CursorStore, FileStore, Gateway, Item, Start, Subscription, subscribe},
    proto::{Event, EventFilter, EventType},
};

/// Must be repeatable by `event.id`: an event comes again if the program dies between the work and the saving of its cursor.
fn work(event: &Event) {
    println!(
        "{} {} {} {}",
        event.sequence, event.call_id, event.event_name, event.status
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args()
        .nth(1)
        .unwrap_or_else(|| "http://127.0.0.1:50051".into());
    let token = env::var("VERBEX_GATEWAY_TOKEN").ok();
    let gateway = Gateway::new(&address, None, token.as_deref())?;
    let mut store = FileStore::new("calls.cursor");
    let ended_and_analysed = [EventType::CallEnded, EventType::PcaCompleted];
    let mut items = subscribe(
        gateway,
        Subscription {
            filter: EventFilter {
                event_types: ended_and_analysed.map(Into::into).to_vec(),
                ..EventFilter::default()
            },
            start: Start::resume(&store, Start::Earliest)?,
            name: "example".into(),
            ..Subscription::default()
        },
    );
    // The stream reconnects by itself; it ends only with an error that waiting does not mend.
    loop {
        let item = tokio::select! {
            item = items.next() => item,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let Some(item) = item else { return Ok(()) };
        let item = item?;
        if let Item::Event { event, .. } = &item {
            work(event); // first the work …
        }
        if let Some(cursor) = item.cursor() {
            store.save(cursor)?; // … then the cursor
        }
    }
}
