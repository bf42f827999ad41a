//! Where the log is.

use crate::{
    cli::settings::environment,
    config::{self, Config, Invalid, Layers},
};

/// The flags that say which log. The other settings come from the environment and the file, as for
/// `serve`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which log")]
pub(super) struct Place {
    /// The data folder [default: ./verbex-gateway-data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

impl Place {
    /// The configuration of the gateway whose log it is.
    pub(super) fn load(self) -> Result<Config, Invalid> {
        let flags = [("data_dir", self.data_dir), ("config", self.config)];
        let loaded = config::load_without_doors(Layers {
            flags: flags
                .into_iter()
                .filter_map(|(key, text)| Some((key, text?)))
                .collect(),
            demo: false,
            environment: environment(),
        })?;
        Ok(loaded.config)
    }
}
