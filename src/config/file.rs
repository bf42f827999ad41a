//! The file as it was written: each value with its dotted key and its place in the file.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt, fs,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    names::{nearest, renamed},
    problem::Problem,
};

/// The only key that may name several tables.
pub(super) const TOKENS: &str = "tokens";

/// What the file says, not yet checked. The reader takes known keys out one by one; keys that are
/// left are unknown.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    /// Everything except the tokens.
    pub(super) settings: Table,
    /// The entries of `[[tokens]]`, in order.
    pub(super) tokens: Vec<Table>,
}

/// Values by dotted key.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Where the table begins. For the file itself this is the first line.
    pub(super) place: Place,
    values: BTreeMap<String, Written>,
}

/// A value in the file.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A value, in the types that settings need.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    /// In RFC 3339, or a part of it.
    Time(String),
    Texts(Vec<String>),
    /// A table without keys.
    EmptyTable,
    /// A value that no setting accepts: a float, a mixed list, a number out of range.
    Other,
}

/// A place in a file. Lines and columns count from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    path: PathBuf,
    line: usize,
    column: usize,
}

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        let text = fs::read_to_string(path).map_err(|error| Problem {
            place: path.display().to_string(),
            message: format!("cannot be read: {error}"),
        })?;
        Self::parse(path, &text)
    }

    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Problem> {
        let source = Source { path, text };
        let document = DeTable::parse(text).map_err(|error| source.broken(&error))?;
        let mut file = Self {
            settings: source.table(0..0),
            tokens: Vec::new(),
        };
        for (key, value) in document.get_ref() {
            match value.get_ref() {
                DeValue::Array(entries) if *key.get_ref() == TOKENS => {
                    for entry in entries {
                        let mut token = source.table(entry.span());
                        if let DeValue::Table(table) = entry.get_ref() {
                            source.collect("", table, &mut token);
                        }
                        file.tokens.push(token);
                    }
                }
                value_ref => {
                    source.add(
                        &name_of(key.get_ref()),
                        key.span(),
                        value_ref,
                        &mut file.settings,
                    );
                }
            }
        }
        Ok(file)
    }
}

impl Table {
    pub(super) fn take(&mut self, key: &str) -> Option<Written> {
        self.values.remove(key)
    }

    /// An error for each key that is left, because no setting has its name. `prefix` comes before
    /// each key in the error.
    pub(super) fn unknown_keys(self, prefix: &str, known: &[&str]) -> Vec<Problem> {
        let judge = |(key, written): (String, Written)| {
            let inner = format!("{key}.");
            let is_table = known.iter().any(|known| known.starts_with(&inner));
            let message = match written.value {
                Value::EmptyTable if is_table => return None,
                _ if is_table => "expected a table".to_owned(),
                _ if prefix.is_empty() && key == TOKENS => "expected [[tokens]] entries".to_owned(),
                _ => {
                    let renamed = prefix.is_empty().then(|| renamed(&key)).flatten();
                    renamed.unwrap_or_else(|| unknown(&key, known))
                }
            };
            Some(Problem {
                place: format!("{}: {prefix}{key}", written.place),
                message,
            })
        };
        self.values.into_iter().filter_map(judge).collect()
    }
}

fn unknown(key: &str, known: &[&str]) -> String {
    let table = key.rfind('.').map_or("", |dot| &key[..=dot]);
    let siblings: Vec<&str> = known
        .iter()
        .filter_map(|known| known.strip_prefix(table))
        .filter(|name| !name.contains('.'))
        .collect();
    if !siblings.is_empty() {
        return format!("unknown key; known here: {}", siblings.join(", "));
    }
    match nearest(key, known.iter().copied()) {
        Some(nearest) => format!("unknown key; did you mean {nearest}?"),
        None => "unknown key".to_owned(),
    }
}

/// A key as errors show it. A key that contains a dot is quoted, so that it does not look like two.
fn name_of(key: &str) -> Cow<'_, str> {
    if key.contains('.') {
        format!("{key:?}").into()
    } else {
        key.into()
    }
}

/// The path and the text of a file, to turn spans into places.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    /// The error for text that is not TOML. It shows the text before the `=` only if that looks
    /// like a key, so that it never shows a part of a value.
    fn broken(&self, error: &toml::de::Error) -> Problem {
        let place = self.place(error.span().unwrap_or_default());
        let line = self.text.lines().nth(place.line - 1).unwrap_or_default();
        let key = line.split_once('=').map_or("", |(key, _)| key.trim());
        let is_key = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        Problem {
            place: if key.is_empty() || !key.chars().all(is_key) {
                place.to_string()
            } else {
                format!("{place}: {key}")
            },
            message: error.message().replace('\n', ", "),
        }
    }

    fn table(&self, span: Range<usize>) -> Table {
        Table {
            place: self.place(span),
            values: BTreeMap::new(),
        }
    }

    fn collect(&self, prefix: &str, table: &DeTable<'_>, into: &mut Table) {
        for (key, value) in table {
            let name = format!("{prefix}{}", name_of(key.get_ref()));
            self.add(&name, key.span(), value.get_ref(), into);
        }
    }

    fn add(&self, name: &str, span: Range<usize>, value: &DeValue<'_>, into: &mut Table) {
        match value {
            DeValue::Table(table) if !table.is_empty() => {
                self.collect(&format!("{name}."), table, into);
            }
            value => {
                let place = self.place(span);
                let value = Value::of(value);
                into.values
                    .insert(name.to_owned(), Written { value, place });
            }
        }
    }

    fn place(&self, span: Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl Value {
    fn of(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Self::Integer(number),
                    Err(_) => Self::Other,
                }
            }
            DeValue::Boolean(truth) => Self::Boolean(*truth),
            DeValue::Datetime(time) => Self::Time(time.to_string()),
            DeValue::Array(elements) => elements
                .iter()
                .map(|element| element.get_ref().as_str().map(ToOwned::to_owned))
                .collect::<Option<_>>()
                .map_or(Self::Other, Self::Texts),
            DeValue::Table(_) => Self::EmptyTable,
            DeValue::Float(_) => Self::Other,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_with_its_place(
            text in "([a-c.\"'=\\[\\]{}#,\n é0-9]|\\[\\[tokens\\]\\]|tokens|\"\"\"){0,40}",
        ) {
            if let Err(problem) = ConfigFile::parse("file".as_ref(), &text) {
                prop_assert!(problem.place.starts_with("file:"), "{problem}");
                prop_assert!(!problem.message.is_empty() && !problem.message.contains('\n'));
            }
        }
    }
}
