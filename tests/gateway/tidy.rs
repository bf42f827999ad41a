//! The rules of the house that neither the compiler nor clippy knows. Calls that have few places
//! are in `clippy.toml`.

mod contributing;
mod documents;

mod inside;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Longer files have a second idea in them.
const LINES_MAX: usize = 500;

/// rustfmt's width. The test also covers long strings and macros, which rustfmt leaves alone.
const COLUMNS_MAX: usize = 100;

/// What each room may know of the others. `gateway` and `cli` may know all, and nobody knows them.
const ROOMS: [(&str, &[&str]); 19] = [
    ("admin", &["log"]),
    ("auth", &["filter", "view"]),
    ("client", &["proto"]),
    ("config", &["auth", "fanout", "log", "server", "webhook"]),
    ("event", &["proto"]),
    ("fanout", &["event", "filter", "log", "proto", "view"]),
    ("filter", &["event", "proto"]),
    (
        "grpc",
        &[
            "auth", "event", "fanout", "filter", "log", "proto", "sealed", "server", "view",
        ],
    ),
    ("log", &["event", "filter", "proto", "sealed"]),
    ("notices", &[]),
    ("proto", &[]),
    ("sealed", &[]),
    ("server", &["notices"]),
    ("simulate", &["proto"]),
    ("tls", &[]),
    ("verbex", &["event", "proto"]),
    ("view", &["event", "proto"]),
    ("vitals", &[]),
    ("webhook", &["log", "notices", "server", "verbex"]),
];

/// Where a clock may be asked for the time of day. Elsewhere that time comes in as an argument.
const CLOCKS: [&str; 6] = [
    "src/cli/",
    "src/fanout/",
    "src/grpc/",
    "src/log/",
    "src/tls/watch.rs",
    "src/webhook/",
];

/// Rooms without I/O, tasks and clocks of any kind.
const PURE: [&str; 6] = ["event", "filter", "sealed", "simulate", "verbex", "view"];

/// What a pure room does not have.
const IMPURE: [&str; 6] = [
    "std::fs",
    "std::net",
    "std::thread",
    "tokio::",
    "Instant::now(",
    "SystemTime::now(",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Texts below a folder whose names end so, by their path in the project.
fn files(folder: &str, end: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                // A file that is no text is a fixture.
                if let Ok(text) = String::from_utf8(fs::read(&path).unwrap()) {
                    found.insert(name, text);
                }
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

/// The code of the program itself: without tests and comments.
fn code() -> BTreeMap<String, String> {
    let mut code = files("src", ".rs");
    code.retain(|name, _| !name.ends_with("/tests.rs") && !name.contains("/tests/"));
    for text in code.values_mut() {
        let mut tests = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at);
        let is_module = |at: &usize| {
            let item = text[*at..].lines().nth(1);
            // Of a file of tests there is one line here, and the program goes on behind it.
            item.is_some_and(|item| {
                item.split_whitespace().any(|word| word == "mod") && !item.ends_with(';')
            })
        };
        let program = &text[..tests.find(is_module).unwrap_or(text.len())];
        let lines = program
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        *text = lines.collect::<Vec<_>>().join("\n");
    }
    code
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn a_file_has_one_idea_and_so_an_end() {
    let mut faults = Vec::new();
    for (name, text) in files("src", ".rs").into_iter().chain(files("tests", ".rs")) {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{name} has {lines} lines, more than {LINES_MAX}"));
        }
    }
    report(&faults);
}

#[test]
fn a_line_ends_at_100_columns() {
    let mut faults = Vec::new();
    for folder in ["src", "tests", "benches", "examples"] {
        for (name, text) in files(folder, ".rs") {
            // How a terminal shows it.
            let shows = |line: &str| name == "src/cli/pretty/tests.rs" && line.ends_with("\\n\",");
            for (line, number) in text.lines().zip(1..) {
                // A raw string cannot go on in the next line.
                let may = line.contains("r#\"") || shows(line);
                if line.chars().count() > COLUMNS_MAX && !may {
                    faults.push(format!("{name}:{number}: {}", line.trim()));
                }
            }
        }
    }
    report(&faults);
}

/// Rooms that a text names behind `crate::`, alone or in a list.
fn rooms_of(text: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        let letters = text.trim_start().chars();
        letters
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut rooms = BTreeSet::new();
    for behind in text.split("crate::").skip(1) {
        let Some(list) = behind.strip_prefix('{') else {
            rooms.insert(word(behind));
            continue;
        };
        // Elements of the list itself, not of those within.
        let (mut depth, mut begins) = (1, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => begins = true,
                c if begins && c.is_alphabetic() => {
                    rooms.insert(word(&list[at..]));
                    begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    rooms
}

#[test]
fn imports_point_one_way() {
    let text = "use crate::{a::{b, c}, d,\n e}; fn f(x: crate::g::H) {}";
    assert_eq!(
        rooms_of(text),
        ["a", "d", "e", "g"].map(String::from).into()
    );

    let mut faults = Vec::new();
    for (name, text) in code() {
        let path = name.trim_start_matches("src/").trim_end_matches(".rs");
        let room = path.split('/').next().unwrap_or_default();
        if ["cli", "gateway", "lib", "main"].contains(&room) {
            continue;
        }
        let Some((_, known)) = ROOMS.iter().find(|(known, _)| *known == room) else {
            faults.push(format!("{name}: what may {room} know? Say it in ROOMS"));
            continue;
        };
        for other in rooms_of(&text) {
            if other != room && !known.contains(&other.as_str()) {
                faults.push(format!(
                    "{name} imports {other}, which {room} is not to know"
                ));
            }
        }
    }
    report(&faults);
}

#[test]
fn only_some_rooms_ask_a_clock() {
    let mut faults = Vec::new();
    for (name, text) in code() {
        let may = CLOCKS.iter().any(|place| name.starts_with(place));
        if !may && text.contains("Timestamp::now(") {
            faults.push(format!("{name} asks what time it is"));
        }
        let pure = PURE.iter().any(|room| {
            let inside = name["src/".len()..].strip_prefix(room);
            inside.is_some_and(|rest| rest.starts_with(['/', '.']))
        });
        for word in IMPURE {
            if pure && text.contains(word) {
                faults.push(format!("{name} is to be pure and has {word}"));
            }
        }
    }
    report(&faults);
}

#[test]
fn nothing_is_left_over() {
    // In two parts, so that they are not found here.
    let markers = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ig", "nore"),
    ];
    let mut faults = Vec::new();
    let code = files("src", "").into_iter().chain(files("tests", ""));
    let texts = code.chain(files("proto", ".proto")).chain(documents::all());
    for (name, text) in texts {
        for (line, number) in text.lines().zip(1..) {
            if markers.iter().any(|marker| line.contains(marker)) {
                faults.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    report(&faults);
}
