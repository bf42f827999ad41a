//! What the documents say about themselves, the version and the settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use super::{files, report, root};

/// The documents for people.
pub(super) fn all() -> BTreeMap<String, String> {
    let mut documents = files("docs", ".md");
    for name in [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ] {
        documents.insert(name.into(), fs::read_to_string(root().join(name)).unwrap());
    }
    documents
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
    for (name, text) in all() {
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
    for (name, text) in all() {
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

#[test]
fn the_stated_rust_version_is_the_one_that_cargo_asks_for() {
    let stated = format!("Rust {} or later", env!("CARGO_PKG_RUST_VERSION"));
    for name in ["README.md", "docs/clients.md"] {
        let text = fs::read_to_string(root().join(name)).unwrap();
        assert!(text.contains(&stated), "{name} does not say {stated}");
    }
}
