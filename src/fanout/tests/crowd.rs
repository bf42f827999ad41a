//! Many subscribers that come or leave at once do not hold up live ones.

use futures_util::{FutureExt, future::join_all, poll};
use tokio::task::unconstrained;

use super::*;
use crate::{event::Sequence, log::Followed};

const CROWD: usize = 200;

/// A request with a large filter that is unique to `number`; without a number, for everything.
fn request(number: Option<usize>) -> Request {
    let filter = number.map(|number| EventFilter {
        agent_ids: (0..1_000).map(|agent| agent.to_string()).collect(),
        statuses: vec![number.to_string()],
        ..EventFilter::default()
    });
    Request {
        filter: Arc::default(),
        selector: selector(&filter.unwrap_or_default(), &EventFilter::default()),
        view: View::Standard,
        redaction: Redaction::default(),
        encoding: Encoding::Identity,
        start: Start::Latest,
        progress_interval: Duration::from_secs(60),
        expired: ExpiredAction::Fail,
        name: "test".into(),
        peer: String::new(),
    }
}

/// The test decides when the router runs and when it learns of new events, so nothing depends on
/// how fast the machine is.
#[tokio::test]
async fn an_event_goes_out_while_many_with_large_filters_come_and_while_they_leave() {
    let dir = TempDir::new().unwrap();
    let mut metrics = Metricsbook::default();
    let log_config = log::Config {
        data_dir: dir.path().to_owned(),
        consent: Default::default(),
        limits: log::Limits::NONE,
    };
    let log = log::open(&log_config, log::Metrics::register(&mut metrics)).unwrap();
    let (publisher, followers) = log::followers(log.reader.clone(), *log.tail.borrow());
    let mut committed = log.followers.from(Sequence::ZERO);
    let config = Config {
        subscribers_max: 2 * CROWD,
        ..roomy()
    };
    let (fanout, router) = Fanout::new(
        config,
        log.identity.epoch,
        log.reader,
        followers,
        Metrics::register(&mut metrics),
    );
    // The test is one task, which would soon use up tokio's budget for a task.
    let mut router = Box::pin(unconstrained(router));
    let mut commit = async |id: u8| {
        log.appender.append(new_event(id, "a")).await.unwrap();
        match committed.next().await {
            Some(Followed::Group(group)) => publisher.committed(group),
            other => panic!("{other:?}"),
        }
    };

    let mut joining = Box::pin(fanout.subscribe(request(None)));
    assert!(poll!(&mut joining).is_pending());
    assert!(poll!(&mut router).is_pending());
    let mut live = joining.await.unwrap();
    live.next().await.unwrap();

    let crowd = (0..CROWD).map(|number| fanout.subscribe(request(Some(number))));
    let mut joins = Box::pin(unconstrained(join_all(crowd)));
    assert!(poll!(&mut joins).is_pending());
    assert!(poll!(&mut router).is_pending());
    commit(1).await;
    assert!(poll!(&mut router).is_pending());
    assert!(
        poll!(&mut joins).is_pending(),
        "the event did not wait for the last who came"
    );
    assert!(live.next().now_or_never().is_some());

    let joined = loop {
        assert!(poll!(&mut router).is_pending());
        if let Some(joined) = (&mut joins).now_or_never() {
            break joined;
        }
    };
    drop(joined);
    assert!(poll!(&mut router).is_pending());
    commit(2).await;
    assert!(poll!(&mut router).is_pending());
    assert!(
        fanout.classes.count() > 1,
        "the event did not wait for the last who left"
    );
    assert!(live.next().now_or_never().is_some());
    while fanout.classes.count() > 1 {
        assert!(poll!(&mut router).is_pending());
    }
}
