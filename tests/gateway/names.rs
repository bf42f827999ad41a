//! The gateway's own log and its metrics name fields, and nothing that a sender put where a field's
//! name should be.

use serde_json::{Map, Value, json};

use crate::support::{eventually, process::Gateway};

/// Keys that are no names, each with a part that would give it away.
const NO_NAMES: [(&str, &str); 6] = [
    ("+8801712345678", "01712345678"),
    ("tel_8801712345678", "01712345678"),
    ("anna@example.com", "anna"),
    ("69ef7c43425e3c729ab8c83f", "69ef7c43"),
    ("c51aa1b1-7eac-452d-8ba5-86a922d694e7", "c51aa1b1"),
    ("Anna Example", "Anna"),
];

fn lines_about_fields(gateway: &Gateway) -> Vec<String> {
    let (_, stderr) = gateway.output();
    let lines = stderr
        .lines()
        .filter(|line| line.contains("not documented"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_key_that_is_no_name_is_neither_logged_nor_counted() {
    let gateway = Gateway::start().await;
    for (key, _) in NO_NAMES {
        let mut body =
            json!({"eventName": "CallHandler.CallTransferred", "payload": {"caller": {}}});
        body["payload"][key] = json!(1);
        body["payload"]["caller"][key] = json!(1);
        body[key] = json!({"inner": 1});
        gateway.post(body.to_string()).await;
    }
    let named = json!({"payload": {"call_mood": 1}, "eventName": "x"});
    gateway.post(named.to_string()).await;
    eventually("a name is told", || {
        let lines = lines_about_fields(&gateway);
        let told = |path: &str| lines.iter().any(|line| line.contains(path));
        (told("payload.call_mood") && told("payload.*") && told("payload.caller.*")).then_some(())
    })
    .await;
    assert_eq!(lines_about_fields(&gateway).len(), 4, "each path once");
    let (_, stderr) = gateway.output();
    let metrics = gateway.operations("/metrics").await.text;
    for (_, part) in NO_NAMES {
        assert!(!stderr.contains(part), "{part}\n{stderr}");
        assert!(!metrics.contains(part), "{part}\n{metrics}");
    }
}

#[tokio::test]
async fn a_sender_that_makes_up_names_fills_neither_log_nor_metrics() {
    let gateway = Gateway::start().await;
    let name = |number: usize| {
        let letter = |of: usize| char::from(b'a' + u8::try_from(of % 26).unwrap());
        format!(
            "name_{}{}{}",
            letter(number),
            letter(number / 26),
            letter(number / 676)
        )
    };
    let bodies = (0..50).map(|post| {
        let fields = (0..20).map(|field| (name(post * 20 + field), Value::Null));
        Value::from(Map::from_iter(fields)).to_string()
    });
    gateway.post_all(bodies).await;
    eventually("the end of the names is told", || {
        let (_, stderr) = gateway.output();
        stderr
            .contains("100 fields that are not documented")
            .then_some(())
    })
    .await;
    assert_eq!(lines_about_fields(&gateway).len(), 101);
    let metrics = gateway.operations("/metrics").await.text;
    let series = metrics
        .lines()
        .filter(|line| line.starts_with("verbex_gateway_webhook_surprises_total{"));
    assert!((50..150).contains(&series.count()), "{metrics}");
    assert!(!metrics.contains("name_"), "{metrics}");
}
