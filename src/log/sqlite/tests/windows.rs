//! How much of the log one read looks at.

use tokio::task::JoinSet;

use super::*;
use crate::{
    event::Position,
    filter::tests::selector,
    log::{Located, SCAN_ROWS_MAX},
    proto::EventFilter,
};

fn agent(agent_id: &str) -> EventFilter {
    EventFilter {
        agent_ids: vec![agent_id.into()],
        ..EventFilter::default()
    }
}

#[tokio::test]
async fn a_filter_without_matches_is_answered_a_window_at_a_time() {
    let home = Home::new();
    let log = home.open();
    let count = SCAN_ROWS_MAX + 10;
    let appends = (1..=count).map(|number| {
        let appender = log.appender.clone();
        async move { appender.append(event(number)).await.unwrap() }
    });
    appends.collect::<JoinSet<_>>().join_all().await;
    let everything = EventFilter::default();
    let filter = EventFilter {
        statuses: vec!["none has it".into()],
        ..EventFilter::default()
    };
    let query = Query {
        selector: selector(&filter, &everything),
        ..all()
    };
    let here = async |sequence| match log.reader.locate(Sequence(sequence)).await.unwrap() {
        Located::Here(position) => position,
        other => panic!("{other:?}"),
    };

    let batch = log.reader.read(query.clone()).await.unwrap();
    assert!(batch.events.is_empty() && !batch.complete);
    assert_eq!(batch.covered, here(SCAN_ROWS_MAX).await);
    let query = Query {
        after: batch.covered.sequence,
        ..query
    };
    let batch = log.reader.read(query.clone()).await.unwrap();
    assert!(batch.complete);
    assert_eq!(batch.covered, here(count).await);

    let query = Query {
        newest_first: true,
        after: Sequence::ZERO,
        ..query
    };
    let batch = log.reader.read(query.clone()).await.unwrap();
    assert!(batch.events.is_empty() && !batch.complete);
    assert_eq!(batch.covered, here(11).await);
    // An index finds the few events of one agent, wherever they are.
    let query = Query {
        selector: selector(&agent("nobody"), &everything),
        ..query
    };
    assert!(log.reader.read(query).await.unwrap().complete);
    // A selector that matches nothing reads nothing.
    let nothing = selector(&agent("a"), &agent("b"));
    for newest_first in [false, true] {
        let query = Query {
            selector: nothing.clone(),
            newest_first,
            ..all()
        };
        let batch = log.reader.read(query).await.unwrap();
        let end = match newest_first {
            true => Position::ORIGIN,
            false => here(count).await,
        };
        assert!(batch.events.is_empty() && batch.complete);
        assert_eq!(batch.covered, end);
    }
}
