//! Listening sockets that the parent of this process has opened, as systemd does: `LISTEN_FDS` and
//! the related variables.

use std::{
    env, io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process,
};

use listenfd::ListenFd;

use super::UsageError;
use crate::{
    config::{self, Config},
    gateway,
};

/// Names of doors, which are also the names of their sockets, and the settings of their addresses.
const DOORS: [(&str, &str); 3] = [
    ("webhook", "webhook.addr"),
    ("grpc", "grpc.addr"),
    ("admin", "admin.addr"),
];

/// The sockets, in the order in which they were passed.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    name: String,
    addr: SocketAddr,
    listener: TcpListener,
}

impl Sockets {
    /// Takes all sockets that were passed to this process. The second call finds none.
    ///
    /// # Errors
    /// If `LISTEN_FDS` is not a number, or a socket is not a listening TCP socket.
    #[expect(
        clippy::disallowed_methods,
        reason = "systemd passes sockets through the environment"
    )]
    pub(super) fn take() -> Result<Self, UsageError> {
        check_count()?;
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut handed_over = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..handed_over.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let listener = handed_over.take_tcp_listener(index);
            // Each one exists until it is taken.
            let listener = listener.and_then(|there| there.ok_or(io::ErrorKind::NotFound.into()));
            let socket = listener.and_then(|listener| Socket::new(name, listener));
            sockets.push(socket.map_err(|error| {
                UsageError(format!(
                    "LISTEN_FDS: cannot use socket number {}: {error}; pass TCP sockets that \
                     listen (in a socket unit: ListenStream= with a port, and Accept=no)",
                    index + 1
                ))
            })?);
        }
        Ok(Self(sockets))
    }

    /// The settings that named sockets override: the addresses of their doors.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let named = self.0.iter().filter_map(|socket| {
            let (_, setting) = DOORS.iter().find(|(door, _)| *door == socket.name)?;
            Some((*setting, socket.addr.to_string()))
        });
        named.collect()
    }

    /// Gives each socket to the door that it is named for, or else to the door with its address.
    ///
    /// # Errors
    /// If a socket fits no door, or a door would have two.
    pub(super) fn for_doors(self, config: &Config) -> Result<gateway::Sockets, UsageError> {
        let addresses = [config.webhook.addr, config.grpc.addr, config.admin.addr];
        let mut doors = [None, None, None];
        for socket in self.0 {
            let Some(door) = socket.door(addresses) else {
                return Err(UsageError(format!(
                    "LISTEN_FDS: the socket {} fits no door; name it webhook, grpc or admin \
                     (FileDescriptorName= in a socket unit), or configure its address for one of \
                     them: webhook.addr is {}, grpc.addr {}, admin.addr {}",
                    socket.addr, addresses[0], addresses[1], addresses[2]
                )));
            };
            if doors[door].is_some() {
                return Err(UsageError(format!(
                    "LISTEN_FDS: the socket {} is the second one for the {} door; pass one for \
                     each door ([::] with BindIPv6Only=both accepts IPv4 too)",
                    socket.addr, DOORS[door].0
                )));
            }
            doors[door] = Some(socket.listener);
        }
        let [webhook, grpc, admin] = doors;
        Ok(gateway::Sockets {
            webhook,
            grpc,
            admin,
        })
    }
}

/// Checks `LISTEN_FDS` if it is for this process: `ListenFd` ignores a value that is not a number,
/// and accepts any number.
#[expect(
    clippy::disallowed_methods,
    reason = "systemd passes sockets through the environment"
)]
fn check_count() -> Result<(), UsageError> {
    let variable = |name| env::var_os(name).unwrap_or_default();
    let (count, pid) = (variable("LISTEN_FDS"), variable("LISTEN_PID"));
    let for_us = pid.is_empty() || pid == *process::id().to_string();
    if for_us
        && !count.is_empty()
        && count
            .to_str()
            .and_then(|count| count.parse::<u16>().ok())
            .is_none()
    {
        return Err(UsageError(format!(
            "LISTEN_FDS: {count:?} is not a number of sockets; expected a number from 0 to {}",
            u16::MAX
        )));
    }
    Ok(())
}

impl Socket {
    fn new(name: String, listener: TcpListener) -> io::Result<Self> {
        let same = TcpStream::from(OwnedFd::from(listener.try_clone()?));
        if same.peer_addr().is_ok() {
            return Err(io::Error::other("it is a connection"));
        }
        listener.set_nonblocking(true)?;
        Ok(Self {
            name,
            addr: listener.local_addr()?,
            listener,
        })
    }

    /// The index of the socket's door, if the doors have these addresses.
    fn door(&self, addresses: [SocketAddr; 3]) -> Option<usize> {
        let by = |is: &dyn Fn(usize) -> bool| (0..DOORS.len()).find(|&door| is(door));
        by(&|door| DOORS[door].0 == self.name)
            .or_else(|| by(&|door| addresses[door] == self.addr))
            .or_else(|| by(&|door| serves(self.addr, addresses[door])))
    }
}

/// Whether a socket may be used for a configured address: the port is the same, and one of the two
/// is all addresses of the machine. A door that is configured for this machine only is not opened
/// to others.
fn serves(socket: SocketAddr, configured: SocketAddr) -> bool {
    let [ip, wanted] = [socket, configured].map(|addr| addr.ip().to_canonical());
    socket.port() == configured.port()
        && (ip == wanted || ip.is_unspecified() || wanted.is_unspecified())
        && (config::is_loopback(socket) || !config::is_loopback(configured))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn a_socket_stands_in_for_an_address_but_opens_no_door_to_other_machines() {
        let check = |socket: &str, configured: &str, expected: bool| {
            let serves = serves(socket.parse().unwrap(), configured.parse().unwrap());
            assert_eq!(serves, expected, "{socket} for {configured}");
        };
        check("192.0.2.1:443", "192.0.2.1:443", true);
        check("[::ffff:192.0.2.1]:443", "192.0.2.1:443", true);
        check("[::]:443", "0.0.0.0:443", true);
        check("0.0.0.0:443", "[::]:443", true);
        check("[::]:443", "192.0.2.1:443", true);
        check("127.0.0.1:443", "0.0.0.0:443", true);
        check("[::]:443", "127.0.0.1:443", false);
        check("192.0.2.1:443", "192.0.2.2:443", false);
        check("[::]:443", "0.0.0.0:444", false);
    }

    fn socket(name: &str) -> Socket {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Socket::new(name.into(), listener).unwrap()
    }

    fn config(sockets: &Sockets, more: &[(&'static str, String)]) -> Config {
        let flags = [more, &sockets.settings()].concat();
        let layers = Layers {
            flags,
            ..Layers::default()
        };
        config::load(layers).unwrap().config
    }

    #[test]
    fn sockets_go_to_doors_by_name_and_then_by_address() {
        let sockets = Sockets(vec![socket("verbex-gateway.socket"), socket("webhook")]);
        let [by_address, by_name] = [0, 1].map(|index| sockets.0[index].addr);
        let config = config(&sockets, &[("grpc.addr", by_address.to_string())]);
        assert_eq!(config.webhook.addr, by_name);
        let doors = sockets.for_doors(&config).unwrap();
        let addr = |door: &Option<TcpListener>| door.as_ref().unwrap().local_addr().unwrap();
        assert_eq!(addr(&doors.webhook), by_name);
        assert_eq!(addr(&doors.grpc), by_address);
        assert!(doors.admin.is_none());
    }

    #[test]
    fn a_socket_that_fits_no_door_or_a_taken_one_is_refused() {
        let check = |names: [&str; 2], expected: &str| {
            let sockets = Sockets(names.map(socket).into());
            let config = config(&sockets, &[]);
            let refused = sockets.for_doors(&config).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        };
        check(["webhook", "unknown"], "fits no door");
        check(["webhook", "webhook"], "second one for the webhook door");
    }

    #[test]
    fn a_connection_is_no_socket_for_a_door() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let refused = Socket::new(String::new(), TcpListener::from(OwnedFd::from(stream)));
        assert!(refused.is_err());
    }
}
