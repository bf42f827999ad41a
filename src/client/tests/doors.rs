//! TLS, on both sides or on one.

use super::{reaching::refused_by, *};

fn trusting(address: &str, ca: &str) -> Gateway {
    Gateway::new(address).unwrap().with_ca(ca).unwrap()
}

#[tokio::test]
async fn tls_on_one_side_only_is_told_with_what_to_change() {
    let (_, plain) = ScriptedGateway::start([]).await;
    let secure = plain.replace("http://", "https://");
    let (ca, tls) = tls_door().await;
    let told = refused_by(trusting(&secure, &ca)).await;
    assert!(told.contains("write http:// instead of https://"), "{told}");
    let told = refused_by(Gateway::new(&tls.replace("https://", "http://")).unwrap()).await;
    assert!(told.contains("write https:// if it has TLS"), "{told}");
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_not_trusted() {
    let (_, address) = tls_door().await;
    let (other_ca, _) = tls_door().await;
    let told = refused_by(trusting(&address, &other_ca)).await;
    assert!(told.contains("is not trusted"), "{told}");
}

/// A port that speaks TLS and then HTTP/2, with its certificate.
async fn tls_door() -> (String, String) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let handshake = acceptor.accept(socket);
            tokio::spawn(async move { handshake.await.map(drop) });
        }
    });
    (cert.pem(), address)
}
