//! The settings that have a flag, for the commands that read a configuration.

use std::{env, ffi::OsString};

use clap::{
    Command, CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    config::{
        self, Config, Environment, Layers, Loaded, Problem, WebhookTls, nearest, renamed_flags,
        variable_of,
    },
    tls,
};

/// Which layer overrides which, for the end of a `--help`.
pub(super) const PRECEDENCE: &str = "\
Every setting can also be in the environment, as VERBEX_GATEWAY_ and its name \
(VERBEX_GATEWAY_WEBHOOK_ADDR), and in the file that --config (or VERBEX_GATEWAY_CONFIG) names. The \
file can have more settings than there are flags. Flags override the environment, and the \
environment overrides the file.";

/// Each flag has the name of its setting. `config::load` checks the values, so that every layer has
/// the same errors.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Settings {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<String>,

    /// Store the log and the gateway's own certificate here [default: ./verbex-gateway-data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,

    /// Remove events this long after they were received: 30d, 12h, or never [default: 30d]
    #[arg(long, value_name = "AGE")]
    retention_age: Option<String>,

    /// The organisation of events that name none
    #[arg(long, value_name = "ID")]
    organization: Option<String>,

    /// Post made-up calls to the webhook door. The data goes to ./verbex-gateway-demo, or to a
    /// folder of that name in --data-dir, separate from real calls
    #[arg(long)]
    demo: bool,

    /// Receive webhooks at this address [default: 127.0.0.1:8443]
    #[arg(long, value_name = "IP:PORT", help_heading = WEBHOOK)]
    webhook_addr: Option<String>,

    /// The webhook door's certificate chain (PEM); without it the gateway makes its own, which is
    /// valid on this machine only
    #[arg(long, value_name = "FILE", help_heading = WEBHOOK)]
    webhook_tls_cert: Option<String>,

    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", help_heading = WEBHOOK)]
    webhook_tls_key: Option<String>,

    /// Use plain HTTP, behind a proxy that ends TLS
    #[arg(long, help_heading = WEBHOOK)]
    webhook_plain_http: bool,

    /// Receive webhooks at /webhooks/verbex/SECRET only. Other users can see a command line, so
    /// prefer the environment or --webhook-secret-file
    #[arg(long, value_name = "SECRET", help_heading = WEBHOOK)]
    webhook_secret: Option<String>,

    /// Read that secret from this file
    #[arg(long, value_name = "FILE", help_heading = WEBHOOK)]
    webhook_secret_file: Option<String>,

    /// Open the door to other machines even without TLS or credentials
    #[arg(long, help_heading = WEBHOOK)]
    allow_insecure_webhook: bool,

    /// Serve subscribers at this address [default: 127.0.0.1:50051]
    #[arg(long, value_name = "IP:PORT", help_heading = GRPC)]
    grpc_addr: Option<String>,

    /// The gRPC door's certificate chain (PEM); without it the door uses plain text
    #[arg(long, value_name = "FILE", help_heading = GRPC)]
    grpc_tls_cert: Option<String>,

    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", help_heading = GRPC)]
    grpc_tls_key: Option<String>,

    /// Open the door to other machines even without TLS or credentials
    #[arg(long, help_heading = GRPC)]
    allow_insecure_grpc: bool,

    /// Serve /metrics, /livez, /readyz and /descriptor.binpb at this address [default:
    /// 127.0.0.1:9464]
    #[arg(long, value_name = "IP:PORT", help_heading = OPERATIONS)]
    admin_addr: Option<String>,

    /// The format of log lines, on standard error: text or json [default: text]
    #[arg(long, value_name = "FORMAT", help_heading = OPERATIONS)]
    log_format: Option<String>,

    /// The log level, or directives as in RUST_LOG [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = OPERATIONS)]
    log_level: Option<String>,
}

/// The environment of this process.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where the configuration is read"
)]
pub(super) fn environment() -> Environment {
    Environment::from_iter(env::vars_os())
}

/// The error of a command line, with the new name of each flag that was renamed.
pub(super) fn with_new_names(mut error: clap::Error, typed: &[OsString]) -> clap::Error {
    let cli = super::Cli::command();
    let command = typed.iter().find_map(|word| cli.find_subcommand(word));
    let (ErrorKind::UnknownArgument, Some(command)) = (error.kind(), command) else {
        return error;
    };
    let is_typed = |flag: &str| {
        let mut words = typed.iter().filter_map(|word| word.to_str());
        words.any(|word| word.split('=').next() == Some(flag))
    };
    let has = |flag: &str| {
        let mut flags = command.get_arguments().filter_map(|arg| arg.get_long());
        flags.any(|long| flag.strip_prefix("--") == Some(long))
    };
    let tips: Vec<_> = renamed_flags()
        .filter(|(old, new)| is_typed(old) && has(new))
        .map(|(old, new)| format!("{old} is called {new} now").into())
        .collect();
    if !tips.is_empty() {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// The configured certificates, each with the name of its setting. Reads the files as `serve` does,
/// because only their content shows whether they are usable.
pub(super) fn certificates(
    config: &Config,
) -> impl Iterator<Item = (&'static str, Result<tls::Served, tls::Error>)> {
    let webhook = match &config.webhook.tls {
        WebhookTls::Files(files) => Some(("webhook.tls_cert", files)),
        WebhookTls::SelfMade | WebhookTls::PlainHttp => None,
    };
    let grpc = config
        .grpc
        .tls
        .as_ref()
        .map(|files| ("grpc.tls_cert", files));
    [webhook, grpc]
        .into_iter()
        .flatten()
        .map(|(key, files)| (key, tls::load(&files.cert, &files.key)))
}

/// The variables of all settings, and the one that names the file.
fn variables(loaded: &Loaded) -> impl Iterator<Item = String> {
    loaded.effective.keys().chain(["config"]).map(variable_of)
}

const WEBHOOK: &str = "Webhook door";
const GRPC: &str = "gRPC door";
const OPERATIONS: &str = "Operations";

impl Settings {
    /// Reads the configuration of this process. The settings in `decided` override all others.
    pub(super) fn load(
        self,
        decided: Vec<(&'static str, String)>,
    ) -> Result<Loaded, config::Invalid> {
        let mut loaded = config::load(Layers {
            demo: self.demo,
            flags: [self.flags(), decided].concat(),
            environment: environment(),
        })?;
        // The variables of other commands are known, but not settings.
        let cli = super::Cli::command();
        let args = || cli.get_subcommands().flat_map(Command::get_arguments);
        loaded
            .unknown_variables
            .retain(|name| !args().any(|arg| arg.get_env() == Some(name.as_ref())));
        let known: Vec<String> = variables(&loaded).collect();
        let unknown = loaded.unknown_variables.iter().map(|name| {
            let mut message = "is in the environment, but no setting has this name".to_owned();
            if let Some(nearest) = nearest(name, known.iter().map(String::as_str)) {
                message += &format!("; did you mean {nearest}?");
            }
            let place = name.clone();
            Problem { place, message }
        });
        let unusable = certificates(&loaded.config).filter_map(|(key, served)| {
            Some(Problem {
                place: key.into(),
                message: served.err()?.to_string(),
            })
        });
        let problems: Vec<Problem> = unknown.chain(unusable).collect();
        if problems.is_empty() {
            Ok(loaded)
        } else {
            Err(config::Invalid(problems))
        }
    }

    fn flags(self) -> Vec<(&'static str, String)> {
        let said = |flag: bool| flag.then(|| "true".to_owned());
        [
            ("config", self.config),
            ("data_dir", self.data_dir),
            ("log.retention_age", self.retention_age),
            ("organization", self.organization),
            ("allow_insecure_webhook", said(self.allow_insecure_webhook)),
            ("allow_insecure_grpc", said(self.allow_insecure_grpc)),
            ("webhook.addr", self.webhook_addr),
            ("webhook.tls_cert", self.webhook_tls_cert),
            ("webhook.tls_key", self.webhook_tls_key),
            ("webhook.plain_http", said(self.webhook_plain_http)),
            ("webhook.secret", self.webhook_secret),
            ("webhook.secret_file", self.webhook_secret_file),
            ("grpc.addr", self.grpc_addr),
            ("grpc.tls_cert", self.grpc_tls_cert),
            ("grpc.tls_key", self.grpc_tls_key),
            ("admin.addr", self.admin_addr),
            ("logging.format", self.log_format),
            ("logging.level", self.log_level),
        ]
        .into_iter()
        .filter_map(|(key, text)| Some((key, text?)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;
    use crate::config::flag_of;

    #[test]
    fn every_flag_reaches_the_setting_of_its_name() {
        let command = || Settings::augment_args(clap::Command::new("serve"));
        let mut flags = 0;
        for arg in command()
            .get_arguments()
            .filter(|arg| arg.get_id() != "demo")
        {
            let flag = format!("--{}", arg.get_long().unwrap());
            let takes_value = arg.get_action().takes_values();
            let line = ["serve", &flag, "x"];
            let matches = command().get_matches_from(&line[..if takes_value { 3 } else { 2 }]);
            let given = Settings::from_arg_matches(&matches).unwrap().flags();
            let [(key, text)] = &given[..] else {
                panic!("{flag} gives {given:?}");
            };
            assert_eq!(flag_of(key), flag);
            assert_eq!(text, if takes_value { "x" } else { "true" });
            flags += 1;
        }
        assert_eq!(flags, 18);
    }
}
