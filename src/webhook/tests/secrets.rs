//! What the door keeps of secrets, and what it tells of a secret path.

use super::*;

/// The pattern names every field, so that a new one is looked at here too.
#[tokio::test]
async fn the_door_keeps_no_secret_but_its_hash() {
    let site = site(Config {
        path_secret: Some(Secret::new("s3cret")),
        credentials: vec![Credential::Bearer {
            token: Secret::new("t0ken"),
        }],
        ..Config::default()
    });
    let Intake {
        path_secret,
        credentials,
        body_bytes_max: _,
        body_timeout: _,
        limits: _,
        rules: _,
        appender: _,
        metrics: _,
        inside: _,
        room: _,
    } = &*site.webhook.0;
    assert_eq!(*path_secret, Some(blake3::hash(b"s3cret")));
    let token = blake3::hash(b"t0ken");
    assert_eq!(*credentials, [Credential::Bearer { token }]);
}

#[tokio::test]
async fn a_wrong_path_secret_cannot_be_told_from_a_path_that_does_not_exist() {
    let open = site(Config::default());
    let secret = site(Config {
        path_secret: Some(Secret::new("s3cret")),
        ..Config::default()
    });
    let check = async |site: &Site, path: &'static str, found: bool| {
        for method in ["POST", "GET", "HEAD", "OPTIONS", "BREW"] {
            let request = post().method(method).uri(path).body(Full::from(EVENT));
            let (status, answer) = ask(&site.webhook, request.unwrap()).await;
            let message = Refusal::NotFound.to_string();
            let nothing = json!({"error": {"code": "NOT_FOUND", "message": message}});
            match (found, method) {
                (true, "POST") => assert_eq!(status, 200, "{path}"),
                (true, _) => assert_eq!(status, 405, "{method} {path}"),
                (false, _) => assert_eq!((status, answer), (404, nothing), "{method} {path}"),
            }
        }
    };
    check(&open, "/webhooks/verbex", true).await;
    check(&open, "/webhooks/verbex?a=b", true).await;
    check(&secret, "/webhooks/verbex/s3cret", true).await;
    for path in [
        "/",
        "/webhooks/verbex/",
        "/webhooks/verbexs",
        "/webhooks/verbex/s3cret",
        "/Webhooks/Verbex",
    ] {
        check(&open, path, false).await;
    }
    for path in [
        "/",
        "/webhooks/verbex",
        "/webhooks/verbex/",
        "/webhooks/verbex/wrong",
        "/webhooks/verbex/s3cret/",
        "/webhooks/verbexs3cret",
    ] {
        check(&secret, path, false).await;
    }
}
