//! A setting that still has its old name, anywhere, is told the new one.

use std::fs;

use crate::support::process::{Setup, run, run_in_shell};

const COMMANDS: [&str; 2] = ["serve", "check-config"];

#[tokio::test]
async fn in_a_file() {
    let setup = Setup::new();
    let path = setup.folder().join("gateway.toml");
    let path = path.to_str().unwrap();
    fs::write(path, "[log]\nlevel = \"debug\"\n[tls]\n cert = \"a\"\n").unwrap();
    for command in COMMANDS {
        let finished = run(setup.folder(), &[command, "--config", path], "").await;
        assert_eq!(finished.code, Some(2), "{finished}");
        for expected in [
            format!("{path}:4:2: tls.cert: is called webhook.tls_cert now\n"),
            format!("{path}:2:1: log.level: is called logging.level now\n"),
        ] {
            assert!(finished.stderr.contains(&expected), "{finished}");
        }
    }
}

#[tokio::test]
async fn in_the_environment() {
    let setup = Setup::new();
    for command in COMMANDS {
        let words = format!(
            "VERBEX_GATEWAY_LOGGING_FORMAT=text VERBEX_GATEWAY_LOG_FORMAT=json \
             VERBEX_GATEWAY_TLS_KEY=a \"$0\" {command}"
        );
        let finished = run_in_shell(setup.folder(), &words).await;
        assert_eq!(finished.code, Some(2), "{finished}");
        for (old, new) in [
            ("LOG_FORMAT", "LOGGING_FORMAT"),
            ("TLS_KEY", "WEBHOOK_TLS_KEY"),
        ] {
            let expected = format!("VERBEX_GATEWAY_{old}: is called VERBEX_GATEWAY_{new} now\n");
            assert!(finished.stderr.contains(&expected), "{finished}");
        }
    }
}

#[tokio::test]
async fn as_a_flag() {
    let setup = Setup::new();
    for command in COMMANDS {
        let args = [command, "--tls-cert", "a", "--tls-key=b"];
        let finished = run(setup.folder(), &args, "").await;
        assert_eq!(finished.code, Some(2), "{finished}");
        for name in ["cert", "key"] {
            let expected = format!("--tls-{name} is called --webhook-tls-{name} now\n");
            assert!(finished.stderr.contains(&expected), "{finished}");
        }
    }
}

#[tokio::test]
async fn the_flags_of_logging_keep_theirs() {
    let setup = Setup::new();
    let args = [
        "check-config",
        "--log-format",
        "json",
        "--log-level",
        "warn",
    ];
    let finished = run(setup.folder(), &args, "").await;
    assert_eq!(finished.code, Some(0), "{finished}");
    let shown = "[logging]\nformat = \"json\"  # --log-format\nlevel = \"warn\"  # --log-level\n";
    assert!(finished.stdout.contains(shown), "{finished}");
}
