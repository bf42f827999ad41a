//! The rules between settings: above all, which doors may be open to other machines.

use std::net::SocketAddr;

use http::{HeaderName, HeaderValue, header::AUTHORIZATION};

use super::{
    Config, Credential, Grpc, Problem, Webhook, WebhookTls, effective::Effective, is_loopback,
};

/// Everything that is wrong with a configuration whose single values are good.
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
        (secret_key(effective), path_segment(webhook)),
        ("webhook.basic.username", username(webhook)),
        ("webhook.header.value", header_value(webhook)),
        ("webhook.bearer.token", bearer_token(webhook)),
        ("webhook.bearer.token", one_authorization(webhook)),
    ];
    findings
        .into_iter()
        .filter_map(|(key, finding)| Some(effective.problem(key, finding?)))
        .collect()
}

/// Off loopback the webhook's door needs TLS and credentials, or to be called open by name.
fn open_webhook(webhook: &Webhook) -> Option<String> {
    let tls = match webhook.tls {
        WebhookTls::Files(_) => None,
        WebhookTls::SelfMade => Some((
            "no TLS that others can trust (the self-made certificate does not count)",
            "give --tls-cert and --tls-key",
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

/// The key that the secret path came by.
fn secret_key(effective: &Effective) -> &'static str {
    if effective.layer("webhook.secret") >= effective.layer("webhook.secret_file") {
        "webhook.secret"
    } else {
        "webhook.secret_file"
    }
}

fn path_segment(webhook: &Webhook) -> Option<String> {
    let secret = webhook.secret.as_ref()?.expose();
    let url_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (!secret.bytes().all(url_safe) || secret.bytes().all(|byte| byte == b'.'))
        .then(|| "the secret is a part of the URL: use letters, digits and - . _ ~ only".to_owned())
}

fn username(webhook: &Webhook) -> Option<String> {
    webhook
        .credentials
        .iter()
        .find_map(|credential| match credential {
            Credential::Basic { username, .. } if username.contains(':') => {
                Some("a user name in HTTP basic authentication has no colon".to_owned())
            }
            _ => None,
        })
}

fn header_value(webhook: &Webhook) -> Option<String> {
    webhook
        .credentials
        .iter()
        .find_map(|credential| match credential {
            Credential::Header { value, .. } => not_sendable(value.expose()),
            _ => None,
        })
}

fn bearer_token(webhook: &Webhook) -> Option<String> {
    webhook
        .credentials
        .iter()
        .find_map(|credential| match credential {
            Credential::Bearer { token } => not_sendable(token.expose()),
            _ => None,
        })
}

fn not_sendable(secret: &str) -> Option<String> {
    let sendable = HeaderValue::from_str(secret).is_ok() && secret.trim() == secret;
    (!sendable).then(|| {
        "the secret cannot be sent in a header: no control characters, no space at its ends"
            .to_owned()
    })
}

/// A request has one `Authorization`, so no caller could show two that go there.
fn one_authorization(webhook: &Webhook) -> Option<String> {
    let header_of = |credential: &Credential| -> HeaderName {
        match credential {
            Credential::Header { name, .. } => name.clone(),
            Credential::Basic { .. } | Credential::Bearer { .. } => AUTHORIZATION,
        }
    };
    let uses = webhook.credentials.iter().map(header_of);
    (uses.filter(|header| header == AUTHORIZATION).count() > 1).then(|| {
        "webhook.header, webhook.basic and webhook.bearer would all have to stand in one Authorization header; keep one of them".to_owned()
    })
}
