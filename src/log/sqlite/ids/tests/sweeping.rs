//! What retention removes leaves the index, too.

use std::time::{Duration, Instant};

use super::{super::sweep, *};

/// Removes all events but the newest, as retention does, and what the index says of them.
fn keep(log: &mut Log, events: u64) {
    let trimmed = log.last.saturating_sub(events);
    log.trim(trimmed);
    let delete = "DELETE FROM events WHERE sequence <= ?1";
    log.conn.execute(delete, [trimmed]).unwrap();
    let mut from = Some(String::new());
    while let Some(agent) = from {
        // A step that has no time does something all the same.
        from = sweep(&log.conn, &agent, Sequence(trimmed), Instant::now()).unwrap();
    }
}

fn number(log: &Log, sql: &str) -> u64 {
    log.conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn with_retention_the_file_keeps_its_size() {
    let mut log = Log::new();
    let mut pages = Vec::new();
    for round in 0..36 {
        for group in 0..6 {
            let first = (round * 6 + group) * 12;
            log.commit(&Vec::from_iter(first..first + 12));
        }
        log.work_off();
        keep(&mut log, 200);
        pages.push(number(&log, "PRAGMA page_count"));
    }
    let most = |pages: &[u64]| pages.iter().copied().max().unwrap();
    assert!(most(&pages[24..]) <= most(&pages[8..24]) + 1, "{pages:?}");
    let gone = "SELECT count(*) FROM agent_places
        WHERE json_extract(sequences, '$[#-1]') <= (SELECT trimmed_sequence FROM log)";
    assert_eq!(number(&log, gone), 0);
    // A new run is made, and what was trimmed before goes with that.
    log.commit(&Vec::from_iter(10_000..10_024));
    log.work_off();
    let gone = "SELECT count(*) FROM id_runs
        WHERE last_sequence <= (SELECT trimmed_sequence FROM log)";
    assert_eq!(number(&log, gone), 0);
    log.check(36 * 72);
}

#[test]
fn a_list_goes_when_its_last_event_has_gone_and_not_before() {
    let mut log = with_runs();
    let lists = |log: &Log| -> Vec<(String, String)> {
        let sql = "SELECT agent_id, sequences FROM agent_places ORDER BY 1, first";
        let mut lists = log.conn.prepare(sql).unwrap();
        let lists = lists.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        lists.unwrap().map(Result::unwrap).collect()
    };
    let before = lists(&log);
    let later = Instant::now() + Duration::from_secs(60);
    for trimmed in [0, 1, 7, 8, 9, 100] {
        assert_eq!(
            sweep(&log.conn, "", Sequence(trimmed), later).unwrap(),
            None
        );
        let left = before.iter().filter(|(_, list)| {
            let list: Vec<u64> = serde_json::from_str(list).unwrap();
            list.last().is_some_and(|last| *last > trimmed)
        });
        assert_eq!(lists(&log), left.cloned().collect::<Vec<_>>(), "{trimmed}");
    }
    log.trim(100);
    log.check(500);
}
