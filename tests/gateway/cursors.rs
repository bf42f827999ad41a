//! A cursor is exact, or refused with a reason: never a silent skip.

use std::{fs, path::Path};

use rusqlite::Connection;
use tonic::Code;
use verbex_gateway::proto::{
    Event, ExpiredCursorAction, SubscribeRequest, subscribe_response::Response,
};

use crate::support::{
    bodies::call_started,
    grpc::{Refusal, after, from_earliest, from_now, since},
    history::covered,
    process::{Gateway, Setup},
};

async fn refused(gateway: &Gateway, request: SubscribeRequest) -> Refusal {
    match gateway.try_subscribe(request).await {
        Err(status) => Refusal::of(&status),
        Ok(mut stream) => panic!("not refused: {:?}", stream.next().await),
    }
}

/// Events with their cursors.
async fn read(gateway: &Gateway, count: usize) -> Vec<(String, Event)> {
    let (mut stream, _) = gateway.subscribe(from_earliest(Default::default())).await;
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(stream.event().await);
    }
    events
}

#[tokio::test]
async fn what_is_no_cursor_is_refused_and_the_empty_one_is_told_what_to_do() {
    let gateway = Gateway::start().await;
    gateway.post(call_started(1)).await;
    let (cursor, _) = read(&gateway, 1).await.remove(0);
    let swapped: String = cursor.chars().rev().collect();
    for text in [
        "",
        "1",
        "0",
        "latest",
        &cursor[1..],
        &cursor[..cursor.len() - 1],
        &swapped,
        &format!("{cursor}A"),
        &format!(" {cursor}"),
        &"A".repeat(cursor.len()),
        &"x".repeat(100_000),
    ] {
        let refusal = refused(&gateway, after(text)).await;
        assert_eq!(refusal.row(), (Code::InvalidArgument, "CURSOR_INVALID"));
        assert_eq!(refusal.fields, ["after_cursor"]);
    }
    let empty = gateway.try_subscribe(after("")).await.err().unwrap();
    for advice in ["leave start unset", "start_position"] {
        assert!(empty.message().contains(advice), "{}", empty.message());
    }
}

#[tokio::test]
async fn a_cursor_of_another_log_is_told_from_ours() {
    let gateway = Gateway::start().await;
    let mut foreign = Vec::new();
    let (_, first) = gateway.subscribe(SubscribeRequest::default()).await;
    foreign.push(first.cursor);
    gateway.post_all((0..3).map(call_started)).await;
    foreign.extend(
        read(&gateway, 3)
            .await
            .into_iter()
            .map(|(cursor, _)| cursor),
    );

    // Recreated: the same events, in the same order, are another log.
    let setup = gateway.stop().await;
    fs::remove_dir_all(setup.data()).unwrap();
    let gateway = setup.start().await;
    gateway.post_all((0..3).map(call_started)).await;
    for cursor in foreign {
        let request = SubscribeRequest {
            // There is no gap in another log, only another log.
            expired_cursor_action: ExpiredCursorAction::Earliest.into(),
            ..after(&cursor)
        };
        for request in [after(&cursor), request] {
            let refusal = refused(&gateway, request).await;
            assert_eq!(
                refusal.row(),
                (Code::FailedPrecondition, "CURSOR_FOREIGN_LOG")
            );
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn a_cursor_from_before_a_restore_is_refused_where_the_logs_differ() {
    let gateway = Gateway::start().await;
    gateway.post_all((0..3).map(call_started)).await;
    let setup = gateway.stop().await;
    let backup = setup.folder().join("backup");
    copy(&setup.data(), &backup);
    let gateway = setup.start().await;
    gateway.post_all((3..6).map(call_started)).await;
    let events = read(&gateway, 6).await;

    let setup = gateway.stop().await;
    fs::remove_dir_all(setup.data()).unwrap();
    copy(&backup, &setup.data());
    let gateway = setup.start().await;
    let check = async |cursor: &str| {
        let refusal = refused(&gateway, after(cursor)).await;
        assert_eq!(
            refusal.row(),
            (Code::FailedPrecondition, "CURSOR_FOREIGN_LOG")
        );
    };
    // The log has not come so far yet; then it has, with other events.
    for (cursor, _) in &events[3..] {
        check(cursor).await;
    }
    gateway.post_all((10..14).map(call_started)).await;
    for (cursor, _) in &events[3..] {
        check(cursor).await;
    }
    // What both have in common is still a place in both.
    for (cursor, event) in &events[..3] {
        let (mut stream, _) = gateway.subscribe(after(cursor)).await;
        assert_eq!(stream.event().await.1.sequence, event.sequence + 1);
    }
}

/// A log of ten events whose first six are gone, the cursors of all, and the event that is the
/// earliest now.
async fn trimmed() -> (Gateway, Vec<String>, Event) {
    let gateway = Setup::new().start().await;
    gateway.post_all((0..10).map(call_started)).await;
    let events = read(&gateway, 10).await;
    let setup = gateway.stop().await;
    let log = Connection::open(setup.log_file()).unwrap();
    let removed = log.execute("DELETE FROM events WHERE sequence <= 6", []);
    assert_eq!(removed.unwrap(), 6);
    log.close().unwrap();
    let earliest = events[6].1.clone();
    let cursors = events.into_iter().map(|(cursor, _)| cursor).collect();
    (setup.start().await, cursors, earliest)
}

#[tokio::test]
async fn an_expired_cursor_is_told_where_to_go_on() {
    let (gateway, cursors, earliest) = trimmed().await;
    for cursor in &cursors[..5] {
        let refusal = refused(&gateway, after(cursor)).await;
        assert_eq!(refusal.row(), (Code::OutOfRange, "CURSOR_EXPIRED"));
        let time: jiff::Timestamp = refusal.metadata["earliest_time"].parse().unwrap();
        let received = earliest.receive_time.unwrap();
        assert_eq!(time.as_second(), received.seconds);
        assert_eq!(time.subsec_nanosecond(), received.nanos);
        let (mut stream, _) = gateway
            .subscribe(after(&refusal.metadata["earliest_cursor"]))
            .await;
        assert_eq!(stream.event().await.1, earliest);
    }
    // Behind the last one that is gone there is no gap.
    for (cursor, sequence) in cursors[5..9].iter().zip(7..) {
        let (mut stream, _) = gateway.subscribe(after(cursor)).await;
        assert_eq!(stream.event().await.1.sequence, sequence);
    }
}

#[tokio::test]
async fn who_asked_for_it_is_told_of_the_gap_and_goes_on() {
    let (gateway, cursors, earliest) = trimmed().await;
    let request = SubscribeRequest {
        expired_cursor_action: ExpiredCursorAction::Earliest.into(),
        ..after(&cursors[1])
    };
    let mut stream = gateway.try_subscribe(request.clone()).await.unwrap();
    let mut gaps = Vec::new();
    let first = loop {
        let message = stream.next().await.unwrap();
        match message.response {
            Some(Response::Event(event)) => break event,
            Some(Response::Gap(gap)) => {
                assert_eq!(covered(&message.cursor), 6);
                gaps.push(gap.earliest_time);
            }
            Some(Response::Progress(_)) | None => {}
        }
    };
    assert_eq!(gaps, [earliest.receive_time]);
    assert_eq!(first, earliest);
    // Where nothing is missing there is no gap.
    let request = SubscribeRequest {
        expired_cursor_action: ExpiredCursorAction::Earliest.into(),
        ..after(&cursors[5])
    };
    let (mut stream, _) = gateway.subscribe(request).await;
    assert_eq!(stream.event().await.1, earliest);
}

#[tokio::test]
async fn the_earliest_event_and_an_early_time_never_fail() {
    let (gateway, _, earliest) = trimmed().await;
    for request in [
        from_earliest(SubscribeRequest::default()),
        since(from_now(-3600)),
    ] {
        let (mut stream, _) = gateway.subscribe(request).await;
        assert_eq!(stream.event().await.1, earliest);
    }
    let setup = gateway.stop().await;
    let log = Connection::open(setup.log_file()).unwrap();
    log.execute("DELETE FROM events", []).unwrap();
    log.close().unwrap();
    let gateway = setup.start().await;
    let (mut stream, first) = gateway.subscribe(from_earliest(Default::default())).await;
    assert_eq!(covered(&first.cursor), 10);
    assert_eq!(gateway.post(call_started(20)).await.sequence, 11);
    assert_eq!(stream.event().await.1.sequence, 11);
}
