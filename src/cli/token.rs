//! `verbex-gateway token`: credentials for subscribers.

use std::io::{self, Write};

use anyhow::Context;
use clap::Subcommand;
use jiff::{Span, Timestamp, tz::TimeZone};

use super::UsageError;
use crate::{
    auth::{Token, TokenHash, token_from},
    config,
};

/// Make tokens for subscribers
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(NewArgs),
}

/// Make a token: shows it once, and prints the entry for the configuration
///
/// The token goes to the subscriber, the entry to the gateway's file. The gateway keeps only a hash: a lost token cannot
/// be shown again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  verbex-gateway token new --name crm
  verbex-gateway token new --name dashboard --expires 90d
  verbex-gateway token new --name ops --admin >> gateway.toml      the entry to the file, the token to the terminal")]
struct NewArgs {
    /// Whose it is, as operators will see it
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,

    /// Open AdminService too
    #[arg(long)]
    admin: bool,

    /// How long it is good, such as 12h, 90d or 1y; for ever if left out
    #[arg(long, value_name = "TIME")]
    expires: Option<Span>,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let Command::New(args) = args.command;
    let now = Timestamp::now();
    let expires = args.expires.map(|span| expiry(now, span)).transpose()?;
    let secret = token_from(rand::random());
    let token = Token {
        name: args.name.into(),
        hash: TokenHash::of(&secret),
        expires,
        admin: args.admin,
    };

    // Apart, so that `>> gateway.toml` takes the entry and leaves the token on the terminal.
    writeln!(
        io::stderr(),
        "The token, shown this once; the subscriber sends it as `authorization: Bearer {secret}`:\n\n{secret}\n\n\
         The entry for the file that --config names:\n"
    )?;
    write!(io::stdout(), "\n{}", config::token_entry(&token))?;
    Ok(())
}

/// By the calendar, in UTC and whole seconds.
fn expiry(now: Timestamp, span: Span) -> anyhow::Result<Timestamp> {
    let end = now.to_zoned_datetime(TimeZone::UTC).checked_add(span);
    let end = end
        .map_err(|error| UsageError(format!("--expires: {error}")))?
        .timestamp();
    if end <= now {
        return Err(UsageError("--expires: the time has to lie ahead".into()).into());
    }
    Timestamp::from_second(end.as_second()).context("--expires")
}
