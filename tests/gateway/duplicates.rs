//! A repeat is answered as the first was, and is not broadcast again; whatever else differs is
//! another event.

use serde_json::{Value, json};

use crate::support::{
    bodies::{CALL_TRANSFERRED, SAMPLES, call_started},
    grpc::from_earliest,
    process::Gateway,
};

#[tokio::test]
async fn a_repeat_gets_the_firsts_id_and_sequence_and_is_not_broadcast_again() {
    let gateway = Gateway::start().await;
    let (mut live, _) = gateway.subscribe(Default::default()).await;
    let first = gateway.post_all(SAMPLES.map(String::from)).await;
    let again = gateway.post_all(SAMPLES.map(String::from)).await;
    for (first, again) in first.iter().zip(&again) {
        assert_eq!((&first.id, first.sequence), (&again.id, again.sequence));
        assert_eq!((first.duplicate, again.duplicate), (false, true));
    }
    let last = gateway.post(call_started(1)).await;
    let (mut replayed, _) = gateway.subscribe(from_earliest(Default::default())).await;
    for stream in [&mut live, &mut replayed] {
        let ids = stream.take(5).await.into_iter().map(|event| event.id);
        let expected = first.iter().chain([&last]).map(|stored| stored.id.clone());
        assert_eq!(ids.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_repeat_is_known_after_a_restart_too() {
    let gateway = Gateway::start().await;
    let first = gateway.post(SAMPLES[0]).await;
    let gateway = gateway.stop().await.start().await;
    let again = gateway.post(SAMPLES[0]).await;
    assert_eq!((again.id, again.sequence), (first.id, first.sequence));
    assert!(again.duplicate);
}

#[tokio::test]
async fn redeliveries_are_told_from_other_events() {
    let gateway = Gateway::start().await;
    let sample: Value = serde_json::from_str(SAMPLES[0]).unwrap();
    let first = gateway.post(SAMPLES[0]).await;
    let changed = |change: fn(&mut Value)| {
        let mut body = sample.clone();
        change(&mut body);
        body.to_string()
    };
    // White space, the order of keys, and the time of the envelope are not the event.
    let reversed: Vec<String> = sample
        .as_object()
        .unwrap()
        .iter()
        .rev()
        .map(|(key, value)| format!("{}:{value}", json!(key)))
        .collect();
    for same in [
        changed(|_| {}),
        format!("{{{}}}", reversed.join(" ,\n")),
        changed(|body| body["timestamp"] = json!("2026-04-27T13:00:00Z")),
        changed(|body| drop(body.as_object_mut().unwrap().remove("timestamp"))),
    ] {
        let again = gateway.post(same.clone()).await;
        assert_eq!((&again.id, again.duplicate), (&first.id, true), "{same}");
    }
    let changes: [fn(&mut Value); 6] = [
        |body| body["payload"]["status"] = json!("failed"),
        |body| body["organizationId"] = json!("another"),
        |body| body["traceId"] = json!("another"),
        |body| body["eventName"] = json!("CallHandler.CallEnded"),
        |body| body["payload"]["timestamp"] = json!(1),
        |body| body["new"] = Value::Null,
    ];
    for change in changes {
        let other = gateway.post(changed(change)).await;
        assert!(!other.duplicate, "{other:?}");
        assert_ne!(other.id, first.id);
    }
}

#[tokio::test]
async fn events_of_one_call_share_a_trace_id_and_are_events_of_their_own() {
    let gateway = Gateway::start().await;
    let stored = gateway.post_all(SAMPLES.map(String::from)).await;
    assert!(stored.iter().all(|stored| !stored.duplicate));
    // A transfer has no trace at all, and its progress is news.
    for status in ["pending", "initiated", "success"] {
        let body = CALL_TRANSFERRED.replace(r#""failed""#, &format!("{status:?}"));
        assert!(!gateway.post(body).await.duplicate, "{status}");
    }
}

#[tokio::test]
async fn ids_cannot_be_guessed_from_another_log() {
    let (one, two) = (Gateway::start().await, Gateway::start().await);
    let (one, two) = (one.post(SAMPLES[0]).await, two.post(SAMPLES[0]).await);
    assert_ne!(one.id, two.id);
}
