//! The tree, setting by setting, in the order of `config.default.toml`: each with its name, its
//! default and its bounds.

use std::{path::PathBuf, time::Duration};

use super::{
    Admin, BODY_BYTES_LIMIT, Config, Credential, Effective, Grpc, Invalid, LogFormat, Logging,
    QUEUE_BYTES_LEAST, TlsFiles, Webhook, WebhookTls, check,
    file::File,
    reader::Reader,
    setting::{LogLevel, OrganizationId},
};

pub(crate) use super::{
    environment::Environment,
    names::{nearest, renamed_flags, variable_of},
};

#[cfg(test)]
pub(crate) use super::names::flag_of;

/// Names the file to read, as a flag or a variable.
const FILE: &str = "config";
/// Where made-up calls are kept.
const DEMO_FOLDER: &str = "verbex-gateway-demo";
/// A bound where none is needed but to catch a number with too many zeroes.
const COUNT_MAX: u32 = 1_000_000;
const SECONDS_MAX: u32 = 3_600;
const QUEUE_BYTES_MAX: u32 = 1 << 30;

/// What to read beside the file.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    /// What was said on the command line: names of settings (`webhook.addr`) and their texts.
    pub flags: Vec<(&'static str, String)>,
    /// Whether calls will be made up.
    pub demo: bool,
    /// The variables.
    pub environment: Environment,
}

/// A configuration that keeps all rules.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Each setting with where it came from, to be shown.
    pub effective: Effective,
    /// Variables that look like settings and are none. No error: the environment belongs to others
    /// too.
    pub unknown_variables: Vec<String>,
}

/// Reads all layers and checks what they mean together.
///
/// # Errors
/// If the file cannot be read, a value is bad, a key is unknown or a rule is broken; all that is
/// wrong is told at once.
pub(crate) fn load(layers: Layers) -> Result<Loaded, Invalid> {
    let mut reader = Reader::new(layers.flags, layers.environment);
    if let Some(path) = reader.path_of_file(FILE) {
        reader.file = File::read(&path).map_err(|problem| Invalid(vec![problem]))?;
    }
    let config = config(&mut reader, layers.demo);
    let (effective, unknown_variables) =
        reader.finish(|effective| check::rules(&config, effective))?;
    Ok(Loaded {
        config,
        effective,
        unknown_variables,
    })
}

fn config(read: &mut Reader, demo: bool) -> Config {
    Config {
        data_dir: data_dir(read, demo),
        organization: read.optional("organization").map(|OrganizationId(id)| id),
        demo,
        new_log: false,
        drain: seconds(read, "drain_seconds", 10, 0),
        webhook: webhook(read),
        tls_handshake: seconds(read, "tls.handshake_seconds", 10, 1),
        grpc: grpc(read),
        admin: Admin {
            addr: read.value("admin.addr", ([127, 0, 0, 1], 9464).into()),
        },
        logging: Logging {
            format: read.value("logging.format", LogFormat::Text),
            level: read.value("logging.level", LogLevel("info".into())).0,
        },
        tokens: read.tokens(),
    }
}

/// Made-up calls never come among real ones, whichever folder is named.
fn data_dir(read: &mut Reader, demo: bool) -> PathBuf {
    if demo {
        let folder: PathBuf = read.value("data_dir", ".".into());
        read.replace("data_dir", folder.join(DEMO_FOLDER))
    } else {
        read.value("data_dir", "./verbex-gateway-data".into())
    }
}

fn webhook(read: &mut Reader) -> Webhook {
    Webhook {
        open_allowed: read.value("allow_insecure_webhook", false),
        addr: read.value("webhook.addr", ([127, 0, 0, 1], 8443).into()),
        tls: webhook_tls(read),
        secret: read.secret("webhook.secret", "webhook.secret_file"),
        addresses_allowed: read.value("webhook.addresses_allowed", Vec::new()),
        requests_in_flight_max: read.number("webhook.requests_in_flight_max", 1_024, 1..=COUNT_MAX)
            as usize,
        client_requests_per_second_max: read
            .optional_number("webhook.client_requests_per_second_max", 1..=COUNT_MAX),
        body_bytes_max: read.number("webhook.body_bytes_max", 1 << 20, 1..=BODY_BYTES_LIMIT)
            as usize,
        body_timeout: seconds(read, "webhook.body_timeout_seconds", 10, 1),
        credentials: credentials(read),
    }
}

fn webhook_tls(read: &mut Reader) -> WebhookTls {
    let plain_http = read.value("webhook.plain_http", false);
    match tls_files(read, "webhook.tls_cert", "webhook.tls_key") {
        Some(_) if plain_http => {
            read.refuse(
                "webhook.plain_http",
                "a door with a certificate (webhook.tls_cert, webhook.tls_key) cannot speak plain HTTP; leave one of them out",
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

fn credentials(read: &mut Reader) -> Vec<Credential> {
    let name = read.optional("webhook.header.name");
    let value = read.secret("webhook.header.value", "webhook.header.value_file");
    let header = read
        .both(
            ("webhook.header.name", name),
            ("webhook.header.value", value),
        )
        .map(|(name, value)| Credential::Header { name, value });

    let username = read.optional("webhook.basic.username");
    let password = read.secret("webhook.basic.password", "webhook.basic.password_file");
    let basic = read
        .both(
            ("webhook.basic.username", username),
            ("webhook.basic.password", password),
        )
        .map(|(username, password)| Credential::Basic { username, password });

    let bearer = read
        .secret("webhook.bearer.token", "webhook.bearer.token_file")
        .map(|token| Credential::Bearer { token });

    [header, basic, bearer].into_iter().flatten().collect()
}

fn grpc(read: &mut Reader) -> Grpc {
    Grpc {
        open_allowed: read.value("allow_insecure_grpc", false),
        addr: read.value("grpc.addr", ([127, 0, 0, 1], 50051).into()),
        tls: tls_files(read, "grpc.tls_cert", "grpc.tls_key"),
        subscribers_max: read.number("grpc.subscribers_max", 20_000, 1..=COUNT_MAX) as usize,
        subscriber_queue_bytes_max: read.number(
            "grpc.subscriber_queue_bytes_max",
            1 << 20,
            QUEUE_BYTES_LEAST..=QUEUE_BYTES_MAX,
        ) as usize,
        compression: read.value("grpc.compression", Vec::new()),
        cors_allowed_origins: read.value("grpc.cors_allowed_origins", Vec::new()),
    }
}

fn seconds(read: &mut Reader, key: &'static str, default: u32, least: u32) -> Duration {
    Duration::from_secs(read.number(key, default, least..=SECONDS_MAX).into())
}
