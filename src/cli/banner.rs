//! What `serve` prints when its doors are open: their addresses, and commands to try.
//!
//! Programs may also read the lines that begin with `webhook`, `grpc` and `admin`: the word,
//! spaces, the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::connect::DEFAULT_ADDRESS;
use crate::{
    config::{Config, WebhookTls},
    gateway::Addresses,
    webhook::Credential,
};

const SUBSCRIBE: &str = "verbex.gateway.v1.EventService/Subscribe";
/// A webhook with nothing odd about it.
const SAMPLE: &str =
    r#"{"eventName":"CallHandler.CallStarted","call_id":"1","agent_id":"2","status":"success"}"#;

/// The text for a gateway with this configuration at these addresses. `program` is the command that
/// starts this program in a shell. `new_log` says whether the log was created at this start.
///
/// `Addresses::webhook_url` ends in `/webhooks/verbex`. A secret that follows it is never shown.
pub(super) fn banner(
    config: &Config,
    addresses: &Addresses,
    program: &str,
    new_log: bool,
) -> String {
    format!(
        "verbex-gateway {version}{demo}, data in {data}{log}, events kept {kept}\n\n{doors}\n\n\
         {steps}\n",
        version = env!("CARGO_PKG_VERSION"),
        demo = if config.demo {
            " with made-up calls"
        } else {
            ""
        },
        data = config.log.data_dir.display(),
        log = if new_log { ", a new log" } else { "" },
        kept = config.log.limits,
        doors = doors(config, addresses).join("\n"),
        steps = first_steps(config, addresses, program).join("\n"),
    )
}

fn doors(config: &Config, addresses: &Addresses) -> [String; 3] {
    let secret = if config.webhook.service.path_secret.is_some() {
        "/…"
    } else {
        ""
    };
    let transport = if config.grpc.tls.is_some() {
        "TLS"
    } else {
        "plain text"
    };
    [
        format!("webhook  {}{secret}", addresses.webhook_url),
        format!("grpc     {}  ({transport})", addresses.grpc),
        format!(
            "admin    http://{}  (operations: /metrics /livez /readyz /descriptor.binpb)",
            addresses.admin
        ),
    ]
}

/// Commands that work unchanged on this machine. Only secrets and the name in a configured
/// certificate must be filled in.
fn first_steps(config: &Config, addresses: &Addresses, program: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut step = |what: &str, command: String| steps.push(format!("{what:<17}{command}"));

    let secret = if config.webhook.service.path_secret.is_some() {
        "/SECRET"
    } else {
        ""
    };
    let webhook = match &config.webhook.tls {
        WebhookTls::SelfMade | WebhookTls::PlainHttp => reachable_url(addresses),
        WebhookTls::Files(_) => {
            let port_and_path = addresses.webhook_url.rsplit(':').next();
            format!("https://NAME:{}", port_and_path.unwrap_or_default())
        }
    } + secret;
    let ca = addresses.ca_pem.as_ref().map(|ca| ca.display().to_string());
    let trust = ca
        .as_ref()
        .map_or_else(String::new, |ca| format!(" --cacert {ca}"));
    step(
        "Post:",
        format!(
            "curl{trust}{} -d '{SAMPLE}' -H 'content-type: application/json' {webhook}",
            curl_credential(config)
        ),
    );

    let grpc = match config.grpc.tls {
        None => reachable(addresses.grpc).to_string(),
        Some(_) => format!("NAME:{}", addresses.grpc.port()),
    };
    let token = if config.tokens.is_empty() {
        ""
    } else {
        " -H 'authorization: Bearer TOKEN'"
    };
    let plaintext = if config.grpc.tls.is_some() {
        ""
    } else {
        " -plaintext"
    };
    step(
        "Subscribe:",
        format!("grpcurl{plaintext}{token} {grpc} {SUBSCRIBE}"),
    );

    let scheme = if config.grpc.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let token = if config.tokens.is_empty() {
        ""
    } else {
        " --token-file FILE"
    };
    let address = match format!("{scheme}://{grpc}") {
        address if address == DEFAULT_ADDRESS => String::new(),
        address => format!(" --address {address}"),
    };
    step("Watch:", format!("{program} tail{address}{token}"));

    // A door to other machines, or behind a proxy, gets real calls: suggest no made-up ones.
    if ca.is_some() && !config.demo && config.webhook.service.credentials.is_empty() {
        let ca = ca.map_or_else(String::new, |ca| format!(" --ca {ca}"));
        step(
            "Make up calls:",
            format!("{program} simulate{ca} --url {webhook}"),
        );
    }
    steps
}

/// One of them is enough.
fn curl_credential(config: &Config) -> String {
    match config.webhook.service.credentials.first() {
        None => String::new(),
        Some(Credential::Header { name, .. }) => format!(" -H '{name}: SECRET'"),
        Some(Credential::Basic { user_password }) => {
            let user = user_password.expose().split(':').next();
            format!(" -u '{}'", user.unwrap_or_default())
        }
        Some(Credential::Bearer { .. }) => " -H 'authorization: Bearer SECRET'".to_owned(),
    }
}

/// The webhook's URL to call on this machine.
pub(super) fn reachable_url(addresses: &Addresses) -> String {
    addresses
        .webhook_url
        .replace("//0.0.0.0:", "//127.0.0.1:")
        .replace("//[::]:", "//[::1]:")
}

/// An address to call when the door listens on all addresses.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Layers};

    fn shown(flags: &[(&'static str, &str)], ca_pem: Option<&str>) -> String {
        let flags = flags.iter().map(|&(key, text)| (key, text.to_owned()));
        let loaded = config::load(Layers {
            flags: flags.collect(),
            ..Layers::default()
        });
        let addresses = Addresses {
            webhook_url: "https://127.0.0.1:4001/webhooks/verbex".into(),
            grpc: "0.0.0.0:4002".parse().unwrap(),
            admin: "127.0.0.1:4003".parse().unwrap(),
            ca_pem: ca_pem.map(Into::into),
        };
        let config = loaded.unwrap().config;
        banner(&config, &addresses, "target/verbex-gateway", true)
    }

    #[test]
    fn each_door_has_a_line_that_programs_can_read() {
        let text = shown(&[], None);
        let address_of = |door: &str| {
            let mut words = text
                .lines()
                .find_map(|line| line.strip_prefix(door))
                .unwrap()
                .split_whitespace();
            words.next().unwrap().to_owned()
        };
        assert_eq!(
            address_of("webhook "),
            "https://127.0.0.1:4001/webhooks/verbex"
        );
        assert_eq!(address_of("grpc "), "0.0.0.0:4002");
        assert_eq!(address_of("admin "), "http://127.0.0.1:4003");
    }

    #[test]
    fn it_says_how_to_trust_the_certificate_and_where_to_subscribe() {
        let text = shown(&[], Some("data/tls/dev-ca.pem"));
        assert!(
            text.contains("curl --cacert data/tls/dev-ca.pem "),
            "{text}"
        );
        assert!(
            text.contains(
                "grpcurl -plaintext 127.0.0.1:4002 verbex.gateway.v1.EventService/Subscribe"
            ),
            "{text}"
        );
        assert!(!shown(&[], None).contains("--cacert"));
    }

    #[test]
    fn it_posts_in_plain_http_behind_a_proxy_and_to_a_name_where_there_is_a_certificate() {
        let plain = shown(&[("webhook.plain_http", "true")], None);
        assert!(plain.contains("Post:            curl -d '{"), "{plain}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let keys = [
            "webhook.tls_cert",
            "webhook.tls_key",
            "grpc.tls_cert",
            "grpc.tls_key",
        ];
        let named = shown(&keys.map(|key| (key, path)), None);
        for line in [
            " https://NAME:4001/webhooks/verbex\n",
            " grpcurl NAME:4002 ",
            " --address https://NAME:4002\n",
        ] {
            assert!(named.contains(line), "{named}");
        }
    }

    #[test]
    fn its_commands_start_the_program_as_it_was_started() {
        let text = shown(&[], Some("ca.pem"));
        assert!(
            text.contains(" target/verbex-gateway tail --address http://127.0.0.1:4002\n"),
            "{text}"
        );
        assert!(
            text.contains(" target/verbex-gateway simulate --ca ca.pem "),
            "{text}"
        );
    }

    #[test]
    fn it_offers_no_made_up_calls_where_real_ones_come() {
        assert!(!shown(&[], None).contains("simulate"));
    }

    #[test]
    fn the_secret_path_is_not_shown() {
        let text = shown(&[("webhook.secret", "s3cret-path")], Some("ca.pem"));
        assert!(!text.contains("s3cret-path"), "{text}");
        assert!(text.contains("/webhooks/verbex/…"), "{text}");
    }
}
