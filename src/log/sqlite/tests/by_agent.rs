//! Reads of some agents' events: with their lists, with what the writer knows of the newest events,
//! and without either, a read finds what the rows say.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    filter::tests::selector,
    log::{Damage, ReadError, Reader, tests::property},
    proto::EventFilter,
};

/// An event of one of a few agents.
fn of_agent(number: u64, agent: u8) -> crate::event::NewEvent {
    let mut event = event(number);
    event.event.agent_id = format!("agent-{agent}");
    event
}

fn by_agents(agents: &[u8], newest_first: bool) -> Query {
    let filter = EventFilter {
        agent_ids: agents
            .iter()
            .map(|agent| format!("agent-{agent}"))
            .collect(),
        ..EventFilter::default()
    };
    Query {
        selector: selector(&filter, &EventFilter::default()),
        newest_first,
        ..all()
    }
}

/// Reads a stretch to its end.
async fn read(reader: &Reader, mut query: Query) -> Result<Vec<u64>, ReadError> {
    let mut found = Vec::new();
    loop {
        let batch = reader.read(query.clone()).await?;
        found.extend(numbers(&batch));
        if batch.complete {
            return Ok(found);
        }
        let covered = batch.covered.sequence;
        assert!((query.after..=query.through).contains(&covered));
        match query.newest_first {
            true => query.through = Sequence(covered.0 - 1),
            false => query.after = covered,
        }
    }
}

impl Home {
    fn column(&self, sql: &str) -> Vec<u64> {
        let file = Connection::open(self.file()).unwrap();
        let mut statement = file.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn rows_of(&self, agents: &[u8], query: &Query) -> Vec<u64> {
        let agents: Vec<String> = agents.iter().map(|of| format!("'agent-{of}'")).collect();
        let (agents, order) = (
            agents.join(","),
            ["ASC", "DESC"][usize::from(query.newest_first)],
        );
        let (after, through) = (query.after.0, i64::try_from(query.through.0));
        let through = through.unwrap_or(i64::MAX);
        self.column(&format!(
            "SELECT sequence FROM events
             WHERE agent_id IN ({agents}) AND sequence > {after} AND sequence <= {through}
             ORDER BY sequence {order}"
        ))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u8>),
    Trim(u64),
    Erase(u64),
    Restart,
    Read {
        agents: Vec<u8>,
        newest_first: bool,
        after: u64,
        length: u64,
        events_max: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let read = (
        vec(0..6u8, 1..4),
        any::<bool>(),
        0..80u64,
        0..80u64,
        1..9usize,
    );
    let step = prop_oneof![
        6 => vec(0..5u8, 1..30).prop_map(Step::Append),
        1 => (1..20u64).prop_map(Step::Trim),
        1 => (0..80u64).prop_map(Step::Erase),
        1 => Just(Step::Restart),
        5 => read.prop_map(|(agents, newest_first, after, length, events_max)| Step::Read {
            agents, newest_first, after, length, events_max,
        }),
    ];
    vec(step, 1..25)
}

#[test]
fn a_read_of_agents_finds_what_the_rows_say() {
    property(12, &steps(), async |steps| {
        let home = Home::new();
        let mut log = home.open();
        let (mut last, mut trimmed) = (0, 0);
        for step in steps {
            match step {
                Step::Append(agents) => {
                    for agent in agents {
                        last += 1;
                        log.appender.append(of_agent(last, agent)).await.unwrap();
                    }
                }
                Step::Trim(more) => {
                    trimmed = last.min(trimmed + more);
                    home.trim(trimmed);
                }
                Step::Erase(place) => home.erase(&[trimmed + place % 80]),
                Step::Restart => {
                    log.appender.finish().await;
                    log = home.open();
                }
                Step::Read {
                    agents,
                    newest_first,
                    after,
                    length,
                    events_max,
                } => {
                    let query = Query {
                        after: Sequence(trimmed + after),
                        through: Sequence(trimmed + after + length),
                        events_max,
                        ..by_agents(&agents, newest_first)
                    };
                    match read(&log.reader, query.clone()).await {
                        Ok(found) => assert_eq!(found, home.rows_of(&agents, &query), "{query:?}"),
                        // Somebody has removed the oldest events.
                        Err(ReadError::Expired(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
        for newest_first in [false, true] {
            let query = Query {
                after: Sequence(home.column("SELECT ifnull(min(sequence) - 1, 0) FROM events")[0]),
                ..by_agents(&[1, 3], newest_first)
            };
            // Once with what the writer knows, and once without.
            let without = super::super::open_read_only(&home.config().data_dir).unwrap();
            for reader in [&log.reader, &without.reader] {
                if last > trimmed {
                    let found = numbers(&reader.read(query.clone()).await.unwrap());
                    assert_eq!(found, home.rows_of(&[1, 3], &query));
                }
            }
        }
    });
}

/// A log of events of three agents, of which many are in lists.
async fn listed(home: &Home) -> Log {
    let log = home.open();
    let indexed = || home.column("SELECT indexed_sequence FROM log")[0];
    for number in 1.. {
        let agent = (number % 3) as u8;
        log.appender.append(of_agent(number, agent)).await.unwrap();
        if number % 10 == 0 && indexed() >= 32 {
            break;
        }
        // The thread that sorts gets time.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    log
}

#[tokio::test]
async fn damaged_lists_hide_no_event() {
    for damage in [
        "UPDATE agent_places SET sequences = '[1,4,8]' WHERE agent_id = 'agent-1'",
        "UPDATE agent_places SET sequences = '[1,4' WHERE agent_id = 'agent-1'",
        "UPDATE agent_places SET first = first + 1 WHERE agent_id = 'agent-1'",
        "UPDATE agent_places SET checksum = 1 WHERE first > 20",
    ] {
        let home = Home::new();
        let log = listed(&home).await;
        home.sql(damage);
        for newest_first in [false, true] {
            let query = Query {
                events_max: 4,
                ..by_agents(&[1], newest_first)
            };
            let found = read(&log.reader, query.clone()).await.unwrap();
            assert_eq!(found, home.rows_of(&[1], &query), "{damage}");
        }
    }
}

#[tokio::test]
async fn a_damaged_page_of_lists_hides_no_event() {
    let home = Home::new();
    listed(&home).await.appender.finish().await;
    let root = home.column("SELECT rootpage FROM sqlite_schema WHERE name = 'agent_places'")[0];
    let file = fs::OpenOptions::new()
        .write(true)
        .open(home.file())
        .unwrap();
    let at = (root - 1) * 8192;
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xa5; 8192], at).unwrap();
    let log = super::super::open_read_only(&home.config().data_dir).unwrap();
    for newest_first in [false, true] {
        let query = by_agents(&[0, 2], newest_first);
        let found = read(&log.reader, query.clone()).await.unwrap();
        assert_eq!(found, home.rows_of(&[0, 2], &query));
    }
}

#[tokio::test]
async fn a_damaged_event_is_told_to_who_reads_its_agent_and_hides_no_other() {
    let home = Home::new();
    let log = listed(&home).await;
    home.sql("UPDATE events SET status = 'x' WHERE sequence = 7");
    for newest_first in [false, true] {
        let error = read(&log.reader, by_agents(&[1], newest_first))
            .await
            .unwrap_err();
        let damage = match error {
            ReadError::Damaged { damage, .. } => damage,
            other => panic!("{other}"),
        };
        assert_eq!(damage, Some(Damage::at(Sequence(7))));
        let query = by_agents(&[0, 2], newest_first);
        let found = read(&log.reader, query.clone()).await.unwrap();
        assert_eq!(found, home.rows_of(&[0, 2], &query));
    }
}

#[tokio::test]
async fn while_no_events_come_work_on_the_index_goes_on() {
    let home = Home::new();
    let log = home.open();
    for number in 1..=70 {
        log.appender.append(of_agent(number, 1)).await.unwrap();
    }
    let all_in_runs = async {
        // Merges, and what they replace, too.
        let is_done = "SELECT indexed_sequence >= 64
                AND (SELECT count(*) FROM id_runs) <= 2
                AND NOT EXISTS (SELECT 1 FROM id_parts WHERE place >> 40 NOT IN
                    (SELECT run FROM id_runs))
            FROM log";
        while home.column(is_done)[0] == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_in_runs)
        .await
        .expect("it ends");
    let query = by_agents(&[1], true);
    let found = read(&log.reader, query.clone()).await.unwrap();
    assert_eq!(found, home.rows_of(&[1], &query));
}

#[tokio::test]
async fn whoever_reads_an_agent_meets_an_event_of_which_the_agent_cannot_be_read() {
    let home = Home::new();
    let log = home.open();
    for number in 1..=20 {
        log.appender.append(of_agent(number, 1)).await.unwrap();
    }
    log.appender.finish().await;
    home.sql("UPDATE events SET agent_id = CAST(x'ff' AS TEXT) WHERE sequence = 18");
    let log = home.open();
    let damage = |result| match result {
        Err(ReadError::Damaged { damage, .. }) => damage,
        other => panic!("{other:?}"),
    };
    for number in 21..=80 {
        // In memory at first, then in a list.
        if number % 20 == 1 {
            let found = damage(read(&log.reader, by_agents(&[1], false)).await);
            assert_eq!(found, Some(Damage::at(Sequence(18))), "{number}");
        }
        log.appender.append(of_agent(number, 1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let unknown = "SELECT count(*) FROM agent_places WHERE agent_id = char(0)";
    assert_eq!(home.column(unknown), [1]);
}
