//! What the README tells Verbex of the gateway is what the gateway wants.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::support::{
    bodies::call_started,
    process::{Setup, run_in_shell},
    webhook::{Answer, Http},
};

const README: &str = include_str!("../../README.md");

/// The block of shell in the README that has these words in it.
fn commands(words: &str) -> &'static str {
    let mut blocks = README
        .split("```")
        .filter_map(|part| part.strip_prefix("sh\n"));
    blocks.find(|block| block.contains(words)).expect(words)
}

#[tokio::test]
async fn a_subscription_as_in_the_readme_lets_verbex_in() {
    // In place of curl a program that writes down what it is to send.
    let setup = Setup::new();
    let folder = setup.folder().to_owned();
    let curl = folder.join("curl");
    fs::write(&curl, "#!/bin/sh\ncat >subscription.json\n").unwrap();
    fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("webhook-token"), "5ec3e7\n").unwrap();
    let create = commands("api.verbex.ai/v1/public/webhook/subscription");
    let words = format!("PATH=.:$PATH; VERBEX_API_KEY=key; {create}");
    let finished = run_in_shell(&folder, &words).await;
    assert_eq!(finished.code, Some(0), "{finished}");
    let told = fs::read(folder.join("subscription.json")).unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["url"], "https://hooks.example.com/webhooks/verbex");
    // Verbex wants both to be given.
    assert_eq!(told["active"], true);
    assert!(told["enable_signed_webhooks"].is_boolean());
    assert_eq!(told["events"], json!(["*"]));

    let serve =
        commands("VERBEX_GATEWAY_WEBHOOK_BEARER_TOKEN_FILE=webhook-token verbex-gateway serve");
    assert!(serve.contains("> webhook-token)"), "{serve}");
    let token = folder.join("webhook-token").display().to_string();
    let gateway = setup.set("WEBHOOK_BEARER_TOKEN_FILE", &token).start().await;
    let client = gateway.http(Http::One);
    assert_eq!(gateway.send(&client, call_started(1)).await.status, 401);
    let mut request = client.post(&gateway.webhook_url).body(call_started(1));
    for (name, value) in told["headers"].as_object().unwrap() {
        request = request.header(name, value.as_str().unwrap());
    }
    assert_eq!(Answer::of(request.send().await.unwrap()).await.status, 200);
}
