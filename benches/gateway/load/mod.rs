//! Clients: cheap ones, so that the machine is left to the servers.

pub(crate) mod churn;
pub(crate) mod history;
pub(crate) mod http1;
pub(crate) mod messages;
pub(crate) mod posters;
pub(crate) mod steady;
pub(crate) mod streams;
pub(crate) mod subscribers;
pub(crate) mod webhook_to_subscriber;
