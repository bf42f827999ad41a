//! A subscriber that handles each event, and resumes where it stopped after any interruption.
//!
//! ```toml
//! tokio = { version = "1", features = ["macros", "rt", "signal"] }
//! verbex-gateway = { version = "0.1", default-features = false, features = ["client"] }
//! ```
//!
//! Change `work`, the filter, and where it begins the first time. Here: `cargo run --example
//! subscriber -- http://127.0.0.1:50051`

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a whole program, as short as can be"
)]

use std::{env, error::Error, io::Write, pin::pin};

use tokio::signal::{self, unix::SignalKind};
use verbex_gateway::client::{CursorStore, FileStore, Gateway, Item, Start, Subscription};
use verbex_gateway::proto::{Event, EventFilter, EventType};

/// Must be repeatable by `event.id`: an event comes again if the program dies between the work and
/// the saving of its cursor.
fn work(event: &Event) -> Result<(), Box<dyn Error>> {
    let (sequence, call, name) = (event.sequence, &event.call_id, &event.event_name);
    Ok(writeln!(std::io::stdout(), "{sequence} {call} {name}")?)
}

async fn follow(address: &str) -> Result<(), Box<dyn Error>> {
    let mut gateway = Gateway::new(address)?;
    if let Ok(token) = env::var("VERBEX_GATEWAY_TOKEN") {
        gateway = gateway.with_token(&token)?;
    }
    let mut store = FileStore::open("calls.cursor")?;
    let wanted = [EventType::CallEnded, EventType::PcaCompleted];
    let mut items = gateway.subscribe(Subscription {
        filter: EventFilter {
            event_types: wanted.map(Into::into).to_vec(),
            ..EventFilter::default()
        },
        name: "example".into(),
        ..Subscription::new(Start::resume(&store, Start::Earliest)?)
    });
    let mut terminate = signal::unix::signal(SignalKind::terminate())?;
    let mut interrupt = pin!(signal::ctrl_c());
    // It reconnects by itself. An error is one that waiting does not mend: somebody has to decide.
    while let Some(item) = tokio::select! {
        item = items.try_next() => item?,
        _ = terminate.recv() => None,
        _ = &mut interrupt => None,
    } {
        match &item {
            Item::Event { event, .. } => work(event)?, // first the work …
            Item::Interrupted { error, .. } => eprintln!("{error}; trying again"),
            _ => {}
        }
        if let Some(cursor) = item.cursor() {
            store.save(cursor)?; // … then the cursor
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("http://127.0.0.1:50051");
    if let Err(error) = follow(address).await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
