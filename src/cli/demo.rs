//! `serve --demo`: posts made-up calls to the gateway's own webhook door, as Verbex would.

use std::fs;

use anyhow::Context;
use http::HeaderMap;
use jiff::Timestamp;
use prost::Message;
use reqwest::Url;

use super::{banner::reachable_url, post, simulate};
use crate::{
    config::Config,
    event::Sequence,
    filter::Selector,
    gateway::Addresses,
    log::{self, Lane, Query},
    proto::Event,
    simulate::{self as simulation, Options, Simulation},
};

/// A call every other second on average, fast enough to watch whole calls go by.
const CALLS_PER_SECOND: f64 = 0.5;
const SPEED: f64 = 20.0;
const AGENTS: usize = 4;

/// How many of the newest events are searched for open calls of an earlier run, which have far
/// fewer.
const NEWEST_EVENTS_MAX: usize = 1_000;
const NEWEST_BYTES_MAX: usize = 16 << 20;

/// Ends the calls that an earlier run of the demo left open, then posts calls until `stop`
/// resolves. The doors must be open.
///
/// # Errors
/// If nothing can be posted to the door. A refusal is only logged.
pub(super) async fn run(
    config: &Config,
    addresses: &Addresses,
    log: log::Reader,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let door = door(config, addresses)?;
    let rest = simulation::rest(&newest_events(log).await?, AGENTS, rand::random());
    let calls = Simulation::new(Options {
        calls: None,
        rate: CALLS_PER_SECOND,
        agents: AGENTS,
        seed: rand::random(),
        out_of_order: true,
        duplicates: true,
        speed: SPEED,
        start: Timestamp::now(),
    });
    let mut trouble = None;
    simulate::drive(&door, rest.into_iter().chain(calls), stop, |summary| {
        if trouble.is_none() && summary.trouble.is_some() {
            trouble.clone_from(&summary.trouble);
            tracing::warn!(trouble, "a made-up webhook was not stored");
        }
    })
    .await;
    Ok(())
}

async fn newest_events(log: log::Reader) -> anyhow::Result<Vec<Event>> {
    let query = Query {
        lane: Lane::Page,
        selector: Selector::default(),
        after: Sequence::ZERO,
        through: log.bounds().await?.latest.sequence,
        newest_first: true,
        events_max: NEWEST_EVENTS_MAX,
        bytes_max: NEWEST_BYTES_MAX,
        with_raw: false,
    };
    let newest = log.read(query).await?;
    let events = newest.events.into_iter();
    Ok(events
        .map(|event| Event::decode(event.encoded))
        .collect::<Result<_, _>>()?)
}

fn door(config: &Config, addresses: &Addresses) -> anyhow::Result<post::Door> {
    let mut url: Url = reachable_url(addresses)
        .parse()
        .context("the webhook's URL")?;
    let service = &config.webhook.service;
    if let Some(secret) = &service.path_secret {
        url.set_path(&format!("{}/{}", url.path(), secret.expose()));
    }
    let ca = match &addresses.ca_pem {
        Some(path) => {
            Some(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
        None => None,
    };
    // If several are configured, one of them is enough.
    let credential = service.credentials.first();
    let headers = credential
        .map(|credential| credential.header())
        .transpose()?;
    post::Door::new(url, ca.as_deref(), HeaderMap::from_iter(headers))
}
