//! A client that cannot agree with a door on TLS is counted and said, with the reason.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsConnector;

use crate::support::{
    PATIENCE, eventually, eventually_asking,
    process::{Gateway, Setup},
    webhook::provide_crypto,
};

async fn failures(gateway: &Gateway, door: &str, reason: &str) -> u64 {
    let metrics = gateway.operations("/metrics").await.text;
    let sample = format!(
        "verbex_gateway_tls_handshake_failures_total{{door=\"{door}\",reason=\"{reason}\"}} "
    );
    let line = metrics.lines().find_map(|line| line.strip_prefix(&sample));
    let value = line.and_then(|line| line.parse().ok());
    value.unwrap_or_else(|| panic!("no {sample} in\n{metrics}"))
}

/// A client that trusts the gateway's CA or nobody, and speaks this protocol.
async fn shake(gateway: &Gateway, trusting: bool, alpn: &str) -> bool {
    provide_crypto();
    let mut roots = RootCertStore::empty();
    if trusting {
        let ca = CertificateDer::from_pem_file(gateway.ca()).unwrap();
        roots.add(ca).unwrap();
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.into()];
    let addr = gateway.webhook_addr();
    let tcp = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::from(addr.ip());
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    shaken.await.is_ok()
}

#[tokio::test]
async fn a_handshake_that_fails_is_counted_from_zero_and_said_with_its_reason() {
    let gateway = Setup::new().set("TLS_HANDSHAKE_SECONDS", "1").start().await;
    let reasons = [
        "unknown_ca",
        "no_shared_protocol",
        "not_tls",
        "closed",
        "timeout",
    ];
    for reason in reasons {
        assert_eq!(failures(&gateway, "webhook", reason).await, 0, "{reason}");
    }
    assert!(shake(&gateway, true, "http/1.1").await);
    assert!(!shake(&gateway, false, "http/1.1").await);
    assert!(!shake(&gateway, true, "smtp").await);
    let connect = || TcpStream::connect(gateway.webhook_addr());
    let mut garbage = connect().await.unwrap();
    garbage.write_all(&[0xff; 100]).await.unwrap();
    // A record that is announced and does not come.
    let mut cut = connect().await.unwrap();
    cut.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    drop(cut);
    let silent = connect().await.unwrap();
    for reason in reasons {
        eventually_asking(PATIENCE, reason, async || {
            (failures(&gateway, "webhook", reason).await == 1).then_some(())
        })
        .await;
        eventually("it is said", || {
            let (_, stderr) = gateway.output();
            let mut lines = stderr.lines();
            let said = lines.any(|line| {
                let words = ["a TLS handshake failed", "webhook", reason, "127.0.0.1"];
                words.iter().all(|word| line.contains(word))
            });
            said.then_some(())
        })
        .await;
    }
    drop((garbage, silent));
}
