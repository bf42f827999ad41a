//! The rules of the house, which no compiler knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Longer files have a second idea in them.
const LINES_MAX: usize = 500;

/// What each room may know of the others. `gateway` and `cli` may know all, and nobody knows them.
const ROOMS: [(&str, &[&str]); 19] = [
    ("admin", &["log"]),
    ("auth", &[]),
    ("client", &["proto"]),
    ("config", &["auth", "fanout", "log", "webhook"]),
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

/// Calls that have one place, or none: the call, where it may be, and why nowhere else.
const CALLS: [(&str, &[&str], &str); 9] = [
    (
        "tokio::spawn(",
        &["src/webhook/mod.rs", "src/fanout/catchup.rs", "src/cli/"],
        "a task belongs to who waits for its end",
    ),
    (
        "println!(",
        &[],
        "output is written where a closed pipe is no panic",
    ),
    ("dbg!(", &[], "left over"),
    (
        "env::var",
        &["src/cli/", "src/config/"],
        "the environment is read once, with the configuration",
    ),
    (
        "process::exit(",
        &["src/cli/"],
        "an exit skips what others would still do",
    ),
    ("thread::sleep(", &[], "a blocked thread serves nobody"),
    (
        "unbounded_channel(",
        &["src/fanout/"],
        "every queue is bounded; the router's is by what sends into it",
    ),
    (
        "Timestamp::now(",
        &[
            "src/cli/",
            "src/fanout/",
            "src/grpc/",
            "src/log/",
            "src/tls/watch.rs",
            "src/webhook/",
        ],
        "time comes in as an argument",
    ),
    (
        ".unwrap()",
        &[],
        "nothing that input, disk or network can reach may panic",
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below a folder whose names end so, by their path in the project.
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
                found.insert(name, fs::read_to_string(&path).unwrap());
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
            item.is_some_and(|item| item.split_whitespace().any(|word| word == "mod"))
        };
        let program = &text[..tests.find(is_module).unwrap_or(text.len())];
        let lines = program
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        *text = lines.collect::<Vec<_>>().join("\n");
    }
    code
}

/// The documents for people.
fn documents() -> BTreeMap<String, String> {
    let mut documents = files("docs", ".md");
    for name in ["README.md", "CHANGELOG.md"] {
        documents.insert(name.into(), fs::read_to_string(root().join(name)).unwrap());
    }
    documents
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
fn calls_that_have_their_place_are_nowhere_else() {
    let mut faults = Vec::new();
    for (name, text) in code() {
        for (call, places, why) in CALLS {
            // `eprintln!` is another one.
            let called = text.lines().find(|line| {
                let before = line.find(call).map(|at| line[..at].ends_with('e'));
                before == Some(false)
            });
            if let Some(line) = called
                && !places.iter().any(|place| name.starts_with(place))
            {
                faults.push(format!("{name}: {} ({why})", line.trim()));
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
    let texts = code.chain(files("proto", ".proto")).chain(documents());
    for (name, text) in texts {
        for (line, number) in text.lines().zip(1..) {
            if markers.iter().any(|marker| line.contains(marker)) {
                faults.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    report(&faults);
}

/// A heading as the anchor that links use.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(document: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let headings = document.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && line.starts_with('#')
    });
    headings.map(anchor).collect()
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut faults = Vec::new();
    for (name, text) in documents() {
        for behind in text.split("](").skip(1) {
            let link = behind.split(')').next().unwrap_or_default();
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let (path, wanted) = link.split_once('#').unwrap_or((link, ""));
            let from = root().join(&name);
            let target: PathBuf = match path {
                "" => from,
                path => from.parent().unwrap().join(path),
            };
            let found = match wanted {
                "" => target.exists(),
                wanted => fs::read_to_string(&target)
                    .is_ok_and(|document| anchors(&document).contains(wanted)),
            };
            if !found {
                faults.push(format!("{name} links to {link}"));
            }
        }
    }
    report(&faults);
}

#[test]
fn documents_name_no_paths_of_the_machine_that_they_were_written_on() {
    let mut faults = Vec::new();
    for (name, text) in documents() {
        for (line, number) in text.lines().zip(1..) {
            if ["/work/", "/root/", "/tmp/"]
                .iter()
                .any(|path| line.contains(path))
            {
                faults.push(format!("{name}:{number}: {line}"));
            }
        }
    }
    report(&faults);
}

#[test]
fn the_changelog_has_this_version() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let headings = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## "));
    let mut versions = headings.filter_map(|heading| heading.split_whitespace().next());
    assert!(versions.any(|heading| heading == version), "{version}");
}

/// Settings of the commented file of defaults; `–` stands for those without one.
fn default_settings() -> BTreeMap<String, String> {
    let file = fs::read_to_string(root().join("config.default.toml")).unwrap();
    let mut section = String::new();
    let mut settings = BTreeMap::new();
    for line in file.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if line.starts_with("#[[") {
            // Tables that come as often as one likes are no settings with a default.
            break;
        } else if let Some((key, value)) = line.split_once(" = ") {
            let (key, value) = match key.strip_prefix('#') {
                None => (key, format!("`{value}`")),
                Some(key) => (key, "–".into()),
            };
            if key.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                settings.insert(format!("{section}{key}"), value);
            }
        }
    }
    settings
}

#[test]
fn the_readme_has_every_setting_with_its_default() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let table = readme
        .split("| setting | default |")
        .nth(1)
        .expect("a table");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with("| "));
    let documented: BTreeMap<String, String> = rows
        .filter_map(|row| {
            let mut cells = row.split('|').map(str::trim).skip(1);
            let key = cells.next()?.trim_matches('`').to_owned();
            Some((key, cells.next()?.to_owned()))
        })
        .collect();
    assert_eq!(documented, default_settings());
}
