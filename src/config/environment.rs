//! The environment: variables that are settings, and variables that only look like them.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{IpAddr, SocketAddr},
};

use super::names::{PREFIX, variable_of};

/// The variables whose names look like settings. They are read once; tests pass their own.
#[derive(Debug, Default)]
pub(crate) struct Environment(BTreeMap<String, OsString>);

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        let concerns = |name: &str| name.starts_with(PREFIX) || name == "RUST_LOG";
        let named = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self(named.filter(|(name, _)| concerns(name)).collect())
    }
}

impl Environment {
    /// Takes the variable that sets this key, with its value.
    pub(super) fn take(&mut self, key: &str) -> Option<(String, OsString)> {
        let own = self.0.remove_entry(&variable_of(key));
        match key {
            // Most programs that log with `tracing` read this variable.
            "logging.level" => own.or_else(|| self.0.remove_entry("RUST_LOG")),
            _ => own,
        }
    }

    /// The variables that are not settings and were not set by Kubernetes.
    pub(super) fn rest(self) -> impl Iterator<Item = String> {
        let unknown = self.0.into_iter().filter(|(name, value)| {
            name.starts_with(PREFIX)
                && !value
                    .to_str()
                    .is_some_and(|value| is_of_kubernetes(name, value))
        });
        unknown.map(|(name, _)| name)
    }
}

/// Whether Kubernetes set this variable, for a service whose name begins with `verbex-gateway`.
///
/// It sets these in every container of the namespace, where `…` is the service's name:
///
/// | name | value |
/// |---|---|
/// | `…_SERVICE_HOST` | an address |
/// | `…_SERVICE_PORT`, `…_SERVICE_PORT_{name of a port}` | a port |
/// | `…_PORT` | `tcp://address:port` |
/// | `…_PORT_{port}_TCP` | the same |
/// | `…_PORT_{port}_TCP_ADDR`, `…_TCP_PORT`, `…_TCP_PROTO` | its parts |
///
/// The value must fit, too: `VERBEX_GATEWAY_GRPC_PORT=50051` is a mistake of the operator.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    // The name of the service may contain these words too, so each occurrence is tried.
    let behind = |word: &'static str| {
        let places = name.match_indices(word);
        places.map(move |(at, _)| &name[at + word.len()..])
    };
    behind("_SERVICE_HOST").any(|rest| rest.is_empty() && is_address(value))
        || behind("_SERVICE_PORT")
            .any(|rest| (rest.is_empty() || rest.starts_with('_')) && is_port(value))
        || behind("_PORT").any(|rest| match rest.strip_prefix('_') {
            Some(rest) => is_of_link(rest, value),
            None => rest.is_empty() && PROTOCOLS.iter().any(|name| is_url(value, name, None)),
        })
}

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// `443_TCP` and what may follow it.
fn is_of_link(rest: &str, value: &str) -> bool {
    let mut words = rest.split('_');
    let (Some(port), Some(protocol), part, None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    let Some(protocol) = PROTOCOLS
        .into_iter()
        .find(|name| name.to_uppercase() == protocol)
    else {
        return false;
    };
    is_port(port)
        && match part {
            None => is_url(value, protocol, Some(port)),
            Some("ADDR") => is_address(value),
            Some("PORT") => value == port,
            Some("PROTO") => value == protocol,
            Some(_) => false,
        }
}

fn is_url(text: &str, protocol: &str, port: Option<&str>) -> bool {
    let address = text
        .strip_prefix(protocol)
        .and_then(|rest| rest.strip_prefix("://"))
        .and_then(|address| address.parse::<SocketAddr>().ok());
    address
        .is_some_and(|address| port.is_none_or(|expected| address.port().to_string() == expected))
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_sets_for_a_service_is_known_by_name_and_value() {
        for (name, value) in [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_HOST", "fd00::1"),
            ("SERVICE_PORT", "443"),
            ("SERVICE_PORT_HTTPS_ALT", "8443"),
            ("SERVICE_PORT_GRPC", "50051"),
            ("PORT", "tcp://10.0.0.1:443"),
            ("PORT", "tcp://[fd00::1]:443"),
            ("PORT", "udp://10.0.0.1:53"),
            ("PORT_443_TCP", "tcp://10.0.0.1:443"),
            ("PORT_443_TCP_ADDR", "10.0.0.1"),
            ("PORT_443_TCP_PORT", "443"),
            ("PORT_443_TCP_PROTO", "tcp"),
            ("PORT_53_UDP", "udp://[fd00::1]:53"),
            ("PORT_53_UDP_ADDR", "fd00::1"),
            ("PORT_53_UDP_PORT", "53"),
            ("PORT_53_UDP_PROTO", "udp"),
            ("PORT_9899_SCTP", "sctp://10.0.0.1:9899"),
            ("PORT_9899_SCTP_PROTO", "sctp"),
        ] {
            for service in [
                "",
                "GRPC_",
                "WEBHOOK_",
                "X_Y_",
                "PORT_",
                "SERVICE_PORT_",
                "2_",
            ] {
                let name = format!("{PREFIX}{service}{name}");
                assert!(is_of_kubernetes(&name, value), "{name}={value}");
            }
        }
    }

    #[test]
    fn what_kubernetes_never_sets_stays_a_mistake() {
        for (name, value) in [
            ("GRPC_PORT", "50051"),
            ("WEBHOOK_PORT", "8443"),
            ("PORT", ""),
            ("PORT", "10.0.0.1:443"),
            ("PORT", "http://10.0.0.1:443"),
            ("PORT", "tcp://verbex-gateway:443"),
            ("GRPC_HOST", "10.0.0.1"),
            ("SERVICE_HOST", "gateway"),
            ("SERVICE_PORT", "0"),
            ("SERVICE_PORT", "https"),
            ("SERVICE_PORTS", "443"),
            ("SERVICE_HOST_NAME", "10.0.0.1"),
            ("SERVICE_ADDR", "10.0.0.1"),
            ("WEBHOOK_TCP_ADDR", "10.0.0.1"),
            ("PORT_443", "443"),
            ("PORT_443_TCP", "tcp://10.0.0.1:444"),
            ("PORT_443_TCP", "udp://10.0.0.1:443"),
            ("PORT_443_TCP_PORT", "444"),
            ("PORT_443_TCP_PROTO", "udp"),
            ("PORT_443_TCP_HOST", "10.0.0.1"),
            ("PORT_443_HTTP", "http://10.0.0.1:443"),
            ("PORT_443_TCP_ADDR_X", "10.0.0.1"),
            ("PORT_HTTPS_TCP_ADDR", "10.0.0.1"),
        ] {
            let name = format!("{PREFIX}{name}");
            assert!(!is_of_kubernetes(&name, value), "{name}={value}");
        }
    }
}
