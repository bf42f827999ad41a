use std::process::Command;

use rustls::pki_types::pem::SectionKind;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::server;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

const BOUND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn made(dir: &TempDir, now: SystemTime) -> (SelfMade, Vec<u8>) {
    let made = self_made(&dir.path().join("tls"), BOUND, now).unwrap();
    let ca = fs::read(&made.ca_path).unwrap();
    (made, ca)
}

#[test]
fn a_certificate_is_made_once_and_served_until_thirty_days_before_its_end() {
    let dir = folder();
    let now = SystemTime::now();
    let (_, first) = made(&dir, now);
    let late = now + (VALIDITY_DAYS - RENEW_DAYS - 2) * DAY;
    assert_eq!(made(&dir, late).1, first);
    let (remade, other) = made(&dir, late + 2 * DAY);
    assert_ne!(other, first);
    let cert = remade.ca_path.with_file_name(CERT_FILE);
    assert!(is_trusted(
        &remade.ca_path,
        &cert,
        &ips(BOUND),
        late + 100 * DAY
    ));
}

#[test]
fn a_door_that_moves_gets_a_certificate_for_where_it_is() {
    let dir = folder();
    let tls = dir.path().join("tls");
    let at = |ip: &str| {
        let made = self_made(&tls, ip.parse().unwrap(), SystemTime::now());
        fs::read(made.unwrap().ca_path).unwrap()
    };
    let first = at("127.0.0.1");
    assert_eq!(at("0.0.0.0"), first);
    assert_eq!(at("::1"), first);
    let moved = at("127.0.0.2");
    assert_ne!(moved, first);
    assert_eq!(at("127.0.0.1"), moved, "it is good there, too");
}

#[test]
fn files_that_are_missing_damaged_or_foreign_are_made_anew() {
    let now = SystemTime::now();
    let foreign = folder();
    made(&foreign, now);
    for name in [CA_FILE, CERT_FILE, KEY_FILE] {
        for damage in ["missing", "cut", "empty", "foreign"] {
            let dir = folder();
            let (_, before) = made(&dir, now);
            let path = dir.path().join("tls").join(name);
            match damage {
                "missing" => fs::remove_file(&path).unwrap(),
                "cut" => fs::write(&path, &fs::read(&path).unwrap()[..100]).unwrap(),
                "empty" => fs::write(&path, "").unwrap(),
                _ => drop(fs::copy(foreign.path().join("tls").join(name), &path).unwrap()),
            }
            let (after, ca) = made(&dir, now);
            assert_ne!(ca, before, "{name} {damage}");
            let cert = after.ca_path.with_file_name(CERT_FILE);
            assert!(
                is_trusted(&after.ca_path, &cert, &ips(BOUND), now),
                "{name} {damage}"
            );
        }
    }
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_key_and_the_ca_key_is_nowhere() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    let tls = dir.path().join("tls");
    made(&dir, SystemTime::now());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&tls), 0o700);
    assert_eq!(mode(&tls.join(KEY_FILE)), 0o600);
    let keys = fs::read_dir(&tls).unwrap().flat_map(|file| {
        let pem = fs::read(file.unwrap().path()).unwrap();
        <(SectionKind, Vec<u8>)>::pem_slice_iter(&pem)
            .map(|section| section.unwrap().0)
            .filter(|kind| *kind == SectionKind::PrivateKey)
            .collect::<Vec<_>>()
    });
    assert_eq!(keys.count(), 1);
}

#[test]
fn an_unusable_certificate_is_named_with_the_reason_and_what_to_do() {
    fn check(cert: &Path, key: &Path, expected: &[&str]) {
        let text = load(cert, key).unwrap_err().to_string();
        for part in expected {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }
    let (dir, other) = (folder(), folder());
    made(&dir, SystemTime::now());
    made(&other, SystemTime::now());
    let file = |name: &str| dir.path().join("tls").join(name);
    let (cert, key) = (file(CERT_FILE), file(KEY_FILE));
    let nowhere = file("nowhere.pem");
    let garbage = file("garbage.pem");
    fs::write(
        &garbage,
        "-----BEGIN PRIVATE KEY-----\nsecret!\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();

    check(
        &nowhere,
        &key,
        &["certificate", "nowhere.pem", "No such file", "check that"],
    );
    check(
        &cert,
        &nowhere,
        &["private key", "nowhere.pem", "No such file"],
    );
    check(
        &key,
        &key,
        &[
            "certificate",
            "server-key.pem",
            "the file contains none",
            "PEM",
        ],
    );
    check(
        &cert,
        &cert,
        &[
            "private key",
            "server.pem",
            "the file contains none",
            "unencrypted",
        ],
    );
    check(
        &cert,
        &garbage,
        &["private key", "garbage.pem", "not base64"],
    );
    let foreign = other.path().join("tls").join(KEY_FILE);
    check(
        &cert,
        &foreign,
        &["server.pem", "server-key.pem", "belongs to"],
    );
    assert!(
        !load(&cert, &garbage)
            .unwrap_err()
            .to_string()
            .contains("secret")
    );
}

/// OpenSSL's strict mode, the default of Python 3.13, requires much that rustls does not.
#[tokio::test]
async fn openssl_in_strict_mode_trusts_it_for_every_name_of_the_door() {
    const CLIENT: &str = "
import socket, ssl, sys
ca, port = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.verify_flags |= ssl.VERIFY_X509_STRICT
for name in 'localhost', '127.0.0.1', '::1', '127.0.0.2':
    with socket.create_connection(('127.0.0.1', port)) as plain:
        context.wrap_socket(plain, server_hostname=name).close()
";
    let dir = folder();
    let (made, _) = made(&dir, SystemTime::now());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (_sender, tls) = tokio::sync::watch::channel(made.served.config);
    tokio::spawn(server::serve(
        listener,
        Some(tls),
        server::Config::default(),
        axum::Router::new(),
        server::Metrics::default().door("test"),
        server::Stop::default(),
    ));
    let client = tokio::task::spawn_blocking(move || {
        Command::new("python3")
            .args(["-c", CLIENT])
            .arg(made.ca_path)
            .arg(port)
            .output()
    });
    let output = client
        .await
        .unwrap()
        .expect("python3 is needed for this test");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
