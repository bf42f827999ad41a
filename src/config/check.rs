//! The rules that involve several settings: above all, which doors may be open to other machines.

use std::net::SocketAddr;

use super::{
    effective::Effective,
    problem::Problem,
    tree::{Config, GrpcDoor, WebhookDoor, WebhookTls, is_loopback},
};

/// Problems between settings whose single values are valid.
pub(super) fn rules(config: &Config, effective: &Effective) -> Vec<Problem> {
    let Config {
        webhook,
        grpc,
        admin,
        ..
    } = config;
    let findings = [
        ("webhook.addr", open_webhook(webhook)),
        ("grpc.addr", open_grpc(grpc, config.tokens.is_empty())),
        ("grpc.addr", shared(grpc.addr, &[webhook.addr])),
        ("admin.addr", shared(admin.addr, &[webhook.addr, grpc.addr])),
    ];
    findings
        .into_iter()
        .filter_map(|(key, finding)| Some(effective.problem(key, finding?)))
        .collect()
}

/// A webhook door that other machines can reach needs TLS and credentials, unless the operator
/// allows it without.
fn open_webhook(webhook: &WebhookDoor) -> Option<String> {
    let tls = match webhook.tls {
        WebhookTls::Files(_) => None,
        WebhookTls::SelfMade => Some((
            "no TLS that others can trust (the self-made certificate does not count)",
            "give --webhook-tls-cert and --webhook-tls-key",
        )),
        WebhookTls::PlainHttp => Some((
            "no TLS (--webhook-plain-http)",
            "run the proxy that ends TLS on this machine, and let the webhook door listen on \
             127.0.0.1",
        )),
    };
    let service = &webhook.service;
    let without_credentials = service.path_secret.is_none() && service.credentials.is_empty();
    let credentials = without_credentials.then_some((
        "no credentials",
        "give a secret path with --webhook-secret-file",
    ));
    open_door(
        webhook.addr,
        webhook.open_allowed,
        [tls, credentials],
        "webhook",
    )
}

/// The same rule for the gRPC door.
fn open_grpc(grpc: &GrpcDoor, without_tokens: bool) -> Option<String> {
    let tls = grpc
        .tls
        .is_none()
        .then_some(("no TLS", "give --grpc-tls-cert and --grpc-tls-key"));
    let credentials = without_tokens.then_some((
        "no credentials",
        "make tokens with `verbex-gateway token new`",
    ));
    open_door(grpc.addr, grpc.open_allowed, [tls, credentials], "grpc")
}

/// If other machines can reach a door, says what it lacks, and how to mend that.
fn open_door(
    addr: SocketAddr,
    allowed: bool,
    lacks: [Option<(&str, &str)>; 2],
    door: &str,
) -> Option<String> {
    if allowed || is_loopback(addr) {
        return None;
    }
    let (lacks, remedies): (Vec<_>, Vec<_>) = lacks.into_iter().flatten().unzip();
    (!lacks.is_empty()).then(|| {
        format!(
            "{addr} can be reached from other machines, and the {door} door has {}; {}, or give \
             --allow-insecure-{door}",
            lacks.join(" and "),
            remedies.join(", "),
        )
    })
}

fn shared(addr: SocketAddr, others: &[SocketAddr]) -> Option<String> {
    (addr.port() != 0 && others.contains(&addr))
        .then(|| format!("{addr} is already the address of another door"))
}
