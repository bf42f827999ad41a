//! What is wrong is said with its place and its name.

use super::given;

#[test]
fn an_error_in_the_file_names_file_line_column_and_key() {
    let check = |content: &str, expected: &str| {
        let errors = given().config(content).errors();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(
            errors[0].starts_with(expected),
            "{} is not {expected}…",
            errors[0]
        );
    };
    check(
        "\nwebhook.adr = 1\n",
        "gateway.toml:2:9: webhook.adr: unknown key; known here: addr, ",
    );
    check(
        "\"webhook.addr\" = \"127.0.0.1:0\"\n",
        "gateway.toml:1:1: \"webhook.addr\": unknown key",
    );
    check(
        "data = \"x\"\n",
        "gateway.toml:1:1: data: unknown key; known here: data_dir, ",
    );
    check("[nonsense]\n", "gateway.toml:1:2: nonsense: unknown key");
    check(
        "[nonsense]\na = 1\n",
        "gateway.toml:2:1: nonsense.a: unknown key",
    );
    check(
        "[webhok]\naddr = 1\n",
        "gateway.toml:2:1: webhok.addr: unknown key; did you mean webhook.addr?",
    );
    check(
        "webhook = 1\n",
        "gateway.toml:1:1: webhook: expected a table",
    );
    check(
        "tokens = 1\n",
        "gateway.toml:1:1: tokens: expected [[tokens]] entries",
    );
    check("config = \"x\"\n", "gateway.toml:1:1: config: unknown key");
    check(
        "[webhook]\n  addr = \"localhost:8443\"\n",
        "gateway.toml:2:3: webhook.addr: expected an IP address and a port",
    );
    check(
        "[webhook]\naddr = 8443\n",
        "gateway.toml:2:1: webhook.addr: expected an IP address and a port",
    );
    check(
        "[webhook]\nplain_http = \"yes\"\n",
        "gateway.toml:2:1: webhook.plain_http: expected true or false",
    );
    check(
        "organization = \"\"\n",
        "gateway.toml:1:1: organization: expected an organization id of 1 to 256 bytes",
    );
    for age in ["30", "0s", "1mo", ""] {
        check(
            &format!("[log]\nretention_age = \"{age}\"\n"),
            "gateway.toml:2:1: log.retention_age: expected how long events are kept, such as 30d",
        );
    }
    check(
        "[log]\nretention_bytes = 67108863\n",
        "gateway.toml:2:1: log.retention_bytes: 67108863 is out of bounds: from 67108864 to",
    );
    check(
        "[webhook]\nbody_bytes_max = 1835009\n",
        "gateway.toml:2:1: webhook.body_bytes_max: 1835009 is out of bounds: from 1 to 1835008",
    );
    check(
        "[webhook]\nbody_bytes_max = -1\n",
        "gateway.toml:2:1: webhook.body_bytes_max: expected a whole number",
    );
    check(
        "[grpc]\nsubscriber_queue_bytes_max = 65535\n",
        "gateway.toml:2:1: grpc.subscriber_queue_bytes_max: 65535 is out of bounds: from 65536 to",
    );
    check(
        "[grpc]\ncors_allowed_origins = [\"https://a.example/\"]\n",
        "gateway.toml:2:1: grpc.cors_allowed_origins: expected a list of web origins",
    );
    check(
        "[webhook]\naddresses_allowed = [\"10.0.0.0/33\"]\n",
        "gateway.toml:2:1: webhook.addresses_allowed: expected a list of IP addresses",
    );
    check(
        "[logging]\nlevel = \"loud\"\n",
        "gateway.toml:2:1: logging.level: expected error, warn, info",
    );
    check(
        "[logging]\nformat = \"xml\"\n",
        "gateway.toml:2:1: logging.format: expected text or json",
    );
    check(
        "[webhook]\ntls_cert = \"DIR/none.pem\"\ntls_key = \"DIR/gateway.toml\"\n",
        "gateway.toml:2:1: webhook.tls_cert: none.pem cannot be read: ",
    );
    check(
        "[grpc]\ntls_cert = \"DIR/gateway.toml\"\n",
        "gateway.toml:2:1: grpc.tls_cert: grpc.tls_key is missing: the two must be given together",
    );
    check(
        "[webhook.header]\nname = \"x-key\"\n",
        "gateway.toml:2:1: webhook.header.name: webhook.header.value is missing: the two must be \
         given together",
    );
    check(
        "[webhook]\nsecret = \"a/b\"\n",
        "gateway.toml:2:1: webhook.secret: the secret is a part of the URL",
    );
    check(
        "[webhook]\nsecret = \"a\"\nsecret_file = \"b\"\n",
        "gateway.toml:3:1: webhook.secret_file: webhook.secret is given too",
    );
    check(
        "[webhook]\nsecret = \"a b\"\nsecret_file = \"b\"\n",
        "gateway.toml:3:1: webhook.secret_file: webhook.secret is given too",
    );
    check(
        "[webhook]\nsecret_file = \"DIR/none\"\n",
        "gateway.toml:2:1: webhook.secret_file: none cannot be read: ",
    );
    check(
        "[webhook.basic]\nusername = \"a:b\"\npassword = \"c\"\n",
        "gateway.toml:2:1: webhook.basic.username: a user name in HTTP basic authentication has \
         no colon",
    );
    check(
        "[webhook.basic]\nusername = \"\"\npassword = \"c\"\n",
        "gateway.toml:2:1: webhook.basic.username: expected a text that is not empty",
    );
    check(
        "[webhook.bearer]\ntoken = \"a \"\n",
        "gateway.toml:2:1: webhook.bearer.token: the secret cannot be sent in a header",
    );
    check(
        "[webhook.bearer]\ntoken_file = \"DIR/gateway.toml\"\n",
        "gateway.toml:2:1: webhook.bearer.token_file: the secret cannot be sent in a header",
    );
    check(
        "[admin]\naddr = \"127.0.0.1:8443\"\n",
        "gateway.toml:2:1: admin.addr: 127.0.0.1:8443 is already the address of another door",
    );
    check(
        "[[tokens]]\nname = \"crm\"\nhash = \"00\"\n",
        "gateway.toml:3:1: tokens.hash: expected 64 hex digits",
    );
    check(
        "[[tokens]]\nname = \"crm\"\n",
        "gateway.toml:1:1: tokens.hash: is missing",
    );
    check(
        &format!(
            "[[tokens]]\nname = \"crm\"\nhash = \"{0}\"\nscope = 1\n",
            "0".repeat(64)
        ),
        "gateway.toml:4:1: tokens.scope: unknown key; known here: name, hash, expires, admin",
    );
    check(
        &format!(
            "[[tokens]]\nname = \"a\"\nhash = \"{0}\"\n[[tokens]]\nname = \"b\"\nhash = \"{0}\"\n",
            "0".repeat(64)
        ),
        "gateway.toml:6:1: tokens.hash: ",
    );
}

#[test]
fn an_old_name_is_told_the_new_one_where_it_stands() {
    let check = |content: &str, expected: &[&str]| {
        assert_eq!(given().config(content).errors(), expected, "{content}");
    };
    let format = "log.format: is called logging.format now";
    let level = "log.level: is called logging.level now";
    check(
        "[log]\nformat = \"json\"\n  level = \"debug\"\n",
        &[
            &format!("gateway.toml:2:1: {format}"),
            &format!("gateway.toml:3:3: {level}"),
        ],
    );
    check(
        "log = { level = \"debug\", format = \"json\" }\n",
        &[
            &format!("gateway.toml:1:26: {format}"),
            &format!("gateway.toml:1:9: {level}"),
        ],
    );
    check(
        "log.level = 7\n[logging]\nlevel = \"debug\"\n",
        &[&format!("gateway.toml:1:5: {level}")],
    );
    check(
        "log.colour = true\n",
        &[
            "gateway.toml:1:5: log.colour: unknown key; known here: retention_age, \
             retention_bytes, disk_free_bytes_min",
        ],
    );
    check(
        "tls.cert.x = 1\n",
        &["gateway.toml:1:10: tls.cert.x: tls.cert is called webhook.tls_cert now"],
    );
    check(
        "\"tls.cert\" = \"a\"\n",
        &["gateway.toml:1:1: \"tls.cert\": tls.cert is called webhook.tls_cert now"],
    );
    check(
        "\"log.level\" = \"debug\"\n",
        &["gateway.toml:1:1: \"log.level\": log.level is called logging.level now"],
    );
    // Nothing else is told of: not that the file is not there, nor that a key is missing.
    check(
        "[webhook]\naddr = \"0.0.0.0:0\"\n[tls]\nhandshake_seconds = 3\ncert = \"none.pem\"\n",
        &["gateway.toml:5:1: tls.cert: is called webhook.tls_cert now"],
    );
    check(
        "tls = { key = \"none.pem\" }\n[webhook]\ntls_cert = \"DIR/gateway.toml\"\n",
        &["gateway.toml:1:9: tls.key: is called webhook.tls_key now"],
    );
}

#[test]
fn an_old_variable_is_told_the_new_one_even_beside_it() {
    let errors = given()
        .variable("VERBEX_GATEWAY_TLS_CERT", "none.pem")
        .variable("VERBEX_GATEWAY_LOG_LEVEL", "")
        .variable("VERBEX_GATEWAY_LOGGING_LEVEL", "debug")
        .variable("RUST_LOG", "debug")
        .config("[log]\nformat = \"json\"\n")
        .errors();
    assert_eq!(
        errors,
        [
            "VERBEX_GATEWAY_TLS_CERT: is called VERBEX_GATEWAY_WEBHOOK_TLS_CERT now",
            "gateway.toml:2:1: log.format: is called logging.format now",
            "VERBEX_GATEWAY_LOG_LEVEL: is called VERBEX_GATEWAY_LOGGING_LEVEL now",
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_is_refused_where_it_breaks() {
    let check = |content: &str, expected: &str| {
        let errors = given().config(content).errors();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(
            errors[0].starts_with(expected),
            "{} is not {expected}…",
            errors[0]
        );
    };
    check("[webhook]\naddr = \n", "gateway.toml:2:8: addr: ");
    check("a = 1\na = 2\n", "gateway.toml:2:1: ");
    check("[webhook\n", "gateway.toml:1:");
    let missing = given().flag("config", "DIR/none.toml").errors();
    assert!(
        missing[0].starts_with("none.toml: cannot be read: "),
        "{missing:?}"
    );
}

#[test]
fn an_error_outside_the_file_names_the_flag_or_the_variable() {
    let errors = given()
        .config("drain_seconds = 3601")
        .variable("VERBEX_GATEWAY_GRPC_SUBSCRIBERS_MAX", "many")
        .variable("VERBEX_GATEWAY_ORGANIZATION", "")
        .flag("webhook.addr", "8443")
        .errors();
    // All of them at once, and the file's though nothing else is wrong with it.
    let places: Vec<_> = errors
        .iter()
        .map(|error| error.rsplit_once(": ").unwrap())
        .collect();
    assert_eq!(errors.len(), 4, "{places:?}");
    for place in [
        "gateway.toml:1:1: drain_seconds: ",
        "VERBEX_GATEWAY_GRPC_SUBSCRIBERS_MAX: ",
        "VERBEX_GATEWAY_ORGANIZATION: ",
        "--webhook-addr: ",
    ] {
        assert!(
            errors.iter().any(|error| error.starts_with(place)),
            "{place} in {errors:?}"
        );
    }
}

#[test]
fn a_bad_value_is_an_error_even_where_a_flag_covers_it() {
    let errors = given()
        .config("[webhook]\naddr = \"here\"\n")
        .flag("webhook.addr", "127.0.0.1:0")
        .errors();
    assert!(
        errors[0].starts_with("gateway.toml:2:1: webhook.addr: "),
        "{errors:?}"
    );
}
