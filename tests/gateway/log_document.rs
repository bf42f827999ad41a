//! What docs/log.md says about the file is so: each query of the page works word by word, in the
//! tools that are on this machine, and the tables have the columns that it names.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use rusqlite::Connection;
use serde_json::json;

use crate::support::{
    bodies::{self, SAMPLES},
    process::Gateway,
};

const DOCUMENT: &str = include_str!("../../docs/log.md");
/// Runs one query with Python's SQLite, as an operator would.
const PYTHON: &str = "
import sqlite3, sys
log = sqlite3.connect('file:verbex-gateway-data/events.db?mode=ro', uri=True)
for row in log.execute(sys.argv[1]):
    print(row)
";

/// The blocks in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    let behind = DOCUMENT.split(&*begin).skip(1);
    behind
        .map(|text| text.split("```").next().unwrap_or_default())
        .collect()
}

/// A gateway whose log is where the page says, with something for each query to find.
async fn gateway() -> Gateway {
    let gateway = Gateway::start().await;
    let folder = gateway.setup.folder();
    symlink(gateway.setup.data(), folder.join("verbex-gateway-data")).unwrap();
    let mut refund = bodies::event("CallHandler.CallTransferred", 3);
    refund["payload"]["call_id"] = json!("6b05d10580adc3da94e60544");
    refund["transcript"] = json!([{"role": "user", "content": "A refund, please."}]);
    refund["call_summary"] = json!({"customer_sentiment": "negative"});
    // Both are of one call.
    let ended = bodies::event("CallHandler.CallEnded", 10);
    let analyzed = bodies::event("callAnalysis.pcaCompleted", 11);
    let posted = SAMPLES.map(String::from).into_iter();
    gateway
        .post_all(posted.chain([refund, ended, analyzed].map(|body| body.to_string())))
        .await;
    gateway
}

/// Runs a tool in the gateway's folder. None if this machine does not have it.
fn run(gateway: &Gateway, tool: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(tool)
        .args(args)
        .current_dir(gateway.setup.folder())
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("{tool} is not here, and is not tested");
            return None;
        }
        output => output.unwrap(),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn each_query_works_in_the_tools_that_operators_have() {
    let gateway = gateway().await;
    let queries = blocks("sql");
    assert!(queries.len() >= 8, "{}", queries.len());
    for query in queries {
        let file = "verbex-gateway-data/events.db";
        let found = [
            run(&gateway, "sqlite3", &["-readonly", "-batch", file, query]),
            run(&gateway, "python3", &["-c", PYTHON, query]),
        ];
        let log = Connection::open(gateway.setup.log_file()).unwrap();
        let mut statement = log.prepare(query).unwrap();
        let rows = statement.query_map([], |_| Ok(())).unwrap().count();
        if query.contains("'now'") {
            // What these find depends on the time of day.
            continue;
        }
        assert!(rows > 0, "finds nothing: {query}");
        for found in found.into_iter().flatten() {
            assert_eq!(found.lines().count(), rows, "{query}: {found}");
        }
    }
}

#[tokio::test]
async fn the_view_on_agents_is_complete_and_reads_no_other_events() {
    let gateway = gateway().await;
    // A copy with lists, as they are once there are more events, and an event behind them.
    let copy = gateway.setup.folder().join("copy.db");
    let log = Connection::open(gateway.setup.log_file()).unwrap();
    log.execute("VACUUM INTO ?1", [copy.to_str().unwrap()])
        .unwrap();
    let copied = Connection::open(&copy).unwrap();
    copied
        .execute_batch(
            "UPDATE log SET indexed_sequence = last_sequence - 1;
             INSERT INTO agent_places (agent_id, first, sequences, checksum)
                 SELECT agent_id, min(sequence), json_group_array(sequence), 0 FROM events
                 WHERE sequence <= (SELECT indexed_sequence FROM log) GROUP BY agent_id;",
        )
        .unwrap();
    let mut agents = copied
        .prepare("SELECT DISTINCT agent_id FROM events")
        .unwrap();
    let agents = agents.query_map([], |row| row.get::<_, String>(0)).unwrap();
    for agent in agents.map(Result::unwrap) {
        let query = |from| {
            format!("SELECT sequence, id_hex FROM {from} WHERE agent_id = '{agent}' ORDER BY 1")
        };
        let ask = |sql: &str| run(&gateway, "sqlite3", &["-readonly", "copy.db", sql]);
        let Some(found) = ask(&query("events_by_agent")) else {
            return;
        };
        assert!(!found.is_empty(), "{agent}");
        assert_eq!(Some(found), ask(&query("events")), "{agent}");
        let plan = ask(&format!("EXPLAIN QUERY PLAN {}", query("events_by_agent"))).unwrap();
        let by_list = "SEARCH place USING PRIMARY KEY (agent_id=?";
        assert!(plan.contains(by_list), "{plan}");
        assert!(!plan.contains("SCAN event"), "{plan}");
    }
}

#[tokio::test]
async fn each_command_that_uses_sqlite3_works_beside_a_running_gateway() {
    let gateway = gateway().await;
    if run(&gateway, "sqlite3", &["-version"]).is_none() {
        return;
    }
    let commands = blocks("sh");
    let commands = commands.iter().filter(|block| block.contains("sqlite3 "));
    assert!(commands.clone().count() > 0);
    for block in commands {
        let words = format!("set -e\n{block}");
        run(&gateway, "sh", &["-c", &words]);
    }
    // The gateway goes on.
    assert!(!gateway.post(bodies::call_started(99)).await.duplicate);
}

#[tokio::test]
async fn the_page_names_every_column_and_table_of_the_file() {
    let gateway = gateway().await;
    let log = Connection::open(gateway.setup.log_file()).unwrap();
    let names = |sql: &str| -> BTreeSet<String> {
        let mut statement = log.prepare(sql).unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    let tables = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')";
    let columns = "SELECT name FROM pragma_table_xinfo('events')
        UNION SELECT name FROM pragma_table_xinfo('log') WHERE name <> 'only'";
    for name in names(tables).into_iter().chain(names(columns)) {
        assert!(DOCUMENT.contains(&format!("`{name}`")), "{name}");
    }
}
