//! Reads known fields of an object, and tracks what is left.
//!
//! An object is never changed. [`Fields`] records which of its fields were read into typed fields,
//! and which parts of them did not fit. Everything else counts as left over, so that no value can
//! be forgotten.

use std::collections::BTreeSet;

use super::{
    json::{Object, Text, Value},
    key, number,
    surprise::{Path, Reason, Surprise},
    time,
};

/// The result of reading a value: the typed value, and what is left over.
pub(super) type Read<'b, T> = (Option<T>, Rest<'b>);

/// What is left over of a value that was read.
#[derive(Debug)]
pub(super) enum Rest<'b> {
    /// Nothing: the typed field holds all of it.
    Nothing,
    /// The whole value, and why.
    Whole(Reason),
    /// The fields of an object that were not read.
    Part(Fields<'b>),
}

impl Rest<'_> {
    fn is_nothing(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Whole(_) => false,
            Self::Part(fields) => fields.is_done(),
        }
    }
}

/// No object of the schema has more known fields: a transfer, which has no envelope.
const KNOWN_MAX: usize = 16;
/// The most unknown fields that are named for one webhook.
const UNKNOWN_MAX: usize = 20;

/// An object that is being read.
#[derive(Debug)]
pub(super) struct Fields<'b> {
    object: &'b Object<'b>,
    /// The known fields, as indexes into the object's entries. There are few, so a linear search is
    /// fast.
    known: Vec<(usize, &'static str, Rest<'b>)>,
    missing: Vec<&'static str>,
}

impl<'b> Fields<'b> {
    pub(super) fn of(object: &'b Object<'b>) -> Self {
        Self {
            object,
            known: Vec::with_capacity(object.entries().len().min(KNOWN_MAX)),
            missing: Vec::new(),
        }
    }

    /// Reads an optional field. Null counts as missing, and is not left over.
    pub(super) fn known<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'b Value<'b>) -> Read<'b, T>,
    ) -> Option<T> {
        let index = self.object.find(name)?;
        let (typed, rest) = match &self.object.entries()[index].1 {
            Value::Null => (None, Rest::Nothing),
            value => read(value),
        };
        self.known.retain(|(other, ..)| *other != index);
        self.known.push((index, name, rest));
        typed
    }

    /// Reads a field that is always present according to the guide.
    pub(super) fn expected<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&'b Value<'b>) -> Read<'b, T>,
    ) -> Option<T> {
        self.expect(&[name]);
        self.known(name, read)
    }

    /// Records which of these fields are missing although the guide says that they are present.
    pub(super) fn expect(&mut self, names: &[&'static str]) {
        for name in names {
            if !self.has(name) {
                self.missing.push(name);
            }
        }
    }

    /// Reads the first of these fields that is a non-empty string, or a number as its text; the
    /// others are left over.
    pub(super) fn first_key(&mut self, names: &[&'static str]) -> Option<String> {
        let mut first = None;
        for name in names {
            let key = self.known(name, |value| match value {
                Value::String(text) if text.canonical().is_empty() => (None, Rest::Nothing),
                Value::String(_) | Value::Number(_) if first.is_some() => {
                    (None, Rest::Whole(Reason::Unused))
                }
                Value::String(text) => (Some(text.text().into_owned()), Rest::Nothing),
                Value::Number(number) => (Some((*number).to_owned()), Rest::Nothing),
                _ => (None, Rest::Whole(Reason::WrongType)),
            });
            first = first.or(key);
        }
        first
    }

    /// Whether the object has this field, and it is not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.object
            .get(name)
            .is_some_and(|value| *value != Value::Null)
    }

    /// Whether every field was read completely.
    pub(super) fn is_done(&self) -> bool {
        self.known.len() == self.object.entries().len()
            && self.known.iter().all(|(.., rest)| rest.is_nothing())
    }

    /// What is left over, by entry. Fields that were read completely are not in it.
    pub(super) fn left(&self) -> impl Iterator<Item = (&'b Text<'b>, Left<'_, 'b>)> {
        self.object
            .entries()
            .iter()
            .enumerate()
            .filter_map(|(index, (key, value))| {
                let known = self.known.iter().find(|(other, ..)| *other == index);
                let left = match known.map(|(.., rest)| rest) {
                    Some(rest) if rest.is_nothing() => return None,
                    Some(Rest::Part(fields)) => Left::Part(fields),
                    _ => Left::Whole(value),
                };
                Some((key, left))
            })
    }

    /// The paths of fields that the schema has no place for, in this object and the known objects
    /// in it, up to a bound. A key that does not look like a field's name is `*`.
    pub(super) fn unknown(&self, path: Path, paths: &mut BTreeSet<String>) {
        for (index, (key, _)) in self.object.entries().iter().enumerate() {
            if paths.len() < UNKNOWN_MAX && !self.known.iter().any(|(known, ..)| *known == index) {
                let text = key.text();
                let dot = if path == Path::BODY { "" } else { "." };
                paths.insert(format!("{path}{dot}{}", key::shown(&text)));
            }
        }
        for (_, name, rest) in &self.known {
            if let Rest::Part(fields) = rest {
                fields.unknown(path.child(name), paths);
            }
        }
    }

    /// Every difference from the guide in this object and the known objects in it.
    pub(super) fn surprises(&self, path: Path, surprises: &mut BTreeSet<Surprise>) {
        let mut surprise = |name, reason| {
            surprises.insert(Surprise {
                field: path.child(name),
                reason,
            })
        };
        for name in &self.missing {
            surprise(name, Reason::Missing);
        }
        if self.known.len() < self.object.entries().len() {
            surprise("*", Reason::Unknown);
        }
        for (_, name, rest) in &self.known {
            if let Rest::Whole(reason) = rest {
                surprise(name, *reason);
            }
        }
        for (_, name, rest) in &self.known {
            if let Rest::Part(fields) = rest {
                fields.surprises(path.child(name), surprises);
            }
        }
    }
}

/// A field that is left over.
pub(super) enum Left<'f, 'b> {
    Whole(&'b Value<'b>),
    Part(&'f Fields<'b>),
}

pub(super) fn text<'b>(value: &'b Value<'b>) -> Read<'b, String> {
    match value {
        Value::String(text) => (Some(text.text().into_owned()), Rest::Nothing),
        _ => (None, Rest::Whole(Reason::WrongType)),
    }
}

/// A string. An empty one counts as missing, so that the next source is used.
pub(super) fn usable_text<'b>(value: &'b Value<'b>) -> Read<'b, String> {
    let (typed, rest) = text(value);
    (typed.filter(|text| !text.is_empty()), rest)
}

/// A number. The typed value is the nearest double. If that is not exact, the digits are left over.
pub(super) fn double<'b>(value: &'b Value<'b>) -> Read<'b, f64> {
    let Value::Number(number) = value else {
        return (None, Rest::Whole(Reason::WrongType));
    };
    match number::exact_double(number) {
        Some(double) => (Some(double), Rest::Nothing),
        None => (number::double(number), Rest::Whole(Reason::Inexact)),
    }
}

pub(super) fn time<'b>(value: &'b Value<'b>) -> Read<'b, prost_types::Timestamp> {
    match time::from_value(value) {
        Some(time) => (Some(time), Rest::Nothing),
        None => (None, Rest::Whole(Reason::NotATime)),
    }
}

/// An object of the schema.
pub(super) fn object<'b, T>(
    value: &'b Value<'b>,
    read: impl FnOnce(&mut Fields<'b>) -> T,
) -> Read<'b, T> {
    let Value::Object(object) = value else {
        return (None, Rest::Whole(Reason::WrongType));
    };
    let mut fields = Fields::of(object);
    let typed = read(&mut fields);
    (Some(typed), Rest::Part(fields))
}

/// A list. Elements that fit are typed, in order. If anything is left over of an element, the whole
/// list is left over too, so that the positions keep their meaning.
pub(super) fn list<'b, T>(
    value: &'b Value<'b>,
    element: impl Fn(&'b Value<'b>) -> Read<'b, T>,
) -> Read<'b, Vec<T>> {
    let Value::Array(items) = value else {
        return (None, Rest::Whole(Reason::WrongType));
    };
    let mut fits = true;
    let mut typed = Vec::with_capacity(items.len());
    for item in items {
        let (element, rest) = element(item);
        fits &= rest.is_nothing();
        typed.extend(element);
    }
    let rest = if fits {
        Rest::Nothing
    } else {
        Rest::Whole(Reason::OddElement)
    };
    (Some(typed), rest)
}
