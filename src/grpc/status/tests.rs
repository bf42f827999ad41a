use super::*;

fn every_failure() -> Vec<Failure> {
    vec![
        Failure::InvalidRequest(vec![Violation {
            field: "page_size".into(),
            description: "is negative".into(),
        }]),
        Failure::CursorInvalid { empty: true },
        Failure::CursorForeignLog,
        Failure::CursorExpired {
            earliest_cursor: "c".into(),
            earliest_time: Some(Timestamp::UNIX_EPOCH),
        },
        Failure::EventNotFound { id: "e".into() },
        Failure::SubscriberNotFound { id: "s".into() },
        Failure::CredentialsInvalid,
        Failure::ScopeDenied { method: "m".into() },
        Failure::OriginDenied { header: "origin" },
        Failure::SubscriberLimit { limit: 7 },
        Failure::RequestLimit {
            what: "things",
            limit: 7,
        },
        Failure::RequestTimeout,
        Failure::Draining,
        Failure::LogUnavailable,
        Failure::LogDamaged {
            sequence: Some(Sequence(7)),
            past: Some(("next_cursor", "c".into())),
        },
        Failure::Disconnected,
        Failure::DeadlineExceeded,
        Failure::MethodUnknown { method: "m".into() },
        Failure::EncodingUnsupported {
            encoding: "br".into(),
        },
        Failure::EncodingMissing,
        Failure::ContentTypeUnsupported {
            content_type: "application/grpc+json".into(),
        },
        Failure::ServiceUnknown,
        Failure::Internal { id: "i".into() },
    ]
}

#[test]
fn every_failure_is_in_the_table_for_users_with_what_its_answer_holds() {
    let document = include_str!("../../../docs/api.md");
    let rows: HashMap<&str, &str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .take_while(|(reason, _)| reason.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect();
    let failures = every_failure();
    assert_eq!(rows.len(), failures.len());
    for failure in failures {
        let (code, reason) = failure.code_and_reason();
        let (shown, told) = rows[reason].split_once(" | ").unwrap();
        let code = format!("{code:?}").to_uppercase();
        assert_eq!(shown.replace('_', ""), code, "{reason}");
        for key in failure.metadata().keys() {
            assert!(told.contains(&format!("`{key}`")), "{reason}: {key}");
        }
        assert_eq!(
            told.contains("`RetryInfo`"),
            failure.retry_after().is_some(),
            "{reason}"
        );
    }
}

#[test]
fn every_failure_carries_what_the_contract_says() {
    // code, reason, metadata keys, BadRequest field, RetryInfo
    let table = [
        (
            Code::InvalidArgument,
            "INVALID_REQUEST",
            vec![],
            Some("page_size"),
            false,
        ),
        (
            Code::InvalidArgument,
            "CURSOR_INVALID",
            vec![],
            Some("after_cursor"),
            false,
        ),
        (
            Code::FailedPrecondition,
            "CURSOR_FOREIGN_LOG",
            vec![],
            None,
            false,
        ),
        (
            Code::OutOfRange,
            "CURSOR_EXPIRED",
            vec!["earliest_cursor", "earliest_time"],
            None,
            false,
        ),
        (Code::NotFound, "EVENT_NOT_FOUND", vec!["id"], None, false),
        (
            Code::NotFound,
            "SUBSCRIBER_NOT_FOUND",
            vec!["id"],
            None,
            false,
        ),
        (
            Code::Unauthenticated,
            "CREDENTIALS_INVALID",
            vec![],
            None,
            false,
        ),
        (
            Code::PermissionDenied,
            "SCOPE_DENIED",
            vec!["method"],
            None,
            false,
        ),
        (
            Code::PermissionDenied,
            "ORIGIN_DENIED",
            vec!["header"],
            None,
            false,
        ),
        (
            Code::ResourceExhausted,
            "SUBSCRIBER_LIMIT",
            vec!["limit"],
            None,
            true,
        ),
        (
            Code::ResourceExhausted,
            "REQUEST_LIMIT",
            vec!["limit"],
            None,
            true,
        ),
        (
            Code::DeadlineExceeded,
            "REQUEST_TIMEOUT",
            vec![],
            None,
            false,
        ),
        (Code::Unavailable, "DRAINING", vec![], None, true),
        (Code::Unavailable, "LOG_UNAVAILABLE", vec![], None, true),
        (
            Code::DataLoss,
            "LOG_DAMAGED",
            vec!["next_cursor", "sequence"],
            None,
            false,
        ),
        (Code::Aborted, "DISCONNECTED", vec![], None, false),
        (
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            vec![],
            None,
            false,
        ),
        (
            Code::Unimplemented,
            "METHOD_UNKNOWN",
            vec!["method"],
            None,
            false,
        ),
        (
            Code::Unimplemented,
            "ENCODING_UNSUPPORTED",
            vec!["encoding"],
            None,
            false,
        ),
        (Code::Internal, "ENCODING_MISSING", vec![], None, false),
        (
            Code::Unimplemented,
            "CONTENT_TYPE_UNSUPPORTED",
            vec!["content_type"],
            None,
            false,
        ),
        (Code::NotFound, "SERVICE_UNKNOWN", vec![], None, false),
        (Code::Internal, "INTERNAL", vec!["id"], None, false),
    ];
    let failures = every_failure();
    assert_eq!(failures.len(), table.len());
    for (failure, (code, reason, keys, field, retry)) in failures.into_iter().zip(table) {
        let status = Status::from(failure);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (status.code(), info.reason.as_str(), info.domain.as_str()),
            (code, reason, DOMAIN)
        );
        let mut found: Vec<&str> = info.metadata.keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, keys, "{reason}");
        let violated = details
            .bad_request()
            .map(|bad| bad.field_violations[0].field.as_str());
        assert_eq!(violated, field, "{reason}");
        assert_eq!(details.retry_info().is_some(), retry, "{reason}");
    }
}
