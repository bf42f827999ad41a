//! What the gateway is measured against, in the same run.

pub(crate) mod bare_https;
pub(crate) mod nats;
pub(crate) mod plain_file;
pub(crate) mod raw_tcp;
mod rows;
pub(crate) mod tonic_broadcast;
pub(crate) mod version_1;
pub(crate) mod webhook_broadcast;
