//! What must be configured before a door opens.

use super::given;

#[test]
fn a_door_to_other_machines_needs_tls_and_credentials_or_to_be_called_insecure() {
    /// `expected` is `None` if the doors open; else the texts that the refusal must contain.
    fn check(flags: &[(&'static str, &str)], file: &str, expected: Option<&[&str]>) {
        let given = given().file("pem", "").config(file).flags(flags);
        match expected {
            None => drop(given.good()),
            Some(words) => {
                let errors = given.errors();
                assert_eq!(errors.len(), 1, "{flags:?}: {errors:?}");
                for word in words {
                    assert!(errors[0].contains(word), "{flags:?}: {word} in {errors:?}");
                }
            }
        }
    }
    let token = format!(
        "[[tokens]]\nname = \"crm\"\nhash = \"{}\"\n",
        "0".repeat(64)
    );
    let token = token.as_str();

    let open = ("webhook.addr", "0.0.0.0:0");
    let (cert, key) = (
        ("webhook.tls_cert", "DIR/pem"),
        ("webhook.tls_key", "DIR/pem"),
    );
    let secret = ("webhook.secret", "s3cret");
    let plain = ("webhook.plain_http", "true");
    let allowed = ("allow_insecure_webhook", "true");
    let basic = "[webhook.basic]\nusername = \"a\"\npassword = \"b\"\n";
    check(
        &[open],
        "",
        Some(&[
            "--webhook-addr: ",
            "self-made",
            "no credentials",
            "--allow-insecure-webhook",
            "--webhook-tls-cert",
            "--webhook-secret-file",
        ]),
    );
    check(
        &[open, secret],
        "",
        Some(&["self-made", "--allow-insecure-webhook"]),
    );
    check(
        &[open, cert, key],
        "",
        Some(&["no credentials", "--allow-insecure-webhook"]),
    );
    check(&[open, cert, key, secret], "", None);
    check(&[open, cert, key], basic, None);
    check(
        &[open, plain, secret],
        "",
        Some(&["--webhook-plain-http", "--allow-insecure-webhook"]),
    );
    check(&[open, plain, secret, allowed], "", None);
    check(&[open, allowed], "", None);
    check(
        &[open, ("allow_insecure_grpc", "true")],
        "",
        Some(&["--allow-insecure-webhook"]),
    );
    check(
        &[("webhook.addr", "[::]:0")],
        "",
        Some(&["--allow-insecure-webhook"]),
    );
    check(
        &[("webhook.addr", "192.0.2.1:8443")],
        "",
        Some(&["--allow-insecure-webhook"]),
    );
    for loopback in [
        "127.0.0.1:0",
        "127.9.9.9:0",
        "[::1]:0",
        "[::ffff:127.0.0.1]:0",
    ] {
        check(&[("webhook.addr", loopback)], "", None);
        check(&[("webhook.addr", loopback), plain], "", None);
        check(&[("grpc.addr", loopback)], "", None);
    }

    let open = ("grpc.addr", "0.0.0.0:0");
    let (cert, key) = (("grpc.tls_cert", "DIR/pem"), ("grpc.tls_key", "DIR/pem"));
    check(
        &[open],
        "",
        Some(&[
            "--grpc-addr: ",
            "no TLS",
            "no credentials",
            "--allow-insecure-grpc",
            "--grpc-tls-cert",
            "token new",
        ]),
    );
    check(&[open], token, Some(&["no TLS", "--allow-insecure-grpc"]));
    check(
        &[open, cert, key],
        "",
        Some(&["no credentials", "--allow-insecure-grpc"]),
    );
    check(&[open, cert, key], token, None);
    check(&[open, ("allow_insecure_grpc", "true")], "", None);
    check(
        &[open, ("allow_insecure_webhook", "true")],
        "",
        Some(&["--allow-insecure-grpc"]),
    );
    // The webhook door's certificate does not serve the gRPC door.
    check(
        &[
            open,
            ("webhook.tls_cert", "DIR/pem"),
            ("webhook.tls_key", "DIR/pem"),
        ],
        token,
        Some(&["no TLS"]),
    );
}

#[test]
fn plain_http_and_a_certificate_exclude_each_other() {
    let errors = given()
        .file("pem", "")
        .flags(&[
            ("webhook.tls_cert", "DIR/pem"),
            ("webhook.tls_key", "DIR/pem"),
            ("webhook.plain_http", "true"),
        ])
        .errors();
    assert!(
        errors[0].starts_with("--webhook-plain-http: "),
        "{errors:?}"
    );
}
