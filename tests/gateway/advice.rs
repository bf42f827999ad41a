//! Whoever is not served hears why, and what to do.

use std::fs;

use crate::support::process::{Gateway, Setup, run};

async fn refused(folder: &Setup, args: &[&str], says: &[&str]) {
    let finished = run(folder.folder(), args, "{}").await;
    assert_eq!(finished.code, Some(1), "{finished}");
    for words in says {
        assert!(
            finished.stderr.contains(words),
            "not said: {words}\n{finished}"
        );
    }
    let lines = finished.stderr.lines().count();
    assert!(lines <= 2, "{finished}");
}

#[tokio::test]
async fn readers_hear_what_to_do() {
    let plain = Gateway::start().await;
    let made = run(plain.setup.folder(), &["token", "new", "--name", "crm"], "").await;
    let closed = Setup::new()
        .file(&made.stdout)
        .grpc_tls_of(&plain)
        .start()
        .await;
    let ca = plain.ca().display().to_string();
    let other_ca = closed.ca().display().to_string();
    let folder = Setup::new();
    fs::write(folder.folder().join("none.pem"), "").unwrap();
    let check = async |address: String, more: &[&str], says: &[&str]| {
        for command in ["tail", "events"] {
            let args = [&[command, "--address", &address], more].concat();
            refused(&folder, &args, says).await;
        }
    };

    let nobody = "http://127.0.0.1:1".to_owned();
    check(
        nobody.clone(),
        &[],
        &[&nobody, "is it running?", "verbex-gateway serve"],
    )
    .await;
    check(
        format!("https://{}", plain.grpc),
        &[],
        &["does not speak TLS", "write http://"],
    )
    .await;
    let in_tls = format!("https://{}", closed.grpc);
    check(format!("http://{}", closed.grpc), &[], &["write https://"]).await;
    check(in_tls.clone(), &[], &["not trusted", "--ca FILE"]).await;
    check(
        in_tls.clone(),
        &["--ca", &other_ca],
        &["not trusted", "--ca FILE"],
    )
    .await;
    check(
        in_tls.clone(),
        &["--ca", "nowhere.pem"],
        &["cannot read nowhere.pem"],
    )
    .await;
    check(
        in_tls.clone(),
        &["--ca", &ca],
        &["CREDENTIALS_INVALID", "--token-file", "token new"],
    )
    .await;
    let wrong = ["--ca", &ca, "--token", "vgw_wrong"];
    check(in_tls, &wrong, &["CREDENTIALS_INVALID", "has not expired"]).await;
    let webhook = plain.webhook_addr();
    check(format!("http://{webhook}"), &[], &["gRPC address"]).await;
    let webhook = format!("https://{webhook}");
    check(webhook, &["--ca", &ca], &["gRPC address", "webhook"]).await;
    let operators = plain.admin_url.clone();
    check(operators, &[], &["gRPC address"]).await;
}

#[tokio::test]
async fn senders_hear_what_to_do() {
    let setup = Setup::new();
    let gateway = setup.set("WEBHOOK_BEARER_TOKEN", "secret").start().await;
    let ca = gateway.ca().display().to_string();
    let folder = Setup::new();
    let check = async |url: String, more: &[&str], says: &[&str]| {
        let args = [&["send", "--url", &url], more].concat();
        refused(&folder, &args, says).await;
    };
    let door = gateway.webhook_addr();
    let url = gateway.webhook_url.clone();
    check(
        "https://127.0.0.1:1/".into(),
        &[],
        &["is the gateway running?"],
    )
    .await;
    check(url.clone(), &[], &["not trusted", "--ca", "tls/dev-ca.pem"]).await;
    check(format!("http://{door}/"), &[], &["write https://"]).await;
    check(
        format!("https://{}/", gateway.grpc),
        &[],
        &["does not speak TLS", "write http://"],
    )
    .await;
    check(
        format!("http://{}/", gateway.grpc),
        &[],
        &["check that --url is"],
    )
    .await;
    let trusting = ["--ca", ca.as_str()];
    check(
        format!("{url}/guess"),
        &trusting,
        &["NOT_FOUND", "followed by the secret"],
    )
    .await;
    check(
        url,
        &trusting,
        &["CREDENTIALS_INVALID", "give them with -H"],
    )
    .await;
}

#[tokio::test]
async fn every_flag_for_a_time_says_what_it_wants() {
    let setup = Setup::new();
    let (moment, length) = (["10m", "2026-04-27T12:00"], ["90d", "1y"]);
    for (command, flag, wanted) in [
        (&["tail"][..], "--since", moment),
        (&["events"], "--since", moment),
        (&["events"], "--until", moment),
        (&["token", "new", "--name", "crm"], "--expires", length),
    ] {
        for value in ["soon", "", "10", "10 parsecs"] {
            let args = [command, &[flag, value]].concat();
            let finished = run(setup.folder(), &args, "").await;
            assert_eq!(finished.code, Some(2), "{finished}");
            assert!(finished.stderr.contains(flag), "{finished}");
            for good in wanted {
                assert!(finished.stderr.contains(good), "{finished}");
            }
        }
    }
}
