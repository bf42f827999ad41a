//! Makes the tree, setting by setting, in the order of `config.default.toml`: each with its name
//! and its bounds. A room that has the setting also has its default.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use http::HeaderValue;

use super::{
    check,
    effective::Effective,
    environment::Environment,
    file::ConfigFile,
    problem::{Invalid, Problem},
    reader::Reader,
    setting::{LogLevel, OrganizationId},
    tree::{AdminDoor, Config, GrpcDoor, LogFormat, Logging, TlsFiles, WebhookDoor, WebhookTls},
};
use crate::{
    fanout, log, server,
    webhook::{self, Credential},
};

/// The name of the flag and the variable that give the file's path.
const FILE: &str = "config";
/// The data folder for made-up calls.
const DEMO_FOLDER: &str = "verbex-gateway-demo";
/// The largest count of any kind. It only catches a number with too many zeroes.
const COUNT_MAX: usize = 1_000_000;
const SECONDS_MAX: u64 = 3_600;
const QUEUE_BYTES_MAX: usize = 1 << 30;
/// More than any disk has.
const LOG_BYTES_MAX: u64 = 1 << 60;

/// The layers besides the file.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    /// The flags of the command line: names of settings (`webhook.addr`) and their texts.
    pub flags: Vec<(&'static str, String)>,
    /// Whether the gateway makes up calls.
    pub demo: bool,
    pub environment: Environment,
}

/// A configuration that satisfies all rules.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub config: Config,
    /// Each setting with its value and where that comes from, for printing.
    pub effective: Effective,
    /// Variables that look like settings but are not. They are no error, because other programs use
    /// the environment, too.
    pub unknown_variables: Vec<String>,
}

/// Reads all layers and checks them together.
///
/// # Errors
/// If the file cannot be read, a value is bad, a key is unknown or a rule is broken. If the file
/// can be read, the error has all problems at once.
pub(crate) fn load(layers: Layers) -> Result<Loaded, Invalid> {
    load_by(layers, check::rules)
}

/// The same for a command that opens no doors: it follows no rules between settings, since all of
/// them are about doors.
///
/// # Errors
/// The same as for [`load`].
pub(crate) fn load_without_doors(layers: Layers) -> Result<Loaded, Invalid> {
    load_by(layers, |_, _| Vec::new())
}

fn load_by(
    layers: Layers,
    rules: impl FnOnce(&Config, &Effective) -> Vec<Problem>,
) -> Result<Loaded, Invalid> {
    let mut reader = Reader::new(layers.flags, layers.environment);
    if let Some(path) = reader.path_of_file(FILE) {
        reader.file = ConfigFile::read(&path).map_err(|problem| Invalid(vec![problem]))?;
    }
    let config = config(&mut reader, layers.demo);
    let (effective, unknown_variables) = reader.finish(|effective| rules(&config, effective))?;
    Ok(Loaded {
        config,
        effective,
        unknown_variables,
    })
}

fn config(read: &mut Reader, demo: bool) -> Config {
    Config {
        log: log(read, demo),
        organization: read.optional("organization").map(|OrganizationId(id)| id),
        demo,
        drain: seconds(read, "drain_seconds", Duration::from_secs(10), 0),
        webhook: webhook(read),
        tls_handshake: tls_handshake(read),
        grpc: grpc(read),
        admin: AdminDoor {
            addr: read.value("admin.addr", ([127, 0, 0, 1], 9464).into()),
        },
        logging: Logging {
            format: read.value("logging.format", LogFormat::Text),
            level: read.value("logging.level", LogLevel("info".into())).0,
        },
        tokens: read.tokens(),
    }
}

fn tls_handshake(read: &mut Reader) -> Duration {
    let default = server::Config::default().opening_timeout;
    seconds(read, "tls.handshake_seconds", default, 1)
}

fn log(read: &mut Reader, demo: bool) -> log::Config {
    log::Config {
        data_dir: data_dir(read, demo),
        // Only flags of `serve` set it, for one start.
        consent: log::Consent::default(),
        limits: limits(read),
    }
}

fn limits(read: &mut Reader) -> log::Limits {
    let default = log::Limits::default();
    log::Limits {
        age: read.value("log.retention_age", default.age),
        bytes: read.optional_number("log.retention_bytes", log::BYTES_MIN..=LOG_BYTES_MAX),
        disk_free_bytes_min: read.number(
            "log.disk_free_bytes_min",
            default.disk_free_bytes_min,
            0..=LOG_BYTES_MAX,
        ),
    }
}

/// Made-up calls have a data folder of their own, so that they never mix with real ones.
fn data_dir(read: &mut Reader, demo: bool) -> PathBuf {
    if demo {
        let folder: PathBuf = read.value("data_dir", ".".into());
        read.replace("data_dir", folder.join(DEMO_FOLDER))
    } else {
        read.value("data_dir", "./verbex-gateway-data".into())
    }
}

fn webhook(read: &mut Reader) -> WebhookDoor {
    WebhookDoor {
        open_allowed: read.value("allow_insecure_webhook", false),
        addr: read.value("webhook.addr", ([127, 0, 0, 1], 8443).into()),
        tls: webhook_tls(read),
        service: webhook_service(read),
    }
}

fn webhook_tls(read: &mut Reader) -> WebhookTls {
    let plain_http = read.value("webhook.plain_http", false);
    match tls_files(read, "webhook.tls_cert", "webhook.tls_key") {
        Some(_) if plain_http => {
            read.refuse(
                "webhook.plain_http",
                "a door with a certificate (webhook.tls_cert, webhook.tls_key) cannot speak plain \
                 HTTP; leave one of them out",
            );
            WebhookTls::PlainHttp
        }
        Some(files) => WebhookTls::Files(files),
        None if plain_http => WebhookTls::PlainHttp,
        None => WebhookTls::SelfMade,
    }
}

fn tls_files(read: &mut Reader, cert_key: &'static str, key_key: &'static str) -> Option<TlsFiles> {
    let cert = read.readable_file(cert_key);
    let key = read.readable_file(key_key);
    let (cert, key) = read.both((cert_key, cert), (key_key, key))?;
    Some(TlsFiles { cert, key })
}

fn webhook_service(read: &mut Reader) -> webhook::Config {
    let default = webhook::Config::default();
    webhook::Config {
        path_secret: read.secret("webhook.secret", "webhook.secret_file", no_segment),
        addresses_allowed: read.value("webhook.addresses_allowed", default.addresses_allowed),
        requests_in_flight_max: read.number(
            "webhook.requests_in_flight_max",
            default.requests_in_flight_max,
            1..=COUNT_MAX,
        ),
        client_requests_per_second_max: read
            .optional_number(
                "webhook.client_requests_per_second_max",
                1..=COUNT_MAX as u32,
            )
            .and_then(NonZeroU32::new),
        body_bytes_max: read.number(
            "webhook.body_bytes_max",
            default.body_bytes_max,
            1..=webhook::BODY_BYTES_LIMIT,
        ),
        body_timeout: seconds(
            read,
            "webhook.body_timeout_seconds",
            default.body_timeout,
            1,
        ),
        credentials: credentials(read),
    }
}

fn credentials(read: &mut Reader) -> Vec<Credential> {
    let name = read.optional("webhook.header.name");
    let value = read.secret(
        "webhook.header.value",
        "webhook.header.value_file",
        not_sendable,
    );
    let header = read
        .both(
            ("webhook.header.name", name),
            ("webhook.header.value", value),
        )
        .map(|(name, value)| Credential::Header { name, value });

    let username: Option<String> = read.optional("webhook.basic.username");
    if username.as_ref().is_some_and(|user| user.contains(':')) {
        let message = "a user name in HTTP basic authentication has no colon";
        read.refuse("webhook.basic.username", message);
    }
    let password = read.secret(
        "webhook.basic.password",
        "webhook.basic.password_file",
        |_| None,
    );
    let basic = read
        .both(
            ("webhook.basic.username", username),
            ("webhook.basic.password", password),
        )
        .map(|(user, password)| Credential::basic(&user, password.expose()));

    let bearer = read
        .secret(
            "webhook.bearer.token",
            "webhook.bearer.token_file",
            not_sendable,
        )
        .map(|token| Credential::Bearer { token });

    [header, basic, bearer].into_iter().flatten().collect()
}

/// Why a secret cannot be the last segment of the webhook's path; none if it can.
fn no_segment(secret: &str) -> Option<&'static str> {
    let url_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (!secret.bytes().all(url_safe) || secret.bytes().all(|byte| byte == b'.'))
        .then_some("the secret is a part of the URL: use letters, digits and - . _ ~ only")
}

/// Why a secret cannot be the value of a header; none if it can.
fn not_sendable(secret: &str) -> Option<&'static str> {
    let sendable = HeaderValue::from_str(secret).is_ok() && secret.trim() == secret;
    (!sendable).then_some(
        "the secret cannot be sent in a header: no control characters, no space at its ends",
    )
}

fn grpc(read: &mut Reader) -> GrpcDoor {
    GrpcDoor {
        open_allowed: read.value("allow_insecure_grpc", false),
        addr: read.value("grpc.addr", ([127, 0, 0, 1], 50051).into()),
        tls: tls_files(read, "grpc.tls_cert", "grpc.tls_key"),
        fanout: fanout(read),
        compression: read.value("grpc.compression", Vec::new()),
        cors_allowed_origins: read.value("grpc.cors_allowed_origins", Vec::new()),
    }
}

fn fanout(read: &mut Reader) -> fanout::Config {
    let default = fanout::Config::default();
    fanout::Config {
        subscribers_max: read.number(
            "grpc.subscribers_max",
            default.subscribers_max,
            1..=COUNT_MAX,
        ),
        queue_bytes_max: read.number(
            "grpc.subscriber_queue_bytes_max",
            default.queue_bytes_max,
            fanout::QUEUE_BYTES_MIN..=QUEUE_BYTES_MAX,
        ),
        queues_bytes_max: default.queues_bytes_max,
    }
}

fn seconds(read: &mut Reader, key: &'static str, default: Duration, least: u64) -> Duration {
    Duration::from_secs(read.number(key, default.as_secs(), least..=SECONDS_MAX))
}
