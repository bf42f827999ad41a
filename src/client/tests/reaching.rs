//! Addresses of gateways, and errors if no gateway is there.

use super::*;

#[tokio::test]
async fn the_token_is_on_every_call() {
    let (_, address) = ScriptedGateway::start([]).await;
    let gateway = Gateway::new(&address)
        .unwrap()
        .with_token("secret\n")
        .unwrap();
    let mut connection = gateway.connect().await.unwrap();
    let event = connection.get_event("any".to_owned()).await.unwrap();
    assert_eq!(event.id, "Bearer secret");
    assert!(!format!("{gateway:?}").contains("secret"));
}

#[test]
fn what_cannot_be_a_gateway_is_refused_before_connecting() {
    let check = |gateway: Result<Gateway, Error>, expected: &str| {
        let error = gateway.unwrap_err();
        assert!(!error.may_pass());
        assert!(error.to_string().contains(expected), "{error}");
    };
    for address in ["127.0.0.1:50051", "ftp://gateway", ""] {
        check(Gateway::new(address), "write http://HOST:PORT");
    }
    for address in ["http://gateway", "https://gateway"] {
        let gateway = || Gateway::new(address).unwrap();
        check(gateway().with_token("two\nlines"), "the token");
        check(
            gateway().with_ca("no PEM"),
            "cannot use these CA certificates",
        );
    }
}

/// The error of a connection that fails.
pub(super) async fn refused_by(gateway: Gateway) -> String {
    let error = match gateway.connect().await {
        Err(error) => error,
        Ok(mut connection) => connection.get_event("any".to_owned()).await.unwrap_err(),
    };
    assert!(error.may_pass());
    error.to_string()
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_named_with_the_way_to_start_one() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", port.local_addr().unwrap());
    drop(port);
    let told = refused_by(Gateway::new(&address).unwrap()).await;
    assert!(
        told.contains(&address) && told.contains("`verbex-gateway serve`"),
        "{told}"
    );
}
