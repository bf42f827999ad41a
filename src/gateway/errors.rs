//! Why a gateway does not start, or stops by itself.

use std::{io, net::SocketAddr};

use super::parts::Part;
use crate::{grpc, log, tls};

/// Why the gateway does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Log(#[from] log::OpenError),
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error(
        "cannot listen on {addr} ({flag}): {source}; choose another address, or port 0 for any \
         that is free"
    )]
    Bind {
        /// The flag that sets the address.
        flag: &'static str,
        addr: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Descriptors(#[from] grpc::DescriptorError),
}

/// A part that must run until the end has ended.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} has ended unexpectedly; nothing that was answered with 200 is lost, start the gateway \
     again"
)]
pub(crate) struct Broken(pub(super) Part);
