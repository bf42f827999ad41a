//! `verbex-gateway token`: credentials for subscribers.

use std::io::{self, Write};

use anyhow::Context;
use clap::Subcommand;
use jiff::{Span, Timestamp, tz::TimeZone};

use super::{UsageError, moment};
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
/// Give the token to the subscriber, and put the entry into the gateway's configuration file. The
/// entry holds only a hash, so a lost token cannot be shown again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  verbex-gateway token new --name crm
  verbex-gateway token new --name dashboard --expires 90d
  verbex-gateway token new --name ops --admin >> gateway.toml

The entry goes to standard output, the token to standard error.")]
struct NewArgs {
    /// The name of the token, as operators see it
    #[arg(
        long,
        value_name = "NAME",
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
    )]
    name: String,

    /// Also allow AdminService
    #[arg(long)]
    admin: bool,

    /// How long the token is valid, such as 12h, 90d, 6mo or 1y; without it the token never expires
    #[arg(long, value_name = "TIME", value_parser = moment::length, allow_hyphen_values = true)]
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

    // On separate streams, so that `>> gateway.toml` writes the entry to the file and leaves the
    // token on the terminal.
    writeln!(
        io::stderr(),
        "This is the token. It is shown only this once. The subscriber sends it as \
         `authorization: Bearer {secret}`:\n\n{secret}\n\n\
         This is its entry for the file that --config names:\n"
    )?;
    write!(io::stdout(), "\n{}", config::token_entry(&token))?;
    Ok(())
}

/// By the calendar, in UTC and whole seconds.
fn expiry(now: Timestamp, span: Span) -> anyhow::Result<Timestamp> {
    let end = now.to_zoned_datetime(TimeZone::UTC).checked_add(span);
    let end = end.ok().map(|end| end.timestamp());
    let Some(end) = end.filter(|end| *end > now) else {
        return Err(UsageError(format!("--expires: {}", moment::LENGTH)).into());
    };
    Timestamp::from_second(end.as_second()).context("--expires")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::Tokens, config::Layers};

    #[test]
    fn a_token_is_good_for_a_time_by_the_calendar_that_lies_ahead() {
        let now: Timestamp = "2027-01-31T10:00:00.5Z".parse().unwrap();
        let check = |span: &str, expected: Option<&str>| {
            let expires = expiry(now, span.parse().unwrap()).ok();
            let expected = expected.map(|time| time.parse::<Timestamp>().unwrap());
            assert_eq!(expires, expected, "{span}");
        };
        check("12h", Some("2027-01-31T22:00:00Z"));
        check("90d", Some("2027-05-01T10:00:00Z"));
        check("1mo", Some("2027-02-28T10:00:00Z"));
        check("1y", Some("2028-01-31T10:00:00Z"));
        check("0d", None);
        check("-1d", None);
        check("9999y", None);
    }

    #[test]
    fn a_printed_entry_lets_its_token_in() {
        let secret = token_from([5; 32]);
        let token = Token {
            name: "a \"quoted\" name".into(),
            hash: TokenHash::of(&secret),
            expires: None,
            admin: true,
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config::token_entry(&token)).unwrap();
        let loaded = config::load(Layers {
            flags: vec![("config", file.path().display().to_string())],
            ..Layers::default()
        });
        let tokens = Tokens::new(loaded.unwrap().config.tokens);
        let header = format!("Bearer {secret}");
        let grant = tokens.grant(Some(&header), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            (grant.name.as_deref(), grant.admin),
            (Some(&*token.name), true)
        );
    }
}
