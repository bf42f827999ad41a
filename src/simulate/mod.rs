//! Made-up but realistic calls, as the webhooks that Verbex would send for them.
//!
//! No I/O and no clock: the same options give the same webhooks, in this version of the gateway.
//! Bodies and headers have the shapes of Verbex's guide. Phone numbers and addresses are from
//! ranges that are reserved for fiction and documentation.

mod call;
mod rest;
mod scripts;

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use self::call::Call;

pub(crate) use self::rest::rest;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// How many calls. None means without end.
    pub calls: Option<u64>,
    /// Calls that begin per second; more than 0. `speed` does not change it.
    pub rate: f64,
    /// The number of agents that take the calls, at least 1. All simulations have the same agents,
    /// so that the same filters can be used.
    pub agents: usize,
    /// Another seed makes other calls. Do not use a seed twice with one log: the second run would
    /// send the same events again.
    pub seed: u64,
    /// Whether some webhooks arrive after later ones of their call.
    pub out_of_order: bool,
    /// Whether some webhooks arrive twice, perhaps with another top-level timestamp.
    pub duplicates: bool,
    /// How much faster than real time the webhooks of a call are sent; more than 0. The times and
    /// durations in them do not change.
    pub speed: f64,
    /// When the simulation begins: [`Webhook::at`] counts from here. No time in a body is later
    /// than the time at which its webhook is sent.
    pub start: Timestamp,
}

/// A request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Webhook {
    /// When to send it, since the start of the simulation. Never earlier than the webhook before
    /// it.
    pub at: Duration,
    /// The names have the case that they have in the guide.
    pub headers: Vec<(&'static str, String)>,
    /// A JSON object.
    pub body: String,
    /// For people: the call, and what happened. It has no personal data.
    pub description: String,
    /// Whether the same event was sent before.
    pub redelivery: bool,
}

/// Makes up many calls at the same time, and gives their webhooks in the order to send them.
#[derive(Debug)]
pub(crate) struct Simulation {
    options: Options,
    rng: StdRng,
    agents: Vec<Agent>,
    calls_begun: u64,
    /// The webhooks still to send of the calls that have begun, by time, and then in the order in
    /// which they were made up.
    waiting: BTreeMap<(Duration, u64), Webhook>,
    made_up: u64,
}

impl Simulation {
    /// Makes up each call only when its first webhook may be next.
    #[must_use]
    pub(crate) fn new(options: Options) -> Self {
        Self {
            rng: StdRng::seed_from_u64(options.seed),
            agents: agents(options.agents.max(1)),
            calls_begun: 0,
            waiting: BTreeMap::new(),
            made_up: 0,
            options,
        }
    }

    /// When the next call begins, if there is one.
    fn next_begin(&self) -> Option<Duration> {
        let more = self
            .options
            .calls
            .is_none_or(|calls| self.calls_begun < calls);
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 calls")]
        more.then(|| seconds(self.calls_begun as f64 / self.options.rate))
    }

    fn begin_call(&mut self, begin: Duration) {
        // Each call has two generators, so that options of delivery do not change its content.
        let mut content = StdRng::from_rng(&mut self.rng);
        let mut delivery = StdRng::from_rng(&mut self.rng);
        self.calls_begun += 1;
        let agent = &self.agents[content.random_range(0..self.agents.len())];
        let clock = Clock {
            start: self.options.start,
            begin,
            speed: self.options.speed,
        };
        let call = Call::make_up(agent, clock, &mut content);
        for webhook in call.webhooks(&self.options, &mut delivery) {
            self.waiting.insert((webhook.at, self.made_up), webhook);
            self.made_up += 1;
        }
    }
}

impl Iterator for Simulation {
    type Item = Webhook;

    fn next(&mut self) -> Option<Webhook> {
        while let Some(begin) = self.next_begin() {
            // No webhook of a call is sent before the call begins.
            let soonest = self.waiting.first_key_value();
            if soonest.is_some_and(|(&(at, _), _)| at < begin) {
                break;
            }
            self.begin_call(begin);
        }
        self.waiting.pop_first().map(|(_, webhook)| webhook)
    }
}

#[derive(Debug)]
struct Agent {
    id: String,
    organization_id: String,
}

/// Some agents, four in each organization. Every call of this function gives the same ones.
fn agents(count: usize) -> Vec<Agent> {
    const AGENTS_PER_ORGANIZATION: usize = 4;
    let mut rng = StdRng::seed_from_u64(0);
    let mut organization_id = String::new();
    (0..count)
        .map(|index| {
            if index.is_multiple_of(AGENTS_PER_ORGANIZATION) {
                organization_id = uuid(&mut rng);
            }
            Agent {
                id: uuid(&mut rng),
                organization_id: organization_id.clone(),
            }
        })
        .collect()
}

/// All webhooks of a call are sent within this time, repeats included.
const CALL_SECONDS_MAX: f64 = 310.0;

/// Converts times in one call, given in seconds since it began.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: Timestamp,
    begin: Duration,
    speed: f64,
}

impl Clock {
    /// The time since the simulation began.
    fn at(self, since_begin: f64) -> Duration {
        self.begin + seconds(since_begin / self.speed)
    }

    /// The time that a body has. At a higher speed than real time the whole call is dated back, so
    /// that no webhook is sent before the time in it.
    fn time(self, since_begin: f64) -> Timestamp {
        let late = CALL_SECONDS_MAX * (1.0 - 1.0 / self.speed).max(0.0);
        let begin = self.start.checked_add(self.begin);
        begin
            .and_then(|begin| begin.checked_add(SignedDuration::from_secs_f64(since_begin - late)))
            .unwrap_or(Timestamp::MAX)
    }
}

/// Seconds as a duration. A number that no duration can hold counts as 136 years.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(u32::MAX.into()))
}

/// A random UUID.
fn uuid(rng: &mut impl Rng) -> String {
    let bits = rng.random::<u128>() & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests;
