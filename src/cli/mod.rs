//! The command line: one file for each command, with its `Args` and its `run`.
//!
//! Results go to standard output, everything else to standard error.

mod banner;
mod check_config;
mod completions;
mod connect;
mod demo;
mod descriptor;
mod events;
mod filter_flags;
mod interrupt;
mod lines;
mod log;
mod logging;
mod moment;
mod output;
mod post;
mod pretty;
mod send;
mod serve;
mod settings;
mod simulate;
mod sockets;
mod tail;
mod token;

use std::{env, ffi::OsString, io};

use clap::{Parser, Subcommand};

use crate::config;

/// The parsed command line.
#[derive(Debug, Parser)]
#[command(
    name = "verbex-gateway",
    version,
    about = "Takes Verbex call webhooks, makes each one durable, and streams them over gRPC",
    after_help = "\
Examples:
  verbex-gateway serve --demo                 a gateway with made-up calls, to look around
  verbex-gateway serve                        a gateway for this machine
  verbex-gateway tail                         watch its events in another terminal
  verbex-gateway help serve                   the settings

Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration, 129, 130 or 143 ended at once by a \
second signal.",
    propagate_version = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Tail(tail::Args),
    Events(events::Args),
    Send(send::Args),
    Simulate(simulate::Args),
    Log(log::Args),
    CheckConfig(check_config::Args),
    Token(token::Args),
    Completions(completions::Args),
    Descriptor(descriptor::Args),
}

impl Cli {
    /// Parses the command line of this process. Ends the process if it is wrong or asks for help.
    pub fn typed() -> Self {
        Self::parsed(env::args_os().collect()).unwrap_or_else(|error| error.exit())
    }

    fn parsed(typed: Vec<OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(&typed).map_err(|error| settings::with_new_names(error, &typed))
    }

    /// Runs the command until it is done.
    ///
    /// # Errors
    /// If the command fails; [`exit_code`] returns the exit code for the error.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Tail(args) => tail::run(args).await,
            Command::Events(args) => events::run(args).await,
            Command::Send(args) => send::run(args).await,
            Command::Simulate(args) => simulate::run(args).await,
            Command::Log(args) => log::run(args).await,
            Command::CheckConfig(args) => check_config::run(args).await,
            Command::Token(args) => token::run(args).await,
            Command::Completions(args) => completions::run(args).await,
            Command::Descriptor(args) => descriptor::run(args).await,
        }
    }
}

/// Arguments that are valid one by one, but not together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The exit code for an error: 1 for a failure, 2 for wrong usage or configuration, and 0 if the
/// reader of standard output has closed it.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(is_broken_pipe) {
        0
    } else if error
        .chain()
        .any(|cause| cause.is::<UsageError>() || cause.is::<config::Invalid>())
    {
        2
    } else {
        1
    }
}

/// The error and its causes, without repeating a cause that the error's own text already has.
#[must_use]
pub fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_is_well_formed_and_shows_examples() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        for command in cli.get_subcommands_mut().filter(|c| c.get_name() != "help") {
            let help = command.render_long_help().to_string();
            assert!(help.contains("verbex-gateway"), "{help}");
            let leaf = command.get_subcommands().count() == 0;
            assert!(!leaf || help.contains("Examples:"), "{help}");
        }
    }

    #[test]
    fn an_old_flag_is_told_its_new_name_by_the_commands_that_have_it() {
        let said = |line: &str| {
            let typed = line.split(' ').map(OsString::from).collect();
            let error = Cli::parsed(typed).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            error.to_string()
        };
        for command in ["serve", "check-config"] {
            for flags in ["--tls-cert a --tls-key b", "--tls-cert=a --tls-key=b"] {
                let said = said(&format!("verbex-gateway {command} {flags}"));
                for (old, new) in [("cert", "cert"), ("key", "key")] {
                    let tip = format!("tip: --tls-{old} is called --webhook-tls-{new} now\n");
                    assert!(said.contains(&tip), "{said}");
                }
                assert!(!said.contains("similar"), "{said}");
            }
        }
        let other = said("verbex-gateway tail --tls-cert a");
        assert!(!other.contains("--webhook-tls-cert"), "{other}");
        let new = said("verbex-gateway serve --webhook-tls-crt a");
        assert!(new.contains("'--webhook-tls-cert'"), "{new}");
    }

    #[test]
    fn a_message_says_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot listen: {source}; choose another address")]
        struct Bind {
            source: io::Error,
        }
        let source = io::Error::other("in use");
        assert_eq!(
            message(&anyhow::Error::from(Bind { source }).context("serve")),
            "serve: cannot listen: in use; choose another address"
        );
        assert_eq!(message(&anyhow::anyhow!("a").context("b")), "b: a");
    }

    #[test]
    fn the_exit_code_tells_wrong_usage_from_failure_and_a_reader_that_left_is_neither() {
        let check = |error: anyhow::Error, expected: u8| {
            assert_eq!(exit_code(&error), expected, "{error:#}");
        };
        let broken_pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        check(anyhow::anyhow!("no"), 1);
        check(UsageError("no".into()).into(), 2);
        check(config::Invalid(Vec::new()).into(), 2);
        check(broken_pipe().into(), 0);
        check(
            Err::<(), _>(broken_pipe())
                .context("writing")
                .context("tail")
                .unwrap_err(),
            0,
        );
    }
}
