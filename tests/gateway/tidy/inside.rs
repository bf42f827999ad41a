//! Inside a room, too, imports point one way: no two files need each other.

use std::collections::{BTreeMap, BTreeSet};

/// Rooms that keep to it.
const ROOMS: [&str; 4] = ["config", "fanout", "gateway", "log"];

/// A path in code, without what stands before the room's name.
type Path = Vec<String>;

/// A room as its files, by the path of the module that each one is.
struct Room {
    files: BTreeMap<Path, Imports>,
}

/// What a file names, as paths from the crate's root.
#[derive(Default)]
struct Imports {
    /// By `use`, with the name that it has here.
    used: BTreeMap<String, Path>,
    /// All of it, also without `use`.
    named: BTreeSet<Path>,
}

impl Room {
    /// From code by the file's path below `src/`.
    fn new<'a>(code: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let texts: BTreeMap<Path, &str> = code
            .into_iter()
            .map(|(file, text)| (module(file), text))
            .collect();
        let modules: BTreeSet<Path> = texts.keys().cloned().collect();
        let files = texts
            .into_iter()
            .map(|(module, text)| {
                let imports = Imports::of(&module, text, &modules);
                (module, imports)
            })
            .collect();
        Self { files }
    }

    /// The file that has what a path names: where it is defined, however often it is passed on.
    fn file_of(&self, path: &[String]) -> Option<&Path> {
        let length = (1..=path.len())
            .rev()
            .find(|&length| self.files.contains_key(&path[..length]))?;
        let (module, imports) = self.files.get_key_value(&path[..length])?;
        let passed_on = path.get(length).and_then(|name| imports.used.get(name));
        match passed_on {
            Some(target) if target[..] != *path => {
                let rest = target.iter().chain(&path[length + 1..]).cloned();
                self.file_of(&rest.collect::<Path>())
            }
            _ => Some(module),
        }
    }

    fn needs(&self, module: &Path) -> BTreeSet<&Path> {
        let named = self.files[module].named.iter();
        let files = named.filter_map(|path| self.file_of(path));
        files.filter(|file| *file != module).collect()
    }

    /// Files that need each other in a circle, if there are some.
    fn circle(&self) -> Option<Vec<String>> {
        let mut done = BTreeSet::new();
        let mut way = Vec::new();
        self.files
            .keys()
            .find_map(|module| self.circle_from(module, &mut way, &mut done))
    }

    fn circle_from<'a>(
        &'a self,
        module: &'a Path,
        way: &mut Vec<&'a Path>,
        done: &mut BTreeSet<&'a Path>,
    ) -> Option<Vec<String>> {
        if let Some(begin) = way.iter().position(|before| *before == module) {
            let circle = way[begin..].iter().chain([&module]);
            return Some(circle.map(|module| module.join("::")).collect());
        }
        if done.contains(module) {
            return None;
        }
        way.push(module);
        let needs = self.needs(module);
        let circle = needs
            .into_iter()
            .find_map(|needed| self.circle_from(needed, way, done));
        way.pop();
        done.insert(module);
        circle
    }
}

impl Imports {
    fn of(module: &[String], text: &str, modules: &BTreeSet<Path>) -> Self {
        let mut imports = Self::default();
        let absolute = |path: &[&str]| -> Option<Path> {
            let below: Path = match path.first()? {
                &"crate" => Path::new(),
                &"self" => module.to_vec(),
                &"super" => {
                    let up = path.iter().take_while(|name| **name == "super").count();
                    module[..module.len().checked_sub(up)?].to_vec()
                }
                child => {
                    let child = [module, &[child.to_string()]].concat();
                    let rest = path[1..].iter().map(ToString::to_string);
                    return modules
                        .contains(&child)
                        .then(|| child.into_iter().chain(rest).collect());
                }
            };
            let rest = path
                .iter()
                .skip_while(|name| ["crate", "self", "super"].contains(name));
            Some(
                below
                    .into_iter()
                    .chain(rest.map(ToString::to_string))
                    .collect(),
            )
        };
        let mut rest = String::new();
        for statement in text.split_inclusive(';') {
            match statement.rsplit_once("use ").filter(|(before, _)| {
                let line = before.lines().next_back().unwrap_or_default().trim();
                line.is_empty() || line.starts_with("pub")
            }) {
                Some((before, tree)) => {
                    rest.push_str(before);
                    for (path, name) in leaves(tree.trim_end_matches(';')) {
                        if let Some(path) = absolute(&path) {
                            imports.named.insert(path.clone());
                            imports.used.insert(name.into(), path);
                        }
                    }
                }
                None => rest.push_str(statement),
            }
        }
        let words = rest.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
        for word in words.filter(|word| word.contains("::")) {
            let path: Vec<&str> = word.split("::").filter(|name| !name.is_empty()).collect();
            imports.named.extend(absolute(&path));
        }
        imports
    }
}

/// The path of the module that a file below `src/` is.
fn module(file: &str) -> Path {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(String::from).collect()
}

/// The paths of a `use`, each with the name that it has here.
fn leaves(tree: &str) -> Vec<(Vec<&str>, &str)> {
    let tree = tree.trim();
    if let Some((before, list)) = tree.split_once('{') {
        let list = list.rsplit_once('}').map_or(list, |(list, _)| list);
        let before: Vec<&str> = before.split("::").map(str::trim).collect();
        let before = &before[..before.len() - 1];
        let behind = elements(list).into_iter().flat_map(leaves);
        return behind
            .map(|(path, name)| match path[..] {
                ["self"] => (before.to_vec(), *before.last().unwrap_or(&name)),
                _ => ([before, &path].concat(), name),
            })
            .collect();
    }
    let (path, alias) = match tree.split_once(" as ") {
        Some((path, alias)) => (path, Some(alias.trim())),
        None => (tree, None),
    };
    let path: Vec<&str> = path.split("::").map(str::trim).collect();
    match path.last() {
        None | Some(&"") => Vec::new(),
        Some(&last) => vec![(path, alias.unwrap_or(last))],
    }
}

/// The elements of a list, but not of the lists within.
fn elements(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let commas = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    };
    list.split(commas).collect()
}

#[test]
fn no_two_files_of_a_room_need_each_other() {
    let code = super::code();
    let mut faults = Vec::new();
    for room in ROOMS {
        let files = code.iter().filter_map(|(name, text)| {
            let file = name.strip_prefix("src/")?;
            let is_inside = module(file)[0] == room;
            is_inside.then_some((file, text.as_str()))
        });
        let room_files = Room::new(files);
        // One file has nobody to need: the room has gone, or has another name.
        assert!(room_files.files.len() > 1, "{room} has no files");
        if let Some(circle) = room_files.circle() {
            faults.push(circle.join(" needs "));
        }
    }
    super::report(&faults);
}

#[test]
fn a_circle_is_found_and_what_is_passed_on_counts_where_it_is_defined() {
    let circle = |files: &[(&str, &str)]| Room::new(files.iter().copied()).circle();
    let top = "mod a;\nmod b;\npub(crate) use a::{One, Other as Else};\npub use self::b::Two;\n";
    let below = ("a/b/c.rs", "use crate::{x, a::One};\n");
    let two = (
        "a/b/mod.rs",
        "mod c;\nuse super::{\n    a::One,\n    Else};\n",
    );
    assert_eq!(
        circle(&[("a/mod.rs", top), ("a/a.rs", ""), two, below]),
        None
    );

    let found = circle(&[
        ("a/mod.rs", top),
        ("a/a.rs", "fn f() -> super::Two {}"),
        two,
    ]);
    assert_eq!(found.unwrap().join(" "), "a::a a::b a::a");
    let found = circle(&[
        ("a/mod.rs", &[top, "struct Shared;"].concat()),
        ("a/a.rs", "use crate::a::Shared;"),
        two,
    ]);
    assert_eq!(found.unwrap().join(" "), "a a::a a");
    let found = circle(&[
        ("a/mod.rs", top),
        ("a/a.rs", "use super::b::c::Three;"),
        two,
        ("a/b/c.rs", "use super::super::a::One;"),
    ]);
    assert_eq!(found.unwrap().join(" "), "a::a a::b::c a::a");
}
