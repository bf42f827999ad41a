//! The configuration: one typed and checked tree. No other code reads settings from files, the
//! environment or flags.
//!
//! A setting has one name in four places: `webhook.addr` is `addr` under `[webhook]` in the file,
//! `VERBEX_GATEWAY_WEBHOOK_ADDR` in the environment and `--webhook-addr` on the command line (not
//! every setting has a flag). Flags override the environment, the environment overrides the file,
//! and the file overrides the defaults. All errors are reported at once, each with its place.
//!
//! To add a setting of a room, add a field to the room's `Config`, which has its default, and a
//! line in `load`, in `config.default.toml` and in the README's table.
//!
//! - `tree`: the result.
//! - `load`: makes the tree, setting by setting.
//! - `check`: the rules between settings.
//! - `reader`: reads one setting from all layers. `effective` keeps the value, and its layer.
//! - `file`: the file as it was written, each value with its place.
//! - `environment`: the variables, and which of them Kubernetes set.
//! - `names`: the names of a setting in each layer, and its old names.
//! - `setting`: reads and prints a single value.
//! - `tokens`: the entries of `[[tokens]]`, read and written.
//! - `problem`: errors, each with its place.

mod check;
mod effective;
mod environment;
mod file;
mod load;
mod names;
mod problem;
mod reader;
mod setting;
mod tokens;
mod tree;

#[cfg(test)]
mod tests;

pub(crate) use environment::Environment;
pub(crate) use load::{Layers, Loaded, load, load_without_doors};
#[cfg(test)]
pub(crate) use names::flag_of;
pub(crate) use names::{nearest, renamed_flags, variable_of};
pub(crate) use problem::{Invalid, Problem};
pub(crate) use tokens::token_entry;
pub(crate) use tree::{Config, LogFormat, Logging, WebhookDoor, WebhookTls, is_loopback};
