//! `verbex-gateway check-config`: what `serve` would run with.

use std::io::{self, Write};

use jiff::Timestamp;

use super::settings::{PRECEDENCE, Settings, certificates};
use crate::config::{self, Invalid, Problem};

/// Read and check the configuration without serving, and print all settings
///
/// Takes the flags of `serve` and prints all settings as TOML. Secrets are masked. A comment after
/// each value that is not the default says where it comes from. Certificates and keys are read as
/// `serve` reads them: an expired certificate is an error, one that expires within 14 days a
/// warning.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Examples:
  verbex-gateway check-config --config gateway.toml
  verbex-gateway check-config --config gateway.toml --webhook-addr 0.0.0.0:8443

{PRECEDENCE}"))]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let loaded = args.settings.load(Vec::new())?;
    let mut stdout = io::stdout().lock();
    write!(stdout, "{}", loaded.effective)?;
    for token in &loaded.config.tokens {
        write!(stdout, "\n{}", config::token_entry(token))?;
    }
    stdout.flush()?;
    let now = Timestamp::now();
    let mut expired = Vec::new();
    for (key, served) in certificates(&loaded.config) {
        // If a file cannot be read, the loading above has failed.
        let findings = served.map(|served| served.validity.findings(now))?;
        for finding in findings {
            let problem = Problem {
                place: key.into(),
                message: finding.to_string(),
            };
            if finding.fault.is_refused() {
                expired.push(problem);
            } else {
                writeln!(io::stderr(), "warning: {problem}")?;
            }
        }
    }
    if !expired.is_empty() {
        return Err(Invalid(expired).into());
    }
    writeln!(io::stderr(), "configuration ok")?;
    Ok(())
}
