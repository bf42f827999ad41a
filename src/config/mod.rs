//! The configuration: one typed tree, checked, and the only place that reads files, environment and
//! flags.
//!
//! A setting has one name in four places: `webhook.addr` is `addr` under `[webhook]` in the file,
//! `VERBEX_GATEWAY_WEBHOOK_ADDR` in the environment and `--webhook-addr` on the command line (for
//! those that have a flag). Flags count over environment, environment over file, file over
//! defaults. Everything that is wrong is told at once, each with its place.
//!
//! A new setting of a room is a field of the room's `Config`, which has its default, and its line
//! in `load`, in `config.default.toml` and in the README's table.
//!
//! - `tree`: the result.
//! - `load`: makes the tree, setting by setting.
//! - `check`: the rules between settings.
//! - `reader`: reads one setting from all layers, and `effective` remembers which one counted.
//! - `file`: the file as it was written, each value with its place.
//! - `environment`: the variables, and which of them Kubernetes set.
//! - `names`: the names of a setting in each layer, and its old names.
//! - `setting`: how a single value is read and printed.
//! - `tokens`: the entries of `[[tokens]]`, read and written.
//! - `problem`: what is wrong, and where.

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
pub(crate) use load::{Layers, Loaded, load};
#[cfg(test)]
pub(crate) use names::flag_of;
pub(crate) use names::{nearest, renamed_flags, variable_of};
pub(crate) use problem::{Invalid, Problem};
pub(crate) use tokens::token_entry;
pub(crate) use tree::{Config, LogFormat, Logging, WebhookDoor, WebhookTls, is_loopback};
