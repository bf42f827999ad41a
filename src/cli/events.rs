//! `events`: lists or exports the log, or gets one event by its id.

use std::{io, io::IsTerminal, path::PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;

use super::{
    UsageError,
    connect::{Connect, with_advice},
    filter_flags::FilterFlags,
    interrupt::interrupted,
    moment,
    output::{self, Format, Output, View},
};
use crate::{
    client::{Connection, CursorStore, Error, FileStore, Gateway},
    event::timestamp,
    proto::{ListEventsRequest, ListEventsResponse},
};

const PAGE_EVENTS_MAX: u64 = 1000;
/// Attempts at one page, so that a long export survives a restart of the gateway.
const ATTEMPTS_MAX: u32 = 8;

const RANGE: &str = "From when to when";
const PRINT: &str = "What to print";

const EXAMPLES: &str = "\
Examples:
  The ten newest events, for people:
    verbex-gateway events --newest-first --limit 10 --format pretty
  Export a day as JSON Lines:
    verbex-gateway events --since 2026-04-27 --until 2026-04-28 > calls.jsonl
  All there is, and then what comes after it, without a gap:
    verbex-gateway events --cursor-file calls.cursor && verbex-gateway tail --format json \
    --cursor-file calls.cursor
  One event, with the webhook's body and headers:
    verbex-gateway events --id 3f0a9c51d8e27b64a1c05e9f7d2b8340";

/// List or export history
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    filter: FilterFlags,
    /// Only events received at or after this time: 10m (ago), 2026-04-27, 2026-04-27T12:00, RFC
    /// 3339
    #[arg(
        long,
        value_name = "TIME",
        help_heading = RANGE,
        value_parser = moment::parse,
        allow_hyphen_values = true,
    )]
    since: Option<Timestamp>,
    /// Only events received before this time
    #[arg(
        long,
        value_name = "TIME",
        help_heading = RANGE,
        value_parser = moment::parse,
        allow_hyphen_values = true,
    )]
    until: Option<Timestamp>,
    /// Newest first instead of oldest first
    #[arg(long, help_heading = PRINT)]
    newest_first: bool,
    /// Stop after this many events
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        help_heading = PRINT,
        value_parser = clap::value_parser!(u64).range(1..),
    )]
    limit: Option<u64>,
    /// Get the event with this id, with its body and headers
    #[arg(
        long,
        value_name = "EVENT_ID",
        help_heading = PRINT,
        conflicts_with_all = [
            "types", "agents", "calls", "organizations", "names", "statuses",
            "since", "until", "newest_first", "limit", "view",
        ],
    )]
    id: Option<String>,
    /// After all events are written, save the end of the list as a cursor in this file, for `tail
    /// --cursor-file`
    #[arg(
        long,
        value_name = "FILE",
        help_heading = PRINT,
        conflicts_with_all = ["limit", "until", "id"],
    )]
    cursor_file: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Json, help_heading = PRINT)]
    format: Format,
    /// How much of each event to print with --format json
    #[arg(long, value_enum, value_name = "VIEW", help_heading = PRINT)]
    view: Option<View>,
    /// With --format pretty: also print all fields and the conversation below each line
    #[arg(short, long, help_heading = PRINT)]
    verbose: bool,
    #[command(flatten)]
    connect: Connect,
}

/// Runs until all events are printed.
///
/// # Errors
/// If it is interrupted, the gateway cannot be reached or refuses, or the events cannot be written.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let stop = interrupted();
    tokio::select! {
        outcome = print(args) => outcome,
        () = stop => bail!("interrupted; the list is not complete"),
    }
}

async fn print(args: Args) -> anyhow::Result<()> {
    if let (Some(since), Some(until)) = (args.since, args.until)
        && until <= since
    {
        return Err(UsageError("--until has to be after --since".into()).into());
    }
    let view = output::view(args.format, args.verbose, args.view)?;
    let gateway = args.connect.gateway()?;
    let mut output = Output::new(args.format, args.verbose)?;
    if let Some(id) = args.id {
        let mut connection = gateway.connect().await.map_err(with_advice)?;
        let event = connection.get_event(id).await.map_err(with_advice)?;
        output.push(&event)?;
        return output.flush().context("cannot write to standard output");
    }
    // Find out before a long export whether the file can be written.
    let store = args.cursor_file.map(FileStore::open).transpose()?;
    let mut pages = Pages {
        connection: None,
        gateway,
        request: ListEventsRequest {
            filter: Some(args.filter.to_filter()),
            start_time: args.since.map(timestamp),
            end_time: args.until.map(timestamp),
            view: view.into(),
            newest_first: args.newest_first,
            ..ListEventsRequest::default()
        },
    };
    let mut printed = 0;
    let cursor = loop {
        let page_size = args.limit.map_or(PAGE_EVENTS_MAX, |limit| {
            PAGE_EVENTS_MAX.min(limit - printed)
        });
        let page = pages.next(page_size).await.map_err(with_advice)?;
        for event in &page.events {
            output.push(event)?;
            printed += 1;
        }
        output.flush().context("cannot write to standard output")?;
        if page.next_page_token.is_empty() || args.limit == Some(printed) {
            break page.cursor;
        }
        pages.request.page_token = page.next_page_token;
    };
    if let Some(mut store) = store {
        store.save(&cursor)?;
    }
    if printed == 0 && io::stderr().is_terminal() {
        output::tell("no event in the log matches");
    }
    Ok(())
}

/// Pages of history. A request for a page is repeated while the error may pass.
struct Pages {
    gateway: Gateway,
    connection: Option<Connection>,
    request: ListEventsRequest,
}

impl Pages {
    async fn next(&mut self, page_size: u64) -> Result<ListEventsResponse, Error> {
        self.request.page_size = i32::try_from(page_size).unwrap_or(i32::MAX);
        let is_first = self.request.page_token.is_empty();
        let mut attempt = 0;
        loop {
            let error = match self.attempt().await {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            self.connection = None;
            attempt += 1;
            if is_first || attempt == ATTEMPTS_MAX || !error.may_pass() {
                return Err(error);
            }
            let pause = error.retry_in(attempt);
            output::tell(format_args!(
                "{error}; trying again in {:.1} s",
                pause.as_secs_f64()
            ));
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&mut self) -> Result<ListEventsResponse, Error> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.gateway.connect().await?),
        };
        connection.list_events(self.request.clone()).await
    }
}
