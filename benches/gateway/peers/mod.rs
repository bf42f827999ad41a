//! What the gateway is measured against, in the same run.

pub(crate) mod bare_https;
pub(crate) mod nats;
pub(crate) mod raw_tcp;
pub(crate) mod tonic_broadcast;
pub(crate) mod webhook_broadcast;
