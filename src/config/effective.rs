//! What counts in the end: each setting with its value as text and its origin, secrets masked.

use std::fmt;

use super::{Problem, file::Place};

/// The effective configuration. Prints as TOML, with the origin of each value that is no default.
#[derive(Debug, Default)]
pub(crate) struct Effective(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    key: &'static str,
    /// None for a setting that has no value.
    value: Option<String>,
    origin: Origin,
}

/// The layer that a value came from, the higher ones later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File(Place),
    Variable(String),
    Flag(String),
}

impl Effective {
    /// The names of all settings, with a value or without.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|entry| entry.key)
    }

    /// A setting's value as TOML, if only by default.
    #[cfg(test)]
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let entry = self.0.iter().find(|entry| entry.key == key)?;
        entry.value.as_deref()
    }

    /// Which layer counts, the higher the greater.
    pub(super) fn layer(&self, key: &str) -> u8 {
        match self.origin(key) {
            Origin::Default => 0,
            Origin::File(_) => 1,
            Origin::Variable(_) => 2,
            Origin::Flag(_) => 3,
        }
    }

    /// Of two settings for one thing the one that counts.
    pub(super) fn higher(&self, one: &'static str, other: &'static str) -> &'static str {
        if self.layer(one) >= self.layer(other) {
            one
        } else {
            other
        }
    }

    /// Something that is wrong with a setting, at the place that counts.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem {
            place: self.origin(key).place(key),
            message: message.into(),
        }
    }

    pub(super) fn set(&mut self, key: &'static str, value: String, origin: Origin) {
        let entry = self.entry(key);
        (entry.value, entry.origin) = (Some(value), origin);
    }

    pub(super) fn change(&mut self, key: &'static str, value: String) {
        self.entry(key).value = Some(value);
    }

    /// Makes the setting one without a value.
    pub(super) fn clear(&mut self, key: &'static str) {
        let entry = self.entry(key);
        (entry.value, entry.origin) = (None, Origin::Default);
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.0.retain(|entry| entry.key != key);
    }

    fn origin(&self, key: &str) -> &Origin {
        let entry = self.0.iter().find(|entry| entry.key == key);
        entry.map_or(&Origin::Default, |entry| &entry.origin)
    }

    fn entry(&mut self, key: &'static str) -> &mut Entry {
        let index = self.0.iter().position(|entry| entry.key == key);
        let index = index.unwrap_or_else(|| {
            self.0.push(Entry {
                key,
                value: None,
                origin: Origin::Default,
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }
}

impl Origin {
    /// The key at this place, as an error names it.
    pub(super) fn place(&self, key: &str) -> String {
        match self {
            Self::Default => key.to_owned(),
            Self::File(place) => format!("{place}: {key}"),
            Self::Variable(name) | Self::Flag(name) => name.clone(),
        }
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table_of = |entry: &Entry| entry.key.rsplit_once('.').unwrap_or(("", entry.key)).0;
        let mut entries: Vec<&Entry> = self
            .0
            .iter()
            .filter(|entry| entry.value.is_some())
            .collect();
        // Stable: within a table the settings keep their order.
        entries.sort_by_key(|entry| table_of(entry));
        let mut table = "";
        for entry in entries {
            if table != table_of(entry) {
                table = table_of(entry);
                writeln!(f, "\n[{table}]")?;
            }
            let name = entry.key.rsplit('.').next().unwrap_or(entry.key);
            write!(f, "{name} = {}", entry.value.as_deref().unwrap_or_default())?;
            match &entry.origin {
                Origin::Default => writeln!(f)?,
                Origin::File(place) => writeln!(f, "  # {place}")?,
                Origin::Variable(name) | Origin::Flag(name) => writeln!(f, "  # {name}")?,
            }
        }
        Ok(())
    }
}
