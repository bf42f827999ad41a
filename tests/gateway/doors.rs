//! No door opens that should not, and what keeps the gateway from starting is said so that one can
//! mend it.

use std::{fs, net::TcpListener};

use crate::support::{
    bodies::call_started,
    eventually,
    grpc::from_earliest,
    process::{Finished, Gateway, Setup},
    webhook::{Answer, Http, client},
};

/// A start that ends with this code and says all of these.
async fn refused(setup: Setup, code: i32, says: &[&str]) -> Finished {
    let finished = setup.refused().await;
    assert_eq!(finished.code, Some(code), "{finished}");
    for words in says {
        assert!(
            finished.stderr.contains(words),
            "not said: {words}\n{finished}"
        );
    }
    assert!(finished.stdout.is_empty(), "{finished}");
    finished
}

#[tokio::test]
async fn a_door_off_loopback_needs_tls_and_credentials_or_a_word_by_name() {
    let webhook = |setup: Setup| setup.set("WEBHOOK_ADDR", "0.0.0.0:0");
    let grpc = |setup: Setup| setup.set("GRPC_ADDR", "[::]:0");
    let insecure_webhook = ["WEBHOOK_ADDR", "--allow-insecure-webhook", "0.0.0.0:0"];
    refused(webhook(Setup::new()), 2, &insecure_webhook).await;
    // The self-made certificate is no TLS to others; plain HTTP is none at all; TLS alone lets
    // everybody in.
    let secret = webhook(Setup::new()).set("WEBHOOK_SECRET", "s3cret");
    refused(secret.clone(), 2, &insecure_webhook).await;
    refused(secret.arg("--webhook-plain-http"), 2, &insecure_webhook).await;
    let setup = grpc(Setup::new());
    refused(setup, 2, &["GRPC_ADDR", "--allow-insecure-grpc", "[::]:0"]).await;
    // A flag is called by its name.
    let flag = Setup::new().arg("--grpc-addr").arg("0.0.0.0:0");
    let finished = refused(flag, 2, &["--grpc-addr", "--allow-insecure-grpc"]).await;
    // Nothing was made before the refusal.
    assert!(!finished.to_string().contains("events.db"), "{finished}");

    let allowed = grpc(webhook(Setup::new()))
        .arg("--allow-insecure-webhook")
        .arg("--allow-insecure-grpc");
    let gateway = allowed.start().await;
    assert!(gateway.webhook_url.starts_with("https://0.0.0.0:"));
    let warned = || gateway.output().1.contains("WARN").then_some(());
    eventually("the warning", warned).await;
}

#[tokio::test]
async fn a_certificate_of_ones_own_and_a_secret_open_the_webhook_door() {
    // The gateway's own makes a good one to configure.
    let made = Gateway::start().await;
    let tls = made.setup.data().join("tls");
    let pem = |name: &str| tls.join(name).display().to_string();
    let setup = Setup::new()
        .set("WEBHOOK_ADDR", "0.0.0.0:0")
        .set("WEBHOOK_SECRET", "s3cret")
        .arg("--webhook-tls-cert")
        .arg(&pem("server.pem"))
        .arg("--webhook-tls-key")
        .arg(&pem("server-key.pem"));
    let gateway = setup.start().await;
    assert!(!gateway.ca().exists(), "none is made where one is given");
    let url = format!(
        "https://127.0.0.1:{}/webhooks/verbex/s3cret",
        gateway.webhook_addr().port()
    );
    let client = client(&made.ca(), Http::Two);
    let answer = client.post(url).body(call_started(1)).send().await.unwrap();
    assert_eq!(Answer::of(answer).await.stored().sequence, 1);
}

#[tokio::test]
async fn behind_a_proxy_the_door_speaks_plain_http() {
    let gateway = Setup::new().arg("--webhook-plain-http").start().await;
    assert!(gateway.webhook_url.starts_with("http://127.0.0.1:"));
    for http in [Http::One, Http::Two] {
        let client = client(std::path::Path::new(""), http);
        let answer = gateway.send(&client, call_started(1)).await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn a_data_folder_is_held_by_one_gateway() {
    let gateway = Gateway::start().await;
    gateway.post(call_started(1)).await;
    let data = gateway.setup.data().display().to_string();
    refused(gateway.setup.clone(), 1, &[&data, "another gateway"]).await;
    // The first has not noticed, and a killed one leaves nothing to clean up.
    gateway.post(call_started(2)).await;
    let gateway = gateway.kill().await.start().await;
    assert_eq!(
        gateway
            .all(from_earliest(Default::default()), 2)
            .await
            .len(),
        2
    );
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_named() {
    // Tests may run as root, whom no mode keeps out: a folder below a file can be made by nobody.
    let setup = Setup::new();
    let file = setup.folder().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("data").display().to_string();
    refused(setup.set("DATA_DIR", &below), 1, &[&below]).await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for (setting, flag) in [
        ("WEBHOOK_ADDR", "--webhook-addr"),
        ("GRPC_ADDR", "--grpc-addr"),
        ("ADMIN_ADDR", "--admin-addr"),
    ] {
        refused(
            Setup::new().set(setting, &addr),
            1,
            &[&addr, flag, "port 0"],
        )
        .await;
    }
}

#[tokio::test]
async fn a_log_that_is_none_or_of_a_newer_version_is_refused_and_left_as_it_is() {
    let setup = Setup::new();
    fs::create_dir(setup.data()).unwrap();
    let text = "this is no database, but somebody's only copy of something".repeat(100);
    fs::write(setup.log_file(), &text).unwrap();
    let log = setup.log_file().display().to_string();
    refused(setup.clone(), 1, &[&log]).await;
    assert_eq!(fs::read_to_string(setup.log_file()).unwrap(), text);

    let setup = Gateway::start().await.stop().await;
    let log = rusqlite::Connection::open(setup.log_file()).unwrap();
    log.pragma_update(None, "user_version", 1000).unwrap();
    log.close().unwrap();
    let log = setup.log_file().display().to_string();
    refused(setup, 1, &[&log, "1000", "newer"]).await;
}

#[tokio::test]
async fn what_the_gateway_makes_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let gateway = Gateway::start().await;
    gateway.post(call_started(1)).await;
    let public = [gateway.ca(), gateway.setup.data().join("tls/server.pem")];
    let mut folders = vec![gateway.setup.data()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            if path.is_dir() {
                folders.push(path);
            } else if !public.contains(&path) {
                assert_eq!(mode & 0o077, 0, "{path:?} {mode:o}");
            }
        }
    }
}

#[tokio::test]
async fn a_variable_with_a_mistyped_name_is_told_before_it_matters() {
    for (mistyped, meant) in [
        ("WEBHOOK_SECRT", "WEBHOOK_SECRET"),
        ("GRPC_PORT", "GRPC_ADDR"),
        ("CONFG", "CONFIG"),
    ] {
        let told = format!("VERBEX_GATEWAY_{mistyped}: is in the environment, but no setting");
        let advice = format!("; did you mean VERBEX_GATEWAY_{meant}?");
        refused(Setup::new().set(mistyped, "1"), 2, &[&told, &advice]).await;
    }
}

#[tokio::test]
async fn the_variables_of_kubernetes_services_are_in_nobodys_way() {
    let mut setup = Setup::new();
    for service in ["", "GRPC_", "WEBHOOK_", "X_Y_"] {
        for (name, value) in [
            ("SERVICE_HOST", "10.96.0.7"),
            ("SERVICE_PORT", "443"),
            ("SERVICE_PORT_HTTPS_ALT", "8443"),
            ("PORT", "tcp://10.96.0.7:443"),
            ("PORT_443_TCP", "tcp://10.96.0.7:443"),
            ("PORT_443_TCP_ADDR", "10.96.0.7"),
            ("PORT_443_TCP_PORT", "443"),
            ("PORT_443_TCP_PROTO", "tcp"),
            ("PORT_53_UDP", "udp://[fd00::7]:53"),
            ("PORT_53_UDP_ADDR", "fd00::7"),
        ] {
            setup = setup.set(&format!("{service}{name}"), value);
        }
    }
    let gateway = setup.start().await;
    gateway.post(call_started(1)).await;
}
