//! What ends a gateway that was not told to stop.

use std::future::pending;

use tempfile::TempDir;

use super::*;
use crate::config::Layers;

async fn gateway(folder: &TempDir) -> Gateway {
    let data_dir = folder.path().display().to_string();
    let any_port = |key| (key, "127.0.0.1:0".to_owned());
    let addresses = ["webhook.addr", "grpc.addr", "admin.addr"].map(any_port);
    let layers = Layers {
        flags: [("data_dir", data_dir)]
            .into_iter()
            .chain(addresses)
            .collect(),
        ..Layers::default()
    };
    let config = config::load(layers).unwrap().config;
    let built = Gateway::build(config, Sockets::default(), Counter::default()).await;
    built.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn a_part_that_panics_or_returns_is_named() {
    let panics: fn() -> Work = || Box::pin(async { panic!("on purpose") });
    let returns: fn() -> Work = || Box::pin(async {});
    for (part, name) in [
        (Part::Fanout, "the fan-out"),
        (Part::WebhookDoor, "the webhook door"),
        (Part::GrpcDoor, "the gRPC door"),
        (Part::AdminDoor, "the operators' door"),
    ] {
        for end in [panics, returns] {
            let folder = TempDir::new().unwrap();
            let mut gateway = gateway(&folder).await;
            let mut works = gateway.parts.iter_mut();
            let (_, work) = works.find(|(known, _)| *known == part).unwrap();
            *work = end();
            let broken = gateway.run(pending()).await.unwrap_err().to_string();
            let expected = format!("{name} has ended unexpectedly; nothing");
            assert!(broken.starts_with(&expected), "{broken}");
        }
    }
}

#[tokio::test]
async fn a_log_that_ends_is_named() {
    let folder = TempDir::new().unwrap();
    let gateway = gateway(&folder).await;
    let appender = gateway.leaving.appender.clone();
    let (outcome, ()) = tokio::join!(gateway.run(pending()), appender.finish());
    let broken = outcome.unwrap_err().to_string();
    assert!(broken.starts_with("the log has ended"), "{broken}");
}
