//! A certificate that has ended, has not begun or ends soon is said, before it is too late and
//! while it is.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::{
    eventually,
    process::{Finished, Setup, run},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Days before and after now.
type Days = (i64, i64);

/// Files with a certificate that is good in these days, and the one that signed it in others. The
/// options that name them.
fn files(setup: &Setup, name: &str, leaf: Days, ca: Days) -> [String; 2] {
    let key = KeyPair::generate().unwrap();
    let mut ca_params = params(ca);
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(ca_params.clone(), KeyPair::generate().unwrap());
    let ca = ca_params.self_signed(issuer.key()).unwrap();
    let leaf = params(leaf).signed_by(&key, &issuer).unwrap();
    let path = |end: &str| setup.folder().join(format!("{name}-{end}.pem"));
    fs::write(path("cert"), leaf.pem() + &ca.pem()).unwrap();
    fs::write(path("key"), key.serialize_pem()).unwrap();
    ["cert", "key"].map(|end| path(end).display().to_string())
}

fn params((from, until): Days) -> CertificateParams {
    let at = |days: i64| {
        let distance = DAY * u32::try_from(days.abs()).unwrap();
        let now = SystemTime::now() + Duration::from_secs(60);
        if days < 0 {
            now - distance
        } else {
            now + distance
        }
    };
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (at(from).into(), at(until).into());
    params
}

const GOOD: Days = (-1, 90);
const ENDED: Days = (-90, -1);
const NOT_BEGUN: Days = (1, 90);
const ENDS_SOON: Days = (-80, 10);

async fn check_config(door: &str, leaf: Days, ca: Days) -> Finished {
    let setup = Setup::new();
    let [cert, key] = files(&setup, "x", leaf, ca);
    let (cert_flag, key_flag) = match door {
        "webhook" => ("--webhook-tls-cert", "--webhook-tls-key"),
        _ => ("--grpc-tls-cert", "--grpc-tls-key"),
    };
    let args = ["check-config", cert_flag, &cert, key_flag, &key];
    run(setup.folder(), &args, "").await
}

#[tokio::test]
async fn check_config_says_what_is_the_matter_with_each_certificate_of_each_door() {
    for (door, setting) in [("webhook", "webhook.tls_cert"), ("grpc", "grpc.tls_cert")] {
        for (leaf, ca, code, says) in [
            (GOOD, GOOD, 0, ""),
            (ENDS_SOON, GOOD, 0, "warning: SETTING: the certificate in"),
            (
                GOOD,
                ENDS_SOON,
                0,
                "warning: SETTING: the CA certificate (number 2 of 2)",
            ),
            (ENDED, GOOD, 2, "SETTING: the certificate in"),
            (
                GOOD,
                ENDED,
                2,
                "SETTING: the CA certificate (number 2 of 2)",
            ),
            (NOT_BEGUN, GOOD, 2, "SETTING: the certificate in"),
        ] {
            let finished = check_config(door, leaf, ca).await;
            assert_eq!(finished.code, Some(code), "{finished}");
            let expected = says.replace("SETTING", setting);
            let said = finished.stderr.lines().find(|line| line.contains(setting));
            assert_eq!(said.is_some(), !says.is_empty(), "{finished}");
            let line = said.unwrap_or_default();
            assert!(line.contains(&expected), "{finished}");
            let word = match (leaf, ca) {
                (ENDED, _) | (_, ENDED) => "expired on 20",
                (NOT_BEGUN, _) => "not valid before 20",
                (ENDS_SOON, _) | (_, ENDS_SOON) => "in 10 days",
                _ => "",
            };
            assert!(line.contains(word), "{finished}");
            let ok = finished.stderr.contains("configuration ok");
            assert_eq!(ok, code == 0, "{finished}");
        }
    }
}

#[tokio::test]
async fn the_gateway_starts_with_an_expired_certificate_and_says_so() {
    let setup = Setup::new();
    let webhook = files(&setup, "webhook", ENDED, GOOD);
    let grpc = files(&setup, "grpc", GOOD, ENDS_SOON);
    let gateway = setup
        .set("WEBHOOK_TLS_CERT", &webhook[0])
        .set("WEBHOOK_TLS_KEY", &webhook[1])
        .set("GRPC_TLS_CERT", &grpc[0])
        .set("GRPC_TLS_KEY", &grpc[1])
        .start()
        .await;
    let said = |level: &str, words: &[&str]| {
        let (_, stderr) = gateway.output();
        let mut lines = stderr.lines();
        let said =
            lines.any(|line| line.contains(level) && words.iter().all(|word| line.contains(word)));
        said.then_some(())
    };
    let ended = ["webhook", "the certificate in", "expired on 20", "restart"];
    eventually("the webhook door's", || said("ERROR", &ended)).await;
    let soon = ["grpc", "number 2 of 2", "in 10 days"];
    eventually("the gRPC door's", || said("WARN", &soon)).await;

    let metrics = gateway.operations("/metrics").await.text;
    let left = |door: &str| {
        let sample = format!("verbex_gateway_tls_expiry_seconds{{door=\"{door}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&sample));
        line.expect("a sample").parse::<i64>().unwrap()
    };
    let day = 24 * 60 * 60;
    assert!((-day..-day + 600).contains(&left("webhook")), "{metrics}");
    assert!(
        (10 * day - 600..=10 * day + 60).contains(&left("grpc")),
        "{metrics}"
    );
}
