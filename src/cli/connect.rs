//! The flags for the gateway's address and credentials, and advice when a call fails.

use std::{fs, path::PathBuf};

use anyhow::{Context, anyhow};
use tonic::Code;

use super::UsageError;
use crate::client::{Error, Gateway};

/// The address of a gateway without configuration.
pub(super) const DEFAULT_ADDRESS: &str = "http://127.0.0.1:50051";

/// The gateway's address, and the credentials.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Which gateway")]
pub(super) struct Connect {
    /// The gateway's gRPC address, with https:// if it uses TLS
    #[arg(
        long,
        alias = "addr",
        value_name = "URL",
        env = "VERBEX_GATEWAY_ADDRESS",
        default_value = DEFAULT_ADDRESS
    )]
    address: String,
    /// Trust the certificates in this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The subscriber token. Other users can see a command line, so prefer the environment or
    /// --token-file
    #[arg(
        long,
        value_name = "TOKEN",
        env = "VERBEX_GATEWAY_TOKEN",
        hide_env_values = true,
        conflicts_with = "token_file"
    )]
    token: Option<String>,
    /// Read the subscriber token from this file
    #[arg(long, value_name = "FILE", env = "VERBEX_GATEWAY_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Connect {
    /// The gateway, without connecting to it.
    ///
    /// # Errors
    /// If a file cannot be read, or a value is not valid.
    pub(super) fn gateway(&self) -> anyhow::Result<Gateway> {
        let read = |path: &PathBuf| {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let ca_pem = self.ca.as_ref().map(read).transpose()?;
        let token = match &self.token_file {
            Some(path) => Some(read(path)?),
            None => self.token.clone(),
        };
        // The banner of `serve` shows the address without a scheme.
        let address = match self.address.contains("://") {
            true => self.address.clone(),
            false => format!("http://{}", self.address),
        };
        let gateway = || {
            let mut gateway = Gateway::new(&address)?;
            if let Some(pem) = ca_pem {
                gateway = gateway.with_ca(&pem)?;
            }
            if let Some(token) = token {
                gateway = gateway.with_token(&token)?;
            }
            Ok(gateway)
        };
        // A value on the command line is wrong.
        gateway().map_err(|error: Error| UsageError(error.to_string()).into())
    }
}

/// The error, and which flags to change.
#[must_use]
pub(super) fn with_advice(error: Error) -> anyhow::Error {
    let advice = match (error.reason(), &error) {
        ("CREDENTIALS_INVALID", _) => {
            "give a subscriber token that the gateway knows and that has not expired, with \
             --token-file or VERBEX_GATEWAY_TOKEN; `verbex-gateway token new` makes one"
        }
        ("SCOPE_DENIED", _) => "ask for what the token may read, or use another token",
        ("CURSOR_INVALID", _) => "copy the whole cursor, or begin without one",
        ("CURSOR_FOREIGN_LOG", _) => {
            "the gateway's log was recreated or restored from a copy: begin without this cursor, \
             and add --from-earliest to miss nothing (an event that comes again has the same id)"
        }
        ("CURSOR_EXPIRED", _) => {
            "begin without this cursor, and add --from-earliest to get all events that are left"
        }
        (_, Error::Untrusted { .. }) => "give the CA with --ca FILE and the name in --address",
        // An error of a gateway has a reason.
        (
            "",
            Error::Refused {
                code: Code::Internal | Code::Unknown | Code::Unimplemented,
                ..
            },
        ) => {
            "this is not the answer of a gateway: check that --address is its gRPC address, not \
             the webhook's"
        }
        _ => return error.into(),
    };
    anyhow!("{error}; {advice}")
}
