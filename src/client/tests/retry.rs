//! For which errors the client waits, and which end the stream.

use std::collections::BTreeMap;

use super::*;
use crate::client::{
    error::code_name,
    retry::{Advice, BY_REASON},
};

const DOCUMENTED: &str = include_str!("../../../docs/api.md");
const STATUS: &str = include_str!("../../grpc/status.rs");

/// The documented retry table: whether to try again, and the code, by reason.
fn documented() -> BTreeMap<&'static str, (&'static str, Advice)> {
    let table = DOCUMENTED.split("\n## Errors\n").nth(1).unwrap();
    let rows = table.split("\n## ").next().unwrap().lines();
    let row = |row: &'static str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let reason = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        let advice = match cells[4] {
            "yes" => Advice::Resume,
            _ => Advice::Stop,
        };
        Some((reason, (cells[2], advice)))
    };
    rows.filter_map(row).collect()
}

#[test]
fn the_retry_table_is_the_documented_one() {
    let table: BTreeMap<&str, Advice> = BY_REASON.iter().copied().collect();
    assert_eq!(table.len(), BY_REASON.len(), "a reason stands twice");
    let documented = documented();
    let expected = documented
        .iter()
        .map(|(reason, (_, advice))| (*reason, *advice));
    assert_eq!(table, expected.collect());
}

#[test]
fn the_retry_table_has_every_reason_of_the_gateway() {
    let given = STATUS.split("(Code::").skip(1).filter_map(|rest| {
        let (_, reason) = rest.split(')').next()?.split_once(", \"")?;
        reason.strip_suffix('"')
    });
    let mut given: Vec<&str> = given.collect();
    let mut known: Vec<&str> = BY_REASON.iter().map(|(reason, _)| *reason).collect();
    given.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, given);
}

#[tokio::test]
async fn each_row_of_the_retry_table_is_what_a_subscriber_does() {
    let codes = (1..=16).map(Code::from);
    let codes: BTreeMap<&str, Code> = codes.map(|code| (code_name(code), code)).collect();
    for (reason, (code, advice)) in documented() {
        let refused = || vec![progress("c1"), Err(refusal(codes[code], reason))];
        let (gateway, address) = ScriptedGateway::start([refused(), vec![event(2)]]).await;
        let mut items = follow(&address);
        assert_eq!(next(&mut items).await, "progress c1");
        let told = next(&mut items).await;
        match advice {
            Advice::Resume => {
                assert_eq!(told, format!("interrupted: {reason}"));
                assert_eq!(next(&mut items).await, "event 2");
                assert_eq!(gateway.starts()[1], after("c1"), "{reason}");
            }
            Advice::Stop => {
                assert!(
                    told.starts_with("failed: ") && told.contains(reason),
                    "{told}"
                );
                assert_eq!(next(&mut items).await, "end");
                assert_eq!(gateway.starts().len(), 1, "{reason}");
            }
        }
    }
}

#[test]
fn without_a_known_reason_the_code_decides() {
    let check = |code, reason: &str, may_pass| {
        let error = Error::from_status("http://gateway", &refusal(code, reason));
        assert_eq!(error.may_pass(), may_pass, "{code:?} {reason}");
    };
    // A proxy gives no reason; a later gateway may give one that this version does not know.
    for reason in ["", "MOON_IS_FULL"] {
        for code in [
            Code::Unavailable,
            Code::Unknown,
            Code::Internal,
            Code::Aborted,
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::ResourceExhausted,
        ] {
            check(code, reason, true);
        }
        for code in [
            Code::InvalidArgument,
            Code::NotFound,
            Code::AlreadyExists,
            Code::PermissionDenied,
            Code::FailedPrecondition,
            Code::OutOfRange,
            Code::Unimplemented,
            Code::DataLoss,
            Code::Unauthenticated,
        ] {
            check(code, reason, false);
        }
    }
    // A known reason takes precedence over the code.
    check(Code::Unavailable, "CURSOR_EXPIRED", false);
    check(Code::FailedPrecondition, "DRAINING", true);
}

#[tokio::test]
async fn it_waits_as_long_as_the_gateway_asks_for() {
    let mut details = ErrorDetails::with_error_info(
        "SUBSCRIBER_LIMIT",
        "verbex.gateway",
        HashMap::<String, String>::new(),
    );
    details.set_retry_info(Some(Duration::from_secs(40)));
    let full = Status::with_error_details(Code::ResourceExhausted, "full", details);
    let (_, address) = ScriptedGateway::start([vec![Err(full)]]).await;
    match follow(&address).try_next().await {
        Ok(Some(Item::Interrupted { retry_in, .. })) => {
            assert_eq!(retry_in, Duration::from_secs(40));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_wait_grows_and_is_spread() {
    let lost = Error::Lost {
        address: String::new(),
        why: String::new(),
    };
    let waits: Vec<Duration> = (0..200).map(|_| lost.retry_in(3)).collect();
    assert!(waits.iter().all(|wait| *wait <= 8 * backoff::FIRST));
    assert!(waits.iter().any(|wait| *wait > 6 * backoff::FIRST));
    assert!(waits.iter().any(|wait| *wait < 2 * backoff::FIRST));
}

#[test]
fn an_expired_cursor_says_where_the_log_now_begins() {
    let metadata = HashMap::from([
        ("earliest_cursor".to_owned(), "c7".to_owned()),
        (
            "earliest_time".to_owned(),
            "2026-04-27T12:00:00Z".to_owned(),
        ),
    ]);
    let details = ErrorDetails::with_error_info("CURSOR_EXPIRED", "verbex.gateway", metadata);
    let status = Status::with_error_details(Code::OutOfRange, "gone", details);
    let error = Error::from_status("http://gateway", &status);
    assert!(
        error
            .to_string()
            .contains("received at 2026-04-27T12:00:00Z"),
        "{error}"
    );
    match error {
        Error::CursorExpired {
            earliest_cursor,
            earliest_time,
        } => {
            assert_eq!(earliest_cursor.as_deref(), Some("c7"));
            let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_777_291_200);
            assert_eq!(earliest_time, Some(noon));
        }
        other => panic!("{other:?}"),
    }
}
