//! The operators' door: alive, ready, and counted.

use std::{collections::BTreeSet, path::Path};

use verbex_gateway::proto::SubscribeRequest;

use crate::support::{
    PATIENCE,
    bodies::{CALL_STARTED, mixed},
    eventually_asking,
    process::Gateway,
    webhook::{Answer, Http, client},
};

const DOCUMENTED: &str = include_str!("../../docs/operations.md");

/// Every metric of the table for operators.
fn documented() -> BTreeSet<&'static str> {
    let rows = DOCUMENTED.lines().filter_map(|line| {
        let name = line.strip_prefix("| `")?;
        let is_metric = ["verbex_gateway_", "process_"];
        is_metric
            .iter()
            .any(|prefix| name.starts_with(prefix))
            .then_some(name)
    });
    rows.filter_map(|row| row.split('`').next()).collect()
}

async fn metrics(gateway: &Gateway) -> String {
    let answer = gateway.operations("/metrics").await;
    assert_eq!(answer.status, 200);
    let content_type = answer.header("content-type").unwrap();
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    answer.text
}

/// The value of a sample, by its name and labels.
fn value(metrics: &str, sample: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample))?;
    line.trim().parse().ok()
}

#[tokio::test]
async fn it_is_alive_and_ready_and_has_no_webhook_door() {
    let gateway = Gateway::start().await;
    let ready = eventually_asking(PATIENCE, "it is ready", async || {
        let ready = gateway.operations("/readyz").await;
        (ready.status == 200).then_some(())
    });
    ready.await;
    assert_eq!(gateway.operations("/livez").await.status, 200);
    assert_eq!(gateway.operations("/webhooks/verbex").await.status, 404);
}

#[tokio::test]
async fn the_first_page_and_each_wrong_path_say_what_there_is_and_head_is_answered_like_get() {
    const PLACES: [&str; 4] = ["/metrics", "/livez", "/readyz", "/descriptor.binpb"];
    let gateway = Gateway::start().await;
    let client = client(Path::new(""), Http::One);
    let ask = async |method: &str, path: &str, accept: &str| {
        let url = format!("{}{path}", gateway.admin_url);
        let request = client.request(method.parse().unwrap(), url);
        let answer = request.header("accept", accept).send().await;
        Answer::of(answer.unwrap()).await
    };
    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    for (path, status) in [("/", 200), ("/nowhere", 404), ("/metrics/", 404)] {
        let text = ask("GET", path, "*/*").await;
        assert_eq!(text.status, status);
        assert_eq!(
            text.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        let page = ask("GET", path, browser).await;
        assert_eq!(page.status, status);
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        for place in PLACES {
            assert!(text.text.contains(place), "{text:?}");
            let link = format!("<a href=\"{place}\">");
            assert!(page.text.contains(&link), "{page:?}");
        }
    }
    for path in PLACES.into_iter().chain(["/", "/nowhere"]) {
        let (get, head) = (
            ask("GET", path, "*/*").await,
            ask("HEAD", path, "*/*").await,
        );
        assert_eq!(
            (head.status, head.text.as_str()),
            (get.status, ""),
            "{path}"
        );
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
    let posted = ask("POST", "/metrics", "*/*").await;
    assert_eq!(
        (posted.status, posted.header("allow")),
        (405, Some("GET,HEAD"))
    );
    assert!(posted.text.contains("GET or HEAD"), "{posted:?}");
}

#[tokio::test]
async fn what_happens_is_counted() {
    let gateway = Gateway::start().await;
    let (mut stream, _) = gateway.subscribe(SubscribeRequest::default()).await;
    gateway.post_all((0..10).map(mixed)).await;
    gateway.post(CALL_STARTED).await;
    gateway.post(CALL_STARTED).await;
    gateway.post(r#"{"traceId":7}"#).await;
    let client = gateway.http(Http::One);
    assert_eq!(gateway.send(&client, "[").await.status, 400);
    stream.take(12).await;
    let text = metrics(&gateway).await;
    for (sample, expected) in [
        (r#"verbex_gateway_webhooks_total{code="OK"}"#, 13.0),
        (r#"verbex_gateway_webhooks_total{code="BODY_INVALID"}"#, 1.0),
        ("verbex_gateway_webhook_duplicates_total", 1.0),
        (
            r#"verbex_gateway_log_events_total{type="EVENT_TYPE_CALL_STARTED"}"#,
            3.0,
        ),
        (r#"verbex_gateway_subscribers{state="live"}"#, 1.0),
        ("verbex_gateway_deliveries_total", 12.0),
        ("verbex_gateway_log_available", 1.0),
        ("verbex_gateway_log_append_seconds_count", 13.0),
        ("verbex_gateway_subscriber_lag_events_max", 0.0),
    ] {
        assert_eq!(value(&text, sample), Some(expected), "{sample}\n{text}");
    }
    let about = |word: &str| -> BTreeSet<&str> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(word));
        lines
            .filter_map(|line| line.split_whitespace().next())
            .collect()
    };
    assert_eq!(about("# TYPE "), documented());
    assert_eq!(about("# HELP "), documented());
    let surprises = text
        .lines()
        .filter(|line| line.starts_with("verbex_gateway_webhook_surprises_total{"));
    assert!(surprises.count() > 0, "{text}");
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let gateway = Gateway::start().await;
    let get = async |accept: &str| {
        let url = format!("{}/metrics", gateway.admin_url);
        let request = gateway.http(Http::One).get(url).header("accept", accept);
        Answer::of(request.send().await.unwrap()).await
    };
    let openmetrics = get("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert_eq!(
        openmetrics.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(openmetrics.text.ends_with("# EOF\n"), "{openmetrics:?}");
    assert!(
        openmetrics
            .text
            .contains("# TYPE verbex_gateway_webhooks counter")
    );
    let text = get("*/*").await;
    assert!(!text.text.contains("# EOF"), "{text:?}");
    assert!(
        text.text
            .contains("# TYPE verbex_gateway_webhooks_total counter")
    );
    assert!(text.text.contains("# TYPE verbex_gateway_build_info gauge"));
}

#[tokio::test]
async fn what_can_be_counted_is_there_at_zero_before_it_is() {
    let gateway = Gateway::start().await;
    let before = metrics(&gateway).await;
    let counted = [
        r#"verbex_gateway_webhooks_total{code="BODY_INVALID"}"#,
        r#"verbex_gateway_webhooks_total{code="OK"}"#,
        r#"verbex_gateway_log_events_total{type="EVENT_TYPE_CALL_STARTED"}"#,
        r#"verbex_gateway_webhook_surprises_total{field="payload.call_id",reason="missing"}"#,
    ];
    for sample in counted {
        assert_eq!(value(&before, sample), Some(0.0), "{sample}\n{before}");
    }
    let client = gateway.http(Http::One);
    assert_eq!(gateway.send(&client, "[").await.status, 400);
    gateway
        .post(r#"{"eventName":"CallHandler.CallStarted","payload":{}}"#)
        .await;
    let after = metrics(&gateway).await;
    for sample in counted {
        assert_eq!(value(&after, sample), Some(1.0), "{sample}\n{after}");
    }
    let (stream, _) = gateway.subscribe(SubscribeRequest::default()).await;
    drop(stream);
    eventually_asking(PATIENCE, "its end is counted", async || {
        let text = metrics(&gateway).await;
        let sample = r#"verbex_gateway_subscriptions_ended_total{reason="client left"}"#;
        assert!(value(&before, sample) == Some(0.0), "{before}");
        (value(&text, sample) == Some(1.0)).then_some(())
    })
    .await;
    let series = |text: &str| -> BTreeSet<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let names = samples.filter_map(|line| line.rsplit_once(' '));
        names.map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(
        series(&before),
        series(&after),
        "no series appears with its first count"
    );
}

const RULES: &str = include_str!("../../deploy/prometheus/verbex-gateway.rules.yml");
const RULES_TESTS: &str = include_str!("../../deploy/prometheus/verbex-gateway.test.yml");

#[test]
fn every_alert_is_documented_and_tested_to_fire_and_to_stay_quiet() {
    let rules = RULES.lines();
    let names: BTreeSet<&str> = rules
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    let table = DOCUMENTED
        .split("| alert | fires |")
        .nth(1)
        .expect("a table");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with("| "));
    let documented: BTreeSet<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(documented, names);
    for name in names {
        let fires = format!("alertname: {name}\n        exp_alerts:\n          - exp_labels");
        assert!(RULES_TESTS.contains(&fires), "{name} is not tested to fire");
        let quiet = format!("alertname: {name} }}");
        assert!(
            RULES_TESTS.contains(&quiet),
            "{name} is not tested to stay quiet"
        );
    }
}

#[tokio::test]
async fn alerts_ask_for_metrics_that_there_are() {
    let gateway = Gateway::start().await;
    let exported = metrics(&gateway).await;
    let asked = RULES.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let asked: BTreeSet<&str> = asked
        .filter(|word| word.starts_with("verbex_gateway_") || word.starts_with("process_"))
        .collect();
    assert!(asked.len() > 10, "{asked:?}");
    for name in asked {
        let family = name.trim_end_matches("_bucket");
        let line = format!("# TYPE {family} ");
        assert!(exported.contains(&line), "{name}");
    }
}

#[tokio::test]
async fn what_the_process_and_the_log_use_up_is_known() {
    let gateway = Gateway::start().await;
    gateway.post(CALL_STARTED).await;
    let get = async |sample: &str| value(&metrics(&gateway).await, sample);
    for sample in [
        r#"verbex_gateway_log_bytes{file="events.db"}"#,
        r#"verbex_gateway_log_bytes{file="events.db-wal"}"#,
        "verbex_gateway_disk_free_bytes",
        "verbex_gateway_disk_size_bytes",
    ] {
        eventually_asking(PATIENCE, sample, async || {
            get(sample).await.filter(|&value| value > 0.0)
        })
        .await;
    }
    let now = std::time::SystemTime::now();
    let now = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let started = get("process_start_time_seconds").await.unwrap();
    assert!((now - 600.0..=now).contains(&started), "{started} {now}");
    let resident = get("process_resident_memory_bytes").await.unwrap();
    assert!((1e6..1e10).contains(&resident), "{resident}");
    assert!(get("process_cpu_seconds_total").await.unwrap() > 0.0);
    let open = get("process_open_fds").await.unwrap();
    let most = get("process_max_fds").await.unwrap();
    assert!(5.0 < open && open < most, "{open} of {most}");
}
