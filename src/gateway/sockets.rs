//! The sockets of the doors: bound here, or handed over by the parent process.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::errors::StartError;
use crate::server;

/// Sockets that were handed over, by door. They already listen, do not block, and keep listening
/// when this process ends. A door without one binds its configured address.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub webhook: Option<std::net::TcpListener>,
    pub grpc: Option<std::net::TcpListener>,
    pub admin: Option<std::net::TcpListener>,
}

/// A socket that listens.
pub(super) struct BoundSocket {
    pub(super) listener: server::Listener,
    /// Its address, with the port that the system chose.
    pub(super) addr: SocketAddr,
}

/// Takes the socket that was handed over, or binds one.
pub(super) fn bind(
    flag: &'static str,
    addr: SocketAddr,
    handed_over: Option<std::net::TcpListener>,
) -> Result<BoundSocket, StartError> {
    let failed = |source| StartError::Bind { flag, addr, source };
    let outlives = handed_over.is_some();
    let socket = match handed_over {
        Some(socket) => TcpListener::from_std(socket),
        None => server::listen(addr),
    };
    let socket = socket.map_err(failed)?;
    let addr = socket.local_addr().map_err(failed)?;
    let listener = server::Listener { socket, outlives };
    Ok(BoundSocket { listener, addr })
}
