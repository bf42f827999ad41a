//! The rules between settings: above all, which doors may be open to other machines.

use std::net::SocketAddr;

use http::HeaderValue;

use super::{
    Config, Credential, Grpc, Problem, Secret, Webhook, WebhookTls, effective::Effective,
    is_loopback,
};

/// Everything that is wrong with a configuration whose single values are good.
pub(super) fn rules(config: &Config, effective: &Effective) -> Vec<Problem> {
    let Config {
        webhook,
        grpc,
        admin,
        ..
    } = config;
    let doors = [
        ("webhook.addr", open_webhook(webhook)),
        ("grpc.addr", open_grpc(grpc, config.tokens.is_empty())),
        ("grpc.addr", shared(grpc.addr, &[webhook.addr])),
        ("admin.addr", shared(admin.addr, &[webhook.addr, grpc.addr])),
    ];
    let secret = [(
        effective.higher("webhook.secret", "webhook.secret_file"),
        path_segment(webhook),
    )];
    doors
        .into_iter()
        .chain(secret)
        .filter_map(|(key, finding)| Some((key, finding?)))
        .chain(credentials(webhook, effective))
        .map(|(key, finding)| effective.problem(key, finding))
        .collect()
}

/// Off loopback the webhook's door needs TLS and credentials, or to be called open by name.
fn open_webhook(webhook: &Webhook) -> Option<String> {
    let tls = match webhook.tls {
        WebhookTls::Files(_) => None,
        WebhookTls::SelfMade => Some((
            "no TLS that others can trust (the self-made certificate does not count)",
            "give --webhook-tls-cert and --webhook-tls-key",
        )),
        WebhookTls::PlainHttp => Some((
            "no TLS (--webhook-plain-http)",
            "let the proxy that ends TLS run on this machine and listen on 127.0.0.1",
        )),
    };
    let without_credentials = webhook.secret.is_none() && webhook.credentials.is_empty();
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

/// The same for the subscribers' door.
fn open_grpc(grpc: &Grpc, without_tokens: bool) -> Option<String> {
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

/// What a door lacks, each with its remedy, told unless nobody else can reach it.
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
            "{addr} can be reached from other machines, and the {door} door has {}; {}, or say --allow-insecure-{door}",
            lacks.join(" and "),
            remedies.join(", "),
        )
    })
}

fn shared(addr: SocketAddr, others: &[SocketAddr]) -> Option<String> {
    (addr.port() != 0 && others.contains(&addr))
        .then(|| format!("{addr} is the address of another door already"))
}

fn path_segment(webhook: &Webhook) -> Option<String> {
    let secret = webhook.secret.as_ref()?.expose();
    let url_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (!secret.bytes().all(url_safe) || secret.bytes().all(|byte| byte == b'.'))
        .then(|| "the secret is a part of the URL: use letters, digits and - . _ ~ only".to_owned())
}

/// What callers could never show, whatever they do.
fn credentials(webhook: &Webhook, effective: &Effective) -> Vec<(&'static str, String)> {
    let judge = |credential: &Credential| match credential {
        Credential::Header { value, .. } => Some((
            effective.higher("webhook.header.value", "webhook.header.value_file"),
            not_sendable(value)?,
        )),
        Credential::Basic { username, .. } => username.contains(':').then(|| {
            (
                "webhook.basic.username",
                "a user name in HTTP basic authentication has no colon".to_owned(),
            )
        }),
        Credential::Bearer { token } => Some((
            effective.higher("webhook.bearer.token", "webhook.bearer.token_file"),
            not_sendable(token)?,
        )),
    };
    webhook.credentials.iter().filter_map(judge).collect()
}

fn not_sendable(secret: &Secret) -> Option<String> {
    let secret = secret.expose();
    let sendable = HeaderValue::from_str(secret).is_ok() && secret.trim() == secret;
    (!sendable).then(|| {
        "the secret cannot be sent in a header: no control characters, no space at its ends"
            .to_owned()
    })
}
