//! `tail`: subscribes and prints events, and resumes after interruptions.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::builder::NonEmptyStringValueParser;
use futures_util::{StreamExt, future::OptionFuture};
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::{
    connect::{Connect, with_advice},
    filter_flags::FilterFlags,
    interrupt::interrupted,
    moment,
    output::{self, Format, Output, View},
};
use crate::{
    client::{CursorStore, Error, FileStore, Item, Start, Subscription},
    proto::SubscriptionState,
};

/// The most events that are written together.
const BATCH_EVENTS_MAX: usize = 256;
/// After this time without a match, a line says so.
const QUIET: Duration = Duration::from_secs(10);

const BEGIN: &str = "Where to begin (default: with the next event)";
const PRINT: &str = "What to print";

const EXAMPLES: &str = "\
Examples:
  Follow all calls:
    verbex-gateway tail
  Failed transfers of the last hour and from now on, with what was said:
    verbex-gateway tail --type call-transferred --status failed --since 1h -v
  Write every event to a file, and go on where it stopped after a restart:
    verbex-gateway tail --format json --from-earliest --cursor-file calls.cursor >> calls.jsonl

The cursor is saved once the lines are written out. What another program at the end of a pipe has \
not yet read is lost with that program: one that must not miss any keeps the cursor itself, as the \
examples in examples/ do. Ctrl-C ends with exit code 0, and says how to go on. A gateway that \
cannot be reached at the start is an error; after that, tail reconnects by itself.";

/// Follow events as they become durable
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    filter: FilterFlags,
    #[command(flatten)]
    from: From,
    /// Save the cursor in this file, and resume after it. The start flags above are used only while
    /// the file does not exist
    #[arg(long, value_name = "FILE", help_heading = BEGIN)]
    cursor_file: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Pretty, help_heading = PRINT)]
    format: Format,
    /// How much of each event to print with --format json
    #[arg(long, value_enum, value_name = "VIEW", help_heading = PRINT)]
    view: Option<View>,
    /// With --format pretty: also print all fields and the conversation below each line
    #[arg(short, long, help_heading = PRINT)]
    verbose: bool,
    /// Stop after this many events
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        help_heading = PRINT,
        value_parser = clap::value_parser!(u64).range(1..),
    )]
    count: Option<u64>,
    /// The name that the gateway's operators see
    #[arg(
        long,
        value_name = "NAME",
        default_value = "verbex-gateway tail",
        help_heading = "Which gateway"
    )]
    subscriber_name: String,
    #[command(flatten)]
    connect: Connect,
}

/// Where to begin.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = BEGIN)]
#[group(multiple = false)]
struct From {
    /// Begin with the first event received at or after this time: 10m (ago), 2026-04-27T12:00, RFC
    /// 3339
    #[arg(long, value_name = "TIME", value_parser = moment::parse, allow_hyphen_values = true)]
    since: Option<Timestamp>,
    /// Begin with the oldest event in the log
    #[arg(long)]
    from_earliest: bool,
    /// Begin after this cursor
    #[arg(
        long,
        value_name = "CURSOR",
        allow_hyphen_values = true,
        value_parser = NonEmptyStringValueParser::new(),
    )]
    after: Option<String>,
}

/// Runs until interrupted, or until `--count` is reached.
///
/// # Errors
/// If the gateway cannot be reached at the start, refuses, or the events cannot be written.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let gateway = args.connect.gateway()?;
    let store = args.cursor_file.map(FileStore::open).transpose()?;
    let subscription = Subscription {
        filter: args.filter.to_filter(),
        view: output::view(args.format, args.verbose, args.view)?,
        name: args.subscriber_name,
        ..Subscription::new(start(args.from, store.as_ref())?)
    };
    let mut tail = Tail {
        output: Output::new(args.format, args.verbose)?,
        store,
        remaining: args.count,
        cursor: None,
        status: Status {
            address: gateway.address().to_owned(),
            everything: args.filter.is_everything(),
            talks: io::stderr().is_terminal(),
            contact: Contact::None,
            trouble: None,
            matched: 0,
            quiet_until: None,
        },
    };
    let mut batches = gateway
        .subscribe(subscription)
        .ready_chunks(BATCH_EVENTS_MAX);
    let (interrupted, reader_gone) = (interrupted(), output::reader_gone());
    tokio::pin!(interrupted, reader_gone);
    loop {
        let quiet = OptionFuture::from(tail.status.quiet_until.map(sleep_until));
        tokio::select! {
            biased;
            () = &mut interrupted => {
                tail.say_where_it_stopped();
                break Ok(());
            }
            () = &mut reader_gone => break Ok(()),
            Some(batch) = batches.next() => match tail.take(batch) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            },
            Some(()) = quiet => tail.status.quiet(),
            else => break Ok(()),
        }
    }
}

fn start(from: From, store: Option<&FileStore>) -> anyhow::Result<Start> {
    let first_time = match from {
        From {
            since: Some(time), ..
        } => Start::At(time.try_into()?),
        From {
            after: Some(cursor),
            ..
        } => Start::After(cursor),
        From {
            from_earliest: true,
            ..
        } => Start::Earliest,
        From { .. } => Start::Latest,
    };
    let Some(store) = store else {
        return Ok(first_time);
    };
    Start::resume(store, first_time)
        .context("cannot resume; to begin anew, name a file that does not exist")
}

struct Tail {
    output: Output,
    store: Option<FileStore>,
    /// Events until `--count` is reached.
    remaining: Option<u64>,
    /// The cursor of the last written event.
    cursor: Option<String>,
    status: Status,
}

impl Tail {
    /// Prints events, and only then saves the cursor. Returns whether to continue.
    fn take(&mut self, batch: Vec<Result<Item, Error>>) -> anyhow::Result<bool> {
        let mut cursor = None;
        let mut end = None;
        for item in batch {
            let item = match item {
                Ok(item) => item,
                Err(error) => {
                    end = Some(error);
                    break;
                }
            };
            cursor = item.cursor().map(ToOwned::to_owned).or(cursor);
            if let Item::Event { event, .. } = &item {
                self.output.push(event)?;
                self.remaining = self.remaining.map(|remaining| remaining - 1);
            }
            end = self.status.tell(item);
            if end.is_some() || self.remaining == Some(0) {
                break;
            }
        }
        self.output
            .flush()
            .context("cannot write to standard output")?;
        if let (Some(store), Some(cursor)) = (&mut self.store, &cursor) {
            store.save(cursor)?;
        }
        self.cursor = cursor.or(self.cursor.take());
        match end {
            Some(error) => Err(self.refused(error)),
            None => Ok(self.remaining != Some(0)),
        }
    }

    /// Prints how to resume from here after Ctrl-C. It begins a new line, because the terminal
    /// shows `^C` in the current one.
    fn say_where_it_stopped(&self) {
        if !self.status.talks {
            return;
        }
        match (&self.store, &self.cursor) {
            (_, None) => {}
            (None, Some(cursor)) => output::tell(format_args!(
                "\nto continue from here, add\n  --after {cursor}"
            )),
            (Some(store), Some(_)) => {
                let path = store.path().display();
                output::tell(format_args!(
                    "\nthe same command continues from here, because the cursor is stored in\n  \
                     {path}"
                ));
            }
        }
    }

    fn refused(&self, error: Error) -> anyhow::Error {
        let is_about_cursor = error.reason().starts_with("CURSOR_");
        let error = with_advice(error);
        match &self.store {
            Some(store) if is_about_cursor => error.context(format!(
                "the gateway refused the cursor in {}; to begin anew, move that file away",
                store.path().display()
            )),
            _ => error,
        }
    }
}

/// Messages about the connection, on standard error. Interruptions are always written, the others
/// only to a terminal.
struct Status {
    address: String,
    everything: bool,
    talks: bool,
    contact: Contact,
    /// The last message about the current interruption, so that it is not repeated at each attempt.
    trouble: Option<String>,
    matched: u64,
    /// When to say that nothing has matched.
    quiet_until: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Contact {
    /// There was no connection yet.
    None,
    /// The connection was lost.
    Lost,
    Made(SubscriptionState),
}

impl Status {
    /// Reports a change of the connection; an error if waiting does not help.
    fn tell(&mut self, item: Item) -> Option<Error> {
        match item {
            Item::Event { .. } => {
                self.matched += 1;
                self.quiet_until = None;
            }
            Item::Progress { progress, .. } => self.progress(progress.state()),
            Item::Gap { .. } => output::tell("events before here have been removed from the log"),
            // If no connection has ever worked, the address is more likely wrong than the gateway
            // down.
            Item::Interrupted { error, .. } if self.contact == Contact::None => return Some(error),
            Item::Interrupted { error, .. } => {
                let trouble = error.to_string();
                if self.trouble.as_ref() != Some(&trouble) {
                    output::tell(format_args!("{trouble}; trying again until it is back"));
                    self.trouble = Some(trouble);
                }
                self.contact = Contact::Lost;
            }
        }
        None
    }

    fn progress(&mut self, state: SubscriptionState) {
        let before = std::mem::replace(&mut self.contact, Contact::Made(state));
        if before == self.contact {
            return;
        }
        self.trouble = None;
        if before == Contact::None && self.talks {
            self.quiet_until = Some(Instant::now() + QUIET);
        }
        let state = match state {
            SubscriptionState::CatchingUp => "catching up",
            SubscriptionState::Stalled => "waiting: the gateway cannot use its log at the moment",
            SubscriptionState::Live | SubscriptionState::Unspecified => "live",
        };
        match before {
            Contact::Lost => {
                output::tell(format_args!("connected again to {}, {state}", self.address))
            }
            Contact::None if self.talks => {
                output::tell(format_args!("connected to {}, {state}", self.address))
            }
            Contact::Made(_) if self.talks => output::tell(state),
            Contact::None | Contact::Made(_) => {}
        }
    }

    fn quiet(&mut self) {
        self.quiet_until = None;
        let what = if self.everything {
            "no event has come yet"
        } else {
            "nothing has matched yet (values are compared exactly)"
        };
        output::tell(format_args!("{what}; still listening"));
    }
}
