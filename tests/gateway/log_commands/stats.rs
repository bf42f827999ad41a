//! `log stats`.

use serde_json::{Value, json};

use super::{failed, good, log};
use crate::support::{
    bodies::{SAMPLES, mixed},
    process::{Gateway, Setup},
};

async fn stats(data: &std::path::Path) -> Value {
    let text = good(data, &["stats", "--format", "json"]).await;
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn stats_say_what_the_log_holds_while_a_gateway_runs_and_afterwards() {
    let gateway = Gateway::start().await;
    let data = gateway.setup.data();
    let empty = stats(&data).await;
    assert_eq!(empty["event_count"], 0);
    assert_eq!(empty["earliest"]["sequence"], Value::Null);
    assert_eq!(empty["days_until_disk_full"], Value::Null);

    gateway.post_all(SAMPLES.map(String::from)).await;
    gateway.post_all((0..20).map(mixed)).await;
    let running = stats(&data).await;
    let _setup = gateway.stop().await;
    let stopped = stats(&data).await;
    for found in [&running, &stopped] {
        assert_eq!(found["event_count"], 24);
        assert_eq!(found["earliest"]["sequence"], 1);
        assert_eq!(found["latest"]["sequence"], 24);
        let types = json!({
            "CALL_STARTED": 5, "CALL_ENDED": 5, "CALL_TRANSFERRED": 5, "PCA_COMPLETED": 5,
            "OTHER": 4,
        });
        assert_eq!(found["types"], types);
        let days = found["days"].as_object().expect("an object");
        let days = days
            .values()
            .flat_map(|day| day.as_object().unwrap().values());
        assert_eq!(days.filter_map(Value::as_u64).sum::<u64>(), 24);
        let bodies: usize = SAMPLES.map(str::len).iter().sum::<usize>()
            + (0..20).map(|number| mixed(number).len()).sum::<usize>();
        assert_eq!(found["bytes"]["bodies"], bodies);
        for kind in ["encoded", "headers", "indexes", "file"] {
            assert!(found["bytes"][kind].as_u64() > Some(0), "{kind}: {found}");
        }
        assert!(found["disk_free_bytes"].as_u64() > Some(0), "{found}");
    }
    assert_eq!(stopped["bytes"]["write_ahead_log"], 0);
    let plain = good(&data, &["stats"]).await;
    for line in [
        "events     24",
        "earliest   1, received 2",
        "  bodies",
        "PCA_COMPLETED",
    ] {
        assert!(plain.contains(line), "{plain}");
    }
}

#[tokio::test]
async fn a_folder_without_a_log_gets_none_and_an_unknown_setting_is_wrong_usage() {
    let setup = Setup::new();
    let said = failed(&setup.data(), &["stats"]).await;
    assert!(said.contains("there is no log in"), "{said}");
    assert!(!setup.data().exists());
    let config = setup.folder().join("config.toml");
    std::fs::write(&config, "data_dri = \"x\"").unwrap();
    let config = config.display().to_string();
    let finished = log(&setup.data(), &["stats", "--config", &config]).await;
    assert_eq!(finished.code, Some(2), "{finished}");
}
