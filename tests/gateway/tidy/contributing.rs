//! The places that CONTRIBUTING.md names are there.

use std::{collections::BTreeSet, fs};

use super::{files, report, root};

/// What stands between backticks outside of blocks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_path(quoted: &str) -> bool {
    let file = [".rs", ".toml", ".md", ".proto", ".yml"];
    !quoted.contains([' ', '<', '*'])
        && (quoted.contains('/') || file.iter().any(|end| quoted.ends_with(end)))
}

/// Names of a program, without what they belong to: `Filter::matches()` is `matches`.
fn name(quoted: &str) -> Option<&str> {
    let name = quoted.trim_end_matches("()").rsplit("::").next()?;
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_name && !name.is_empty()).then_some(name)
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .collect()
}

/// Each item of a list, and what goes on in the lines below it.
fn items(document: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        if let Some(item) = line.trim_start().strip_prefix("- ") {
            items.push(item.into());
            inside = true;
        } else if inside && line.starts_with(' ') {
            let item = items.last_mut().unwrap();
            item.push(' ');
            item.push_str(line.trim());
        } else {
            inside = false;
        }
    }
    items
}

/// What is wrong with the places that a document names: a path that does not exist, and a name in
/// an item of a list that the path before it does not have.
fn faults(document: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fenced = false;
    let prose = document.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced && !line.starts_with("```")
    });
    let prose = prose.collect::<Vec<_>>().join("\n");
    for path in quoted(&prose).filter(|quoted| is_path(quoted)) {
        if !root().join(path).exists() {
            faults.push(format!("{path} does not exist"));
        }
    }
    for item in items(&prose) {
        let mut file = None;
        for quoted in quoted(&item) {
            if is_path(quoted) {
                file = Some(quoted);
            } else if let (Some(file), Some(name)) = (file, name(quoted)) {
                let texts = match root().join(file) {
                    path if path.is_dir() => files(file, "").into_values().collect(),
                    path => fs::read_to_string(path).unwrap_or_default(),
                };
                if !words(&texts).contains(name) {
                    faults.push(format!("{file} has no {name}"));
                }
            }
        }
    }
    faults
}

#[test]
fn each_place_that_contributors_are_sent_to_is_there() {
    let text =
        "A `src/nowhere.rs`.\n\n- `src/lib.rs`: `nothing_like_it`,\n  `proto` and `client`\n";
    assert_eq!(
        faults(text),
        [
            "src/nowhere.rs does not exist",
            "src/lib.rs has no nothing_like_it"
        ]
    );

    let document = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    report(&faults(&document));
}
