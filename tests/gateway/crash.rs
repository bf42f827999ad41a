//! SIGKILL takes nothing back that was answered or delivered.

use verbex_gateway::proto::SubscribeRequest;

use crate::support::{
    bodies::{call_started, mixed},
    grpc::{after, impatient},
    history::{History, Load, Recorder, last_stored},
    process::Gateway,
    promises::{judge, requests},
};

#[tokio::test]
async fn what_was_answered_before_a_kill_is_delivered_after_it() {
    let gateway = Gateway::start().await;
    let (stream, first) = gateway.subscribe(SubscribeRequest::default()).await;
    let stored = gateway.post(call_started(1)).await;
    // Nobody has read it: the answer is all that there was.
    let setup = gateway.kill().await;
    drop(stream);
    let gateway = setup.start().await;
    let (mut stream, _) = gateway.subscribe(after(&first.cursor)).await;
    let (_, event) = stream.event().await;
    assert_eq!((event.id, event.sequence), (stored.id, stored.sequence));
}

#[tokio::test]
async fn kills_under_load_break_no_promise() {
    let mut gateway = Gateway::start().await;
    let recorders = requests().map(|request| Recorder::start(gateway.grpc, impatient(request)));
    for recorder in &recorders {
        recorder.subscribed().await;
    }
    // Two senders, so that groups have more than one event; every tenth body is sent twice.
    let bodies = |range: std::ops::Range<usize>| {
        range.flat_map(|number| {
            let times = if number.is_multiple_of(10) { 2 } else { 1 };
            std::iter::repeat_n(mixed(number), times)
        })
    };
    let (one, two) = (bodies(0..1000), bodies(10_000..11_000));
    let loads = [Load::start(&gateway, one), Load::start(&gateway, two)];
    for stored in [100, 250, 400] {
        loads[0].stored(stored).await;
        gateway = gateway.kill().await.start().await;
    }
    let mut history = History::default();
    for load in loads {
        history.posts.extend(load.finished().await);
    }
    let unanswered = history.posts.iter().filter(|post| post.answer.is_none());
    assert!(unanswered.count() > 0, "the kills came in between");
    let last = last_stored(&history.posts);
    for recorder in recorders {
        history.subscribers.push(recorder.until(last).await);
    }
    assert!(history.subscribers[0].connections.len() > 3);
    judge(&history);
}
