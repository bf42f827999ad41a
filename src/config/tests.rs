mod doors;
mod errors;

use std::{ffi::OsString, fs, num::NonZeroU32, path::PathBuf, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::webhook::{Credential, Secret};

/// A command line, an environment and a file, in a folder of their own.
struct Given {
    folder: TempDir,
    layers: Layers,
    environment: Vec<(OsString, OsString)>,
}

/// The defaults, with a comment on each setting.
const DEFAULT_FILE: &str = include_str!("../../config.default.toml");

fn given() -> Given {
    Given {
        folder: TempDir::new().unwrap(),
        layers: Layers::default(),
        environment: Vec::new(),
    }
}

impl Given {
    fn flag(mut self, key: &'static str, text: &str) -> Self {
        self.layers.flags.push((key, self.filled(text)));
        self
    }

    fn flags(self, flags: &[(&'static str, &str)]) -> Self {
        flags
            .iter()
            .fold(self, |given, (key, text)| given.flag(key, text))
    }

    fn variable(mut self, name: &str, text: &str) -> Self {
        self.environment
            .push((name.into(), self.filled(text).into()));
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        fs::write(self.path(name), self.filled(content)).unwrap();
        self
    }

    fn config(self, content: &str) -> Self {
        self.file("gateway.toml", content)
            .flag("config", "DIR/gateway.toml")
    }

    fn load(&mut self) -> Result<Loaded, Invalid> {
        let mut layers = std::mem::take(&mut self.layers);
        layers.environment = Environment::from_iter(std::mem::take(&mut self.environment));
        load(layers)
    }

    #[track_caller]
    fn good(mut self) -> Loaded {
        self.load().unwrap_or_else(|invalid| panic!("{invalid}"))
    }

    /// The errors, with the folder's name taken out.
    #[track_caller]
    fn errors(mut self) -> Vec<String> {
        let invalid = self
            .load()
            .expect_err("the configuration has to be refused");
        let folder = format!("{}/", self.folder.path().display());
        let lines = invalid.0.iter().map(ToString::to_string);
        lines.map(|line| line.replace(&folder, "")).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn filled(&self, text: &str) -> String {
        text.replace("DIR", &self.folder.path().display().to_string())
    }
}

#[test]
fn without_any_configuration_the_gateway_is_for_this_machine() {
    let config = given().good().config;
    assert_eq!(config.log.data_dir, PathBuf::from("./verbex-gateway-data"));
    assert_eq!(config.webhook.addr.to_string(), "127.0.0.1:8443");
    assert_eq!(config.webhook.tls, WebhookTls::SelfMade);
    assert_eq!(config.webhook.service.requests_in_flight_max, 1_024);
    assert_eq!(config.webhook.service.body_bytes_max, 1_048_576);
    assert_eq!(config.webhook.service.body_timeout, Duration::from_secs(10));
    assert_eq!(config.grpc.addr.to_string(), "127.0.0.1:50051");
    assert_eq!(config.grpc.fanout.subscribers_max, 20_000);
    assert_eq!(config.grpc.fanout.queue_bytes_max, 1_048_576);
    assert_eq!(config.admin.addr.to_string(), "127.0.0.1:9464");
    assert_eq!(config.tls_handshake, Duration::from_secs(10));
    assert_eq!(config.drain, Duration::from_secs(10));
}

#[test]
fn the_default_file_says_the_defaults() {
    let from_file = given().config(DEFAULT_FILE).good();
    let from_nothing = given().good();
    assert_eq!(from_file.config, from_nothing.config);
    // The file sets every setting that has a default.
    let missing: Vec<_> = from_file
        .effective
        .keys()
        .filter(|key| {
            from_file.effective.value(key).is_some() && from_file.effective.layer(key) == 0
        })
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn the_default_file_names_every_setting() {
    // A setting without a default is in the file as a comment. Unlike prose, it begins right after
    // the `#`.
    let is_example = |line: &&str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
    };
    let examples = DEFAULT_FILE.lines().filter(is_example).count();
    assert!(examples > 10);
    let uncommented: Vec<&str> = DEFAULT_FILE
        .lines()
        .map(|line| if is_example(&line) { &line[1..] } else { line })
        .collect();
    let mut file = file::ConfigFile::parse("default".as_ref(), &uncommented.join("\n")).unwrap();
    let known = given().good().effective;
    for key in known.keys() {
        assert!(file.settings.take(key).is_some(), "{key} is missing");
    }
    assert_eq!(file.settings.unknown_keys("", &[]), []);

    let mut tokens = file.tokens.remove(0);
    for key in ["name", "hash", "expires", "admin"] {
        assert!(tokens.take(key).is_some(), "tokens.{key} is missing");
    }
    assert_eq!(tokens.unknown_keys("tokens.", &[]), []);
}

#[test]
fn the_readme_has_every_setting_with_its_default() {
    let readme = include_str!("../../README.md");
    let table = readme.split_once("| setting | default |").unwrap().1;
    let shown: Vec<(&str, &str)> = table
        .lines()
        .skip(2)
        .map_while(|line| line.strip_prefix("| `"))
        .map(|row| {
            let (key, rest) = row.split_once("` | ").unwrap();
            (key, rest.split_once(" | ").unwrap().0)
        })
        .collect();
    let defaults = given().good().effective;
    let default_of = |key| match defaults.value(key) {
        Some(value) => format!("`{value}`"),
        None => "–".to_owned(),
    };
    for (key, default) in &shown {
        assert_eq!(*default, default_of(key), "{key}");
    }
    let mut shown: Vec<&str> = shown.into_iter().map(|(key, _)| key).collect();
    let mut known: Vec<&str> = defaults.keys().collect();
    shown.sort_unstable();
    known.sort_unstable();
    assert_eq!(shown, known);
}

#[test]
fn flags_count_over_environment_over_file_over_defaults() {
    let check = |flag: Option<&str>, variable: Option<&str>, file: Option<&str>, expected: &str| {
        let mut given = given();
        if let Some(text) = file {
            given = given.config(&format!("[grpc]\naddr = \"{text}\"\n"));
        }
        if let Some(text) = variable {
            given = given.variable("VERBEX_GATEWAY_GRPC_ADDR", text);
        }
        if let Some(text) = flag {
            given = given.flag("grpc.addr", text);
        }
        assert_eq!(given.good().config.grpc.addr.to_string(), expected);
    };
    let (flag, variable, file) = ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3");
    check(None, None, None, "127.0.0.1:50051");
    check(None, None, Some(file), file);
    check(None, Some(variable), Some(file), variable);
    check(None, Some(variable), None, variable);
    check(Some(flag), None, Some(file), flag);
    check(Some(flag), Some(variable), Some(file), flag);
}

#[test]
fn every_setting_can_stand_in_the_environment() {
    let config = given()
        .file("gateway.toml", "drain_seconds = 3\n")
        .file("password", "a:b\r\n")
        .variable("VERBEX_GATEWAY_CONFIG", "DIR/gateway.toml")
        .variable("VERBEX_GATEWAY_ORGANIZATION", "org")
        .variable("VERBEX_GATEWAY_WEBHOOK_PLAIN_HTTP", "true")
        .variable("VERBEX_GATEWAY_WEBHOOK_BASIC_USERNAME", "verbex")
        .variable("VERBEX_GATEWAY_WEBHOOK_BASIC_PASSWORD_FILE", "DIR/password")
        .variable(
            "VERBEX_GATEWAY_WEBHOOK_ADDRESSES_ALLOWED",
            "203.0.113.7, 2001:db8::/32",
        )
        .variable(
            "VERBEX_GATEWAY_WEBHOOK_CLIENT_REQUESTS_PER_SECOND_MAX",
            "50",
        )
        .variable(
            "VERBEX_GATEWAY_GRPC_CORS_ALLOWED_ORIGINS",
            "https://Calls.example.com,http://localhost:3000",
        )
        .variable("RUST_LOG", "debug")
        .good()
        .config;
    assert_eq!(config.drain, Duration::from_secs(3));
    assert_eq!(config.organization.as_deref(), Some("org"));
    assert_eq!(config.webhook.tls, WebhookTls::PlainHttp);
    assert_eq!(
        config.webhook.service.credentials,
        [Credential::basic("verbex", "a:b")]
    );
    let networks: Vec<_> = config
        .webhook
        .service
        .addresses_allowed
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["203.0.113.7/32", "2001:db8::/32"]);
    assert_eq!(
        config.webhook.service.client_requests_per_second_max,
        NonZeroU32::new(50)
    );
    assert_eq!(
        config.grpc.cors_allowed_origins,
        ["https://calls.example.com", "http://localhost:3000"]
    );
    assert_eq!(config.logging.level, "debug");
}

#[test]
fn variables_that_are_no_settings_are_told_and_those_of_kubernetes_are_not() {
    let loaded = given()
        .variable("VERBEX_GATEWAY_GRPC_ADR", "127.0.0.1:1")
        .variable("VERBEX_GATEWAY_GRPC_PORT", "50051")
        .variable("VERBEX_GATEWAY_SERVICE_HOST", "10.0.0.1")
        .variable("VERBEX_GATEWAY_PORT_50051_TCP", "tcp://10.0.0.1:50051")
        .variable("HOME", "/")
        .good();
    let unknown = ["VERBEX_GATEWAY_GRPC_ADR", "VERBEX_GATEWAY_GRPC_PORT"];
    assert_eq!(loaded.unknown_variables, unknown);
}

#[test]
fn made_up_calls_are_kept_apart_from_real_ones() {
    let check = |given: Given, expected: &str| {
        let mut given = given;
        given.layers.demo = true;
        assert_eq!(given.good().config.log.data_dir, PathBuf::from(expected));
    };
    check(given(), "./verbex-gateway-demo");
    check(
        given().flag("data_dir", "/var/calls"),
        "/var/calls/verbex-gateway-demo",
    );
    check(
        given().config("data_dir = \"/var/calls\""),
        "/var/calls/verbex-gateway-demo",
    );
}

#[test]
fn a_secret_counts_from_the_higher_layer_written_or_in_a_file() {
    let secret = |given: Given| given.good().config.webhook.service.path_secret;
    let file = || {
        given()
            .file("secret", "from-file\n")
            .config("[webhook]\nsecret = \"written\"\n")
    };
    assert_eq!(secret(file()), Some(Secret::new("written")));
    assert_eq!(
        secret(file().flag("webhook.secret_file", "DIR/secret")),
        Some(Secret::new("from-file"))
    );
    let file = given()
        .file("secret", "from-file")
        .config("[webhook]\nsecret_file = \"DIR/secret\"\n");
    assert_eq!(
        secret(file.variable("VERBEX_GATEWAY_WEBHOOK_SECRET", "from-variable")),
        Some(Secret::new("from-variable"))
    );
}

#[test]
fn only_the_secret_that_counts_has_to_be_one_that_can_be_sent() {
    let secret = |given: Given| given.good().config.webhook.service.path_secret;
    let written = || given().config("[webhook]\nsecret = \"a b\"\n");
    assert_eq!(
        secret(written().variable("VERBEX_GATEWAY_WEBHOOK_SECRET", "good")),
        Some(Secret::new("good"))
    );
    let in_file = written().file("secret", "from-file");
    assert_eq!(
        secret(in_file.variable("VERBEX_GATEWAY_WEBHOOK_SECRET_FILE", "DIR/secret")),
        Some(Secret::new("from-file"))
    );
    let covered = given()
        .config("[webhook.basic]\nusername = \"a:b\"\npassword = \"c\"\n")
        .variable("VERBEX_GATEWAY_WEBHOOK_BASIC_USERNAME", "verbex");
    assert_eq!(
        covered.good().config.webhook.service.credentials,
        [Credential::basic("verbex", "c")]
    );
}

#[test]
fn no_secret_is_ever_printed() {
    let mut given = given().config(
        "[webhook]\nsecret = \"sesame1\"\n[webhook.header]\nname = \"x-key\"\nvalue = \"sesame2\"\n\
             [webhook.basic]\nusername = \"verbex\"\npassword = \"sesame3\"\n",
    );
    let loaded = given.load().unwrap();
    for shown in [loaded.effective.to_string(), format!("{loaded:?}")] {
        assert!(!shown.contains("sesame"), "{shown}");
        assert!(shown.contains("***"), "{shown}");
    }
}

#[test]
fn a_bad_secret_is_not_repeated_in_its_error() {
    let errors = self::given().flag("webhook.secret", "open sesame").errors();
    assert!(
        errors[0].starts_with("--webhook-secret: ") && !errors[0].contains("sesame"),
        "{errors:?}"
    );
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let hash = "0".repeat(64);
    let first = given()
        .config(&format!(
            "organization = \"a \\\"b\\\"\"\n[webhook]\nclient_requests_per_second_max = 7\n\
             addresses_allowed = [\"10.0.0.0/8\"]\n\
             [grpc]\ncors_allowed_origins = [\"https://a.example\"]\n\
             [[tokens]]\nname = \"crm\"\nhash = \"{hash}\"\n\
             expires = 2027-01-31T00:00:00+01:00\nadmin = true\n"
        ))
        .good();
    let tokens: String = first.config.tokens.iter().map(token_entry).collect();
    let second = given()
        .config(&format!("{}\n{tokens}", first.effective))
        .good();
    assert_eq!(second.config, first.config);
}

#[test]
fn what_is_printed_says_where_each_value_came_from() {
    let printed = given()
        .config("drain_seconds = 3\n")
        .variable("VERBEX_GATEWAY_ADMIN_ADDR", "127.0.0.1:0")
        .flag("grpc.addr", "127.0.0.1:0")
        .good()
        .effective
        .to_string();
    for line in [
        "drain_seconds = 3  # ",
        "[admin]\naddr = \"127.0.0.1:0\"  # VERBEX_GATEWAY_ADMIN_ADDR\n",
        "[grpc]\naddr = \"127.0.0.1:0\"  # --grpc-addr\n",
        "data_dir = \"./verbex-gateway-data\"\n",
    ] {
        assert!(printed.contains(line), "{line} in {printed}");
    }
}
