//! `simulate`: made-up calls, posted as Verbex would post real ones.

use std::{
    fmt,
    io::{self, Write},
    time::{Duration, Instant},
};

use anyhow::bail;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use jiff::Timestamp;

use super::{
    interrupt::interrupted,
    output,
    post::{Answer, Door, To},
};
use crate::{
    client::backoff,
    simulate::{Options, Simulation, Webhook},
};

/// How many webhooks may wait for their answers. When there are more, the next ones are sent late;
/// none is left out.
const IN_FLIGHT_MAX: usize = 64;
/// Attempts for one webhook while the door is down or full: about two minutes.
const ATTEMPTS_MAX: u32 = 12;

const EXAMPLES: &str = "\
Examples:
  A few calls to a gateway on this machine:
    verbex-gateway simulate --calls 10
  A rougher day, the same each time:
    verbex-gateway simulate --calls 200 --rate 20 --seed 7 --out-of-order --duplicates
  Load on another machine:
    verbex-gateway simulate --calls 100000 --rate 500 --url https://hooks.example.org/webhooks/verbex";

/// Make up calls, and post their webhooks as Verbex would
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// How many calls
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    calls: u64,
    /// How many calls start in a second, on average
    #[arg(long, value_name = "RATE", default_value_t = 2.0, value_parser = positive)]
    rate: f64,
    /// How many agents handle the calls
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    agents: usize,
    /// Make the same calls in each run, only at other times; without a seed each run has new calls
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many times faster than real time the webhooks are sent; durations in them do not change
    #[arg(long, value_name = "FACTOR", default_value_t = 30.0, value_parser = positive)]
    speed: f64,
    /// Send some webhooks out of order
    #[arg(long)]
    out_of_order: bool,
    /// Send some webhooks twice
    #[arg(long)]
    duplicates: bool,
    #[command(flatten)]
    to: To,
}

impl Args {
    fn options(&self) -> Options {
        Options {
            calls: Some(self.calls),
            rate: self.rate,
            agents: self.agents,
            seed: self.seed.unwrap_or_else(rand::random),
            out_of_order: self.out_of_order,
            duplicates: self.duplicates,
            speed: self.speed,
            start: Timestamp::now(),
        }
    }
}

/// Runs until all calls are over, or until interrupted.
///
/// # Errors
/// If the door cannot be reached at the start, or did not take every webhook.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let options = args.options();
    let door = args.to.door()?;
    door.knock().await?;
    let count = Simulation::new(options.clone()).count();
    let bar = ProgressBar::new(count as u64).with_style(style());
    let webhooks = Simulation::new(options);
    let summary = drive(&door, webhooks, interrupted(), |summary| {
        bar.set_position(summary.answered());
        bar.set_message(format!("{} refused", summary.refused + summary.lost));
    })
    .await;
    bar.finish_and_clear();
    writeln!(io::stdout(), "{summary}")?;
    if summary.answered() < count as u64 {
        output::tell(format_args!(
            "interrupted before all {count} webhooks were sent"
        ));
    }
    match summary.trouble {
        Some(trouble) => {
            bail!("some webhooks were not stored; the first failure was: {trouble}")
        }
        None => Ok(()),
    }
}

/// Posts webhooks when they are due, until there are no more or `stop` resolves. Calls `told` with
/// each answer.
///
/// While the door is down or full, each webhook is sent again for a while, so that none is lost
/// when the gateway restarts.
pub(super) async fn drive(
    door: &Door,
    webhooks: impl Iterator<Item = Webhook>,
    stop: impl Future<Output = ()>,
    mut told: impl FnMut(&Summary),
) -> Summary {
    let start = Instant::now();
    let outcomes = stream::iter(webhooks)
        .then(|webhook| async {
            tokio::time::sleep_until((start + webhook.at).into()).await;
            webhook
        })
        .map(|webhook| post_patiently(door, webhook))
        .buffer_unordered(IN_FLIGHT_MAX)
        .take_until(stop);
    tokio::pin!(outcomes);
    let mut summary = Summary::default();
    while let Some(outcome) = outcomes.next().await {
        summary.count(outcome);
        summary.elapsed = start.elapsed();
        told(&summary);
    }
    summary
}

/// How a simulation went.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Summary {
    /// Stored as new events.
    pub(super) stored: u64,
    /// Repeats of stored events.
    pub(super) duplicates: u64,
    /// Refused.
    pub(super) refused: u64,
    /// Never answered.
    pub(super) lost: u64,
    /// From the beginning to the last answer.
    pub(super) elapsed: Duration,
    /// Why the first webhook failed that was refused or not answered.
    pub(super) trouble: Option<String>,
}

impl Summary {
    fn answered(&self) -> u64 {
        self.stored + self.duplicates + self.refused + self.lost
    }

    fn count(&mut self, outcome: anyhow::Result<Answer>) {
        let trouble = match outcome {
            Ok(Answer::Taken(receipt)) => {
                if receipt.duplicate {
                    self.duplicates += 1;
                } else {
                    self.stored += 1;
                }
                return;
            }
            Ok(Answer::Refused(refusal)) => {
                self.refused += 1;
                refusal.to_string()
            }
            Err(error) => {
                self.lost += 1;
                format!("{error:#}")
            }
        };
        self.trouble.get_or_insert(trouble);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 {
            self.answered() as f64 / seconds
        } else {
            0.0
        };
        write!(
            f,
            "{} webhooks in {seconds:.1} s ({rate:.0}/s): {} stored, {} duplicates, {} refused, {} unanswered",
            self.answered(),
            self.stored,
            self.duplicates,
            self.refused,
            self.lost,
        )
    }
}

async fn post_patiently(door: &Door, webhook: Webhook) -> anyhow::Result<Answer> {
    let headers = header_map(&webhook.headers);
    let body = Bytes::from(webhook.body);
    let mut attempt = 0;
    loop {
        let outcome = door.post(headers.clone(), body.clone()).await;
        let asked = match &outcome {
            Ok(Answer::Refused(refusal)) if refusal.may_pass() => refusal.retry_after,
            Err(_) => None,
            Ok(_) => return outcome,
        };
        attempt += 1;
        if attempt == ATTEMPTS_MAX {
            return outcome;
        }
        tokio::time::sleep(backoff::pause(attempt, asked)).await;
    }
}

fn header_map(headers: &[(&str, String)]) -> HeaderMap {
    let parsed = headers
        .iter()
        .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?)));
    parsed.collect()
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("a number above 0".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a whole number above 0".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn style() -> ProgressStyle {
    // The template is a valid constant, so the default is never used.
    ProgressStyle::with_template("{bar:32} {pos}/{len} webhooks  {rate}  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key(
            "rate",
            |state: &ProgressState, text: &mut dyn fmt::Write| {
                let _ = write!(text, "{:.0}/s", state.per_sec());
            },
        )
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Router, body::Body, response::Response};

    use super::*;

    /// A door that gives these answers in turn and then repeats the last one. Also returns what it
    /// received.
    async fn door(answers: &'static [(u16, &'static str)]) -> (Door, Arc<Mutex<Vec<String>>>) {
        let (turn, bodies) = (AtomicUsize::new(0), Arc::new(Mutex::new(Vec::new())));
        let came = Arc::clone(&bodies);
        let answer = move |body: String| {
            came.lock().unwrap().push(body);
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            let (status, body) = answers[turn.min(answers.len() - 1)];
            let answer = Response::builder()
                .status(status)
                .header("retry-after", "0");
            std::future::ready(answer.body(Body::from(body)).unwrap())
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        let router = Router::new().fallback(move |body: String| answer(body));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let door = Door::new(url.parse().unwrap(), None, HeaderMap::new()).unwrap();
        (door, bodies)
    }

    fn due(milliseconds: u64) -> Webhook {
        Webhook {
            at: Duration::from_millis(milliseconds),
            headers: vec![("X-Webhook-Event", "CallHandler.CallStarted".to_owned())],
            body: milliseconds.to_string(),
            description: String::new(),
            redelivery: false,
        }
    }

    #[tokio::test]
    async fn each_webhook_is_posted_once_when_it_is_due() {
        let (door, bodies) = door(&[(200, r#"{"id":"a","sequence":"1","duplicate":false}"#)]).await;
        let mut told = Vec::new();
        let webhooks = [due(0), due(1), due(120)].into_iter();
        let summary = drive(&door, webhooks, std::future::pending(), |summary| {
            told.push(summary.answered());
        })
        .await;
        assert_eq!((summary.stored, summary.trouble), (3, None));
        assert!(summary.elapsed >= Duration::from_millis(120));
        assert_eq!(told, [1, 2, 3]);
        let mut bodies = bodies.lock().unwrap().clone();
        bodies.sort_unstable();
        assert_eq!(bodies, ["0", "1", "120"]);
    }

    #[tokio::test]
    async fn a_door_that_is_full_or_away_for_a_while_loses_nothing() {
        let stored = r#"{"id":"a","sequence":"1","duplicate":false}"#;
        let answers = vec![(503, ""), (429, ""), (200, stored)].leak();
        let (door, bodies) = door(answers).await;
        let summary = drive(&door, [due(0)].into_iter(), std::future::pending(), |_| {}).await;
        assert_eq!((summary.stored, summary.trouble), (1, None));
        assert_eq!(*bodies.lock().unwrap(), ["0", "0", "0"]);
    }

    #[tokio::test]
    async fn a_refusal_is_final_and_told() {
        let refusal = r#"{"error":{"code":"NOT_FOUND","message":"no such path"}}"#;
        let repeat = r#"{"id":"a","sequence":"1","duplicate":true}"#;
        let answers = vec![(404, refusal), (200, repeat)].leak();
        let (door, _) = door(answers).await;
        let webhooks = [due(0), due(100)].into_iter();
        let summary = drive(&door, webhooks, std::future::pending(), |_| {}).await;
        assert_eq!((summary.refused, summary.duplicates), (1, 1));
        assert_eq!(
            summary.trouble.as_deref(),
            Some(
                "404 Not Found NOT_FOUND no such path; the path is /webhooks/verbex, followed by \
                 the secret if the gateway has one"
            )
        );
    }

    #[tokio::test]
    async fn it_stops_when_told_to() {
        let (door, _) = door(&[(200, "")]).await;
        let endless = (0..).map(|n| due(n * 10));
        let stop = tokio::time::sleep(Duration::from_millis(100));
        let summary = drive(&door, endless, stop, |_| {}).await;
        assert!((1..20).contains(&summary.stored), "{summary}");
    }
}
