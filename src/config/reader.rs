//! Reads one setting at a time from all layers. The value in the highest layer counts, but the
//! values in all layers are checked.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt::Display,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use super::{
    effective::{Effective, Origin},
    environment::Environment,
    file::ConfigFile,
    names::{flag_of, old_names_of, variable_of},
    problem::{Invalid, Problem},
    setting::Setting,
    tokens,
};
use crate::{auth::Token, webhook::Secret};

/// The layers, and what has been read from them so far.
pub(super) struct Reader {
    flags: BTreeMap<&'static str, String>,
    environment: Environment,
    pub(super) file: ConfigFile,
    effective: Effective,
    problems: Vec<Problem>,
    /// Settings with a problem. They may have no value although one was given.
    bad: Vec<&'static str>,
}

impl Reader {
    pub(super) fn new(flags: Vec<(&'static str, String)>, environment: Environment) -> Self {
        Self {
            flags: flags.into_iter().collect(),
            environment,
            file: ConfigFile::default(),
            effective: Effective::default(),
            problems: Vec::new(),
            bad: Vec::new(),
        }
    }

    /// Ends the reading. If there are problems, it fails with all of them. If the single values
    /// have none, `rules` looks for problems between settings.
    pub(super) fn finish(
        mut self,
        rules: impl FnOnce(&Effective) -> Vec<Problem>,
    ) -> Result<(Effective, Vec<String>), Invalid> {
        let known: Vec<&str> = self.effective.keys().collect();
        let settings = std::mem::take(&mut self.file.settings);
        self.problems.extend(settings.unknown_keys("", &known));
        if self.problems.is_empty() {
            self.problems = rules(&self.effective);
        }
        if self.problems.is_empty() {
            Ok((self.effective, self.environment.rest().collect()))
        } else {
            Err(Invalid(self.problems))
        }
    }

    /// The path of the file. The file itself cannot have this setting.
    pub(super) fn path_of_file(&mut self, key: &'static str) -> Option<PathBuf> {
        let path = self.optional(key);
        self.effective.forget(key);
        path
    }

    /// A setting with a default.
    pub(super) fn value<T: Setting>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key)
            .unwrap_or_else(|| self.by_default(key, default))
    }

    /// A setting that may be left out.
    pub(super) fn optional<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        self.within(key, |_: &T| None)
    }

    /// A number between bounds.
    pub(super) fn number<T: Setting + PartialOrd + Display>(
        &mut self,
        key: &'static str,
        default: T,
        bounds: RangeInclusive<T>,
    ) -> T {
        self.optional_number(key, bounds)
            .unwrap_or_else(|| self.by_default(key, default))
    }

    /// A number between bounds that may be left out.
    pub(super) fn optional_number<T: Setting + PartialOrd + Display>(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<T>,
    ) -> Option<T> {
        self.within(key, |number| {
            let (least, most) = (bounds.start(), bounds.end());
            (!bounds.contains(number))
                .then(|| format!("{number} is out of bounds: from {least} to {most}"))
        })
    }

    /// A secret: the value of `key`, or the content of the file that `file_key` names. The higher
    /// layer counts, and one layer cannot have both. `objection` says what is wrong with a secret,
    /// if anything is.
    pub(super) fn secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        objection: fn(&str) -> Option<&'static str>,
    ) -> Option<Secret> {
        let mut secret = self.secret_of_layers(key, file_key);
        if let Some(message) = secret
            .as_ref()
            .and_then(|secret| objection(secret.expose()))
        {
            // Of the two, only the one that counts has a value now.
            let is_written = self.effective.layer(key) > self.effective.layer(file_key);
            self.refuse(if is_written { key } else { file_key }, message);
            secret = None;
        }
        if secret.is_none() && self.bad.contains(&file_key) {
            self.bad.push(key);
        }
        secret
    }

    fn secret_of_layers(&mut self, key: &'static str, file_key: &'static str) -> Option<Secret> {
        let written = self.optional(key);
        let Some(path) = self.optional::<PathBuf>(file_key) else {
            return written;
        };
        match self
            .effective
            .layer(key)
            .cmp(&self.effective.layer(file_key))
        {
            Ordering::Less => self.effective.clear(key),
            Ordering::Equal => {
                let message = format!("{key} is given too; leave one of them out");
                self.refuse(file_key, &message);
                return None;
            }
            Ordering::Greater => {
                self.effective.clear(file_key);
                return written;
            }
        }
        self.secret_in(file_key, &path)
    }

    fn secret_in(&mut self, file_key: &'static str, path: &Path) -> Option<Secret> {
        let problem = match fs::read_to_string(path) {
            // Editors and `echo` end a file with a newline.
            Ok(content) => match content.trim_end_matches(['\r', '\n']) {
                "" => format!("{} is empty", path.display()),
                secret => return Some(Secret::new(secret)),
            },
            Err(error) => format!("{} cannot be read: {error}", path.display()),
        };
        self.refuse(file_key, &problem);
        None
    }

    /// The path of a file that this process may read.
    pub(super) fn readable_file(&mut self, key: &'static str) -> Option<PathBuf> {
        self.within(key, |path: &PathBuf| {
            let error = fs::File::open(path).err()?;
            Some(format!("{} cannot be read: {error}", path.display()))
        })
    }

    /// Two settings of which neither can be given without the other.
    pub(super) fn both<A, B>(
        &mut self,
        (a_key, a): (&'static str, Option<A>),
        (b_key, b): (&'static str, Option<B>),
    ) -> Option<(A, B)> {
        let (given, missing) = match (a, b) {
            (Some(a), Some(b)) => return Some((a, b)),
            (Some(_), None) => (a_key, b_key),
            (None, Some(_)) => (b_key, a_key),
            (None, None) => return None,
        };
        if !self.bad.contains(&missing) {
            self.refuse(
                given,
                &format!("{missing} is missing: the two must be given together"),
            );
        }
        None
    }

    /// The entries of `[[tokens]]`. Only a file can have them.
    pub(super) fn tokens(&mut self) -> Vec<Token> {
        tokens::read(std::mem::take(&mut self.file.tokens), &mut self.problems)
    }

    /// Replaces the value that was given by this one.
    pub(super) fn replace<T: Setting>(&mut self, key: &'static str, value: T) -> T {
        self.effective.change(key, value.to_toml());
        value
    }

    /// Notes that a setting is wrong.
    pub(super) fn refuse(&mut self, key: &'static str, message: &str) {
        let problem = self.effective.problem(key, message);
        self.problems.push(problem);
        self.bad.push(key);
    }

    fn by_default<T: Setting>(&mut self, key: &'static str, value: T) -> T {
        self.effective.set(key, value.to_toml(), Origin::Default);
        value
    }

    /// Refuses an old name of a setting in the file and the environment. An old flag is an unknown
    /// argument, so it does not come here.
    fn refuse_old_names(&mut self, key: &'static str) {
        for old in old_names_of(key) {
            let written = self.file.settings.take(old);
            let written = written.map(|written| (Origin::File(written.place), key.to_owned()));
            let variable = self.environment.take(old);
            let variable = variable.map(|(name, _)| (Origin::Variable(name), variable_of(key)));
            for (origin, new) in [written, variable].into_iter().flatten() {
                self.problems.push(Problem {
                    place: origin.place(old),
                    message: format!("is called {new} now"),
                });
                self.bad.push(key);
            }
        }
    }

    /// Reads all layers from the lowest to the highest. A bad value is an error even if a higher
    /// layer has a good one.
    fn within<T: Setting>(
        &mut self,
        key: &'static str,
        objection: impl Fn(&T) -> Option<String>,
    ) -> Option<T> {
        self.refuse_old_names(key);
        let written = self.file.settings.take(key).map(|written| {
            let value = T::from_file(&written.value);
            (value, Origin::File(written.place))
        });
        let variable = self.environment.take(key).map(|(name, text)| {
            let value = text.to_str().and_then(from_text);
            (value, Origin::Variable(name))
        });
        let flag = self.flags.remove(key).map(|text| {
            let value = from_text(&text);
            (value, Origin::Flag(flag_of(key)))
        });

        self.effective.clear(key);
        let mut last = None;
        for (value, origin) in [written, variable, flag].into_iter().flatten() {
            let objection = match &value {
                Some(value) => objection(value),
                None => Some(format!("expected {}", T::EXPECTED)),
            };
            if let Some(message) = objection {
                let place = origin.place(key);
                self.problems.push(Problem { place, message });
                self.bad.push(key);
            } else if let Some(value) = value {
                self.effective.set(key, value.to_toml(), origin);
                last = Some(value);
            }
        }
        last
    }
}

fn from_text<T: Setting>(text: &str) -> Option<T> {
    if text.is_empty() {
        None
    } else {
        T::from_text(text)
    }
}
