//! The effective configuration: the value of each setting as text, and where it comes from.
//! Secrets are masked.

use std::fmt;

use super::{file::Place, problem::Problem};

/// Prints as TOML. Each value that is not the default has its origin in a comment after it.
#[derive(Debug, Default)]
pub(crate) struct Effective(Vec<Counted>);

/// A setting with its effective value.
#[derive(Debug)]
struct Counted {
    key: &'static str,
    /// None if the setting has no value.
    value: Option<String>,
    origin: Origin,
}

/// The layer of a value. A later one here overrides an earlier one.
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
        self.0.iter().map(|setting| setting.key)
    }

    /// A setting's effective value as TOML, even if it is the default.
    #[cfg(test)]
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let setting = self.0.iter().find(|setting| setting.key == key)?;
        setting.value.as_deref()
    }

    /// The number of the value's layer: a higher layer has a greater number.
    pub(super) fn layer(&self, key: &str) -> u8 {
        match self.origin(key) {
            Origin::Default => 0,
            Origin::File(_) => 1,
            Origin::Variable(_) => 2,
            Origin::Flag(_) => 3,
        }
    }

    /// A problem of a setting, at the place of its value.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem {
            place: self.origin(key).place(key),
            message: message.into(),
        }
    }

    pub(super) fn set(&mut self, key: &'static str, value: String, origin: Origin) {
        let setting = self.setting(key);
        (setting.value, setting.origin) = (Some(value), origin);
    }

    pub(super) fn change(&mut self, key: &'static str, value: String) {
        self.setting(key).value = Some(value);
    }

    /// Removes the setting's value.
    pub(super) fn clear(&mut self, key: &'static str) {
        let setting = self.setting(key);
        (setting.value, setting.origin) = (None, Origin::Default);
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.0.retain(|setting| setting.key != key);
    }

    fn origin(&self, key: &str) -> &Origin {
        let setting = self.0.iter().find(|setting| setting.key == key);
        setting.map_or(&Origin::Default, |setting| &setting.origin)
    }

    fn setting(&mut self, key: &'static str) -> &mut Counted {
        let index = self.0.iter().position(|setting| setting.key == key);
        let index = index.unwrap_or_else(|| {
            self.0.push(Counted {
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
        let table_of =
            |setting: &Counted| setting.key.rsplit_once('.').unwrap_or(("", setting.key)).0;
        let mut settings: Vec<&Counted> = self
            .0
            .iter()
            .filter(|setting| setting.value.is_some())
            .collect();
        // The sort is stable, so settings keep their order within a table.
        settings.sort_by_key(|setting| table_of(setting));
        let mut table = "";
        for setting in settings {
            if table != table_of(setting) {
                table = table_of(setting);
                writeln!(f, "\n[{table}]")?;
            }
            let name = setting.key.rsplit('.').next().unwrap_or(setting.key);
            write!(
                f,
                "{name} = {}",
                setting.value.as_deref().unwrap_or_default()
            )?;
            match &setting.origin {
                Origin::Default => writeln!(f)?,
                Origin::File(place) => writeln!(f, "  # {place}")?,
                Origin::Variable(name) | Origin::Flag(name) => writeln!(f, "  # {name}")?,
            }
        }
        Ok(())
    }
}
