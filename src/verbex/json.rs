//! A JSON tree that keeps numbers as text and lone surrogates distinct, with sorted and unique
//! keys.
//!
//! `serde_json` checks that the text is JSON. That pass does not recurse, so deep nesting is safe.
//! Its own tree would lose digits, refuse `1e400` and lone surrogates, and has its own depth limit.
//! So the tree is read here, from text that is known to be valid: colons and commas between values
//! are only separators.

use std::{borrow::Cow, mem, str};

use memchr::memchr2;
use serde_json::value::RawValue;

use super::BodyError;

/// The most levels of nesting. The body's own object is the first.
pub(crate) const LEVELS_MAX: usize = 128;

/// A JSON value, borrowed from its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'b> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'b str),
    String(Text<'b>),
    Array(Vec<Value<'b>>),
    Object(Object<'b>),
}

/// A JSON object: keys sorted, and of repeated keys the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object<'b>(Vec<(Text<'b>, Value<'b>)>);

impl<'b> Object<'b> {
    fn new(mut entries: Vec<(Text<'b>, Value<'b>)>) -> Self {
        // Stable, so that equal keys stay in the order in which they were written.
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        entries.dedup_by(|later, kept| {
            let repeated = later.0 == kept.0;
            if repeated {
                mem::swap(later, kept);
            }
            repeated
        });
        Self(entries)
    }

    /// The entries, sorted by key.
    pub(super) fn entries(&self) -> &[(Text<'b>, Value<'b>)] {
        &self.0
    }

    /// The index of the entry with this key. The key must not need an escape in JSON.
    pub(super) fn find(&self, key: &str) -> Option<usize> {
        self.0
            .binary_search_by(|(other, _)| other.canonical().cmp(key))
            .ok()
    }

    /// The value at this key. The key must not need an escape in JSON.
    pub(super) fn get(&self, key: &str) -> Option<&Value<'b>> {
        self.find(key).map(|index| &self.0[index].1)
    }
}

/// A JSON string in canonical form. Two are equal if and only if their UTF-16 code units are equal.
///
/// Only `"`, `\` and lone surrogates (`\ud800`, four lower-case digits) are escaped. A string that
/// was written without escapes is already canonical, and is borrowed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<'b>(Cow<'b, str>);

impl<'b> Text<'b> {
    /// From the text between the quotes.
    fn new(written: &'b str, has_escapes: bool) -> Self {
        Self(match has_escapes {
            true => Cow::Owned(canonical(written)),
            false => Cow::Borrowed(written),
        })
    }

    /// The canonical form, without quotes.
    pub(super) fn canonical(&self) -> &str {
        &self.0
    }

    /// The text of the string. A lone surrogate becomes U+FFFD.
    pub(super) fn text(&self) -> Cow<'_, str> {
        if !self.0.contains('\\') {
            return Cow::Borrowed(&self.0);
        }
        let mut text = String::with_capacity(self.0.len());
        let mut rest = &*self.0;
        while let Some((plain, escape)) = rest.split_once('\\') {
            text.push_str(plain);
            let mut chars = escape.chars();
            match chars.next() {
                Some('u') => {
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = chars.as_str().get(4..).unwrap_or_default();
                }
                escaped => {
                    text.extend(escaped);
                    rest = chars.as_str();
                }
            }
        }
        text.push_str(rest);
        Cow::Owned(text)
    }
}

/// JSON's white space.
const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Reads a body. Byte order marks before it, with white space around them, and NULs after it are
/// ignored.
pub(super) fn parse(body: &[u8]) -> Result<Object<'_>, BodyError> {
    if is_wide(body) {
        return Err(BodyError::Wide);
    }
    let mut text = str::from_utf8(body).map_err(|error| BodyError::NotUtf8 {
        valid_up_to: error.valid_up_to(),
    })?;
    while let Some(behind) = text
        .trim_start_matches(WHITE_SPACE)
        .strip_prefix('\u{feff}')
    {
        text = behind;
    }
    let text = text.trim_end_matches(|char| char == '\0' || WHITE_SPACE.contains(&char));
    let valid: &RawValue = serde_json::from_str(text).map_err(BodyError::NotJson)?;
    if !valid.get().starts_with('{') {
        return Err(BodyError::NotAnObject);
    }
    let mut reader = Reader {
        text: valid.get(),
        at: 1,
    };
    reader.object(1)
}

/// Whether this begins like UTF-16 or UTF-32: with a byte order mark, or with an ASCII character of
/// that width.
fn is_wide(body: &[u8]) -> bool {
    match body {
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, 0, 0xfe, 0xff, ..] => true,
        [0, 0, 0, char, ..] | [0, char, ..] | [char, 0, ..] => *char > 0 && char.is_ascii(),
        _ => false,
    }
}

/// Reads valid JSON. With invalid input it still ends and does not panic.
struct Reader<'b> {
    text: &'b str,
    at: usize,
}

impl<'b> Reader<'b> {
    fn value(&mut self, level: usize) -> Result<Value<'b>, BodyError> {
        let start = self.at;
        self.at += 1;
        Ok(match self.text.as_bytes().get(start) {
            Some(b'{') => Value::Object(self.object(level + 1)?),
            Some(b'[') => Value::Array(self.array(level + 1)?),
            Some(b'"') => Value::String(self.string()),
            _ => match self.word(start) {
                "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                number => Value::Number(number),
            },
        })
    }

    /// After its `{`.
    fn object(&mut self, level: usize) -> Result<Object<'b>, BodyError> {
        if level > LEVELS_MAX {
            return Err(BodyError::TooDeep);
        }
        let mut entries = Vec::new();
        while self.has_more(b'}') {
            self.at += 1;
            let key = self.string();
            self.skip_separators();
            entries.push((key, self.value(level)?));
        }
        Ok(Object::new(entries))
    }

    /// After its `[`.
    fn array(&mut self, level: usize) -> Result<Vec<Value<'b>>, BodyError> {
        if level > LEVELS_MAX {
            return Err(BodyError::TooDeep);
        }
        let mut items = Vec::new();
        while self.has_more(b']') {
            items.push(self.value(level)?);
        }
        Ok(items)
    }

    /// Moves to the next entry of an object or array, or after its end.
    fn has_more(&mut self, end: u8) -> bool {
        self.skip_separators();
        let next = self.text.as_bytes().get(self.at);
        let more = next.is_some_and(|&byte| byte != end);
        self.at += usize::from(!more);
        more
    }

    /// After its opening quote.
    fn string(&mut self) -> Text<'b> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut has_escapes = false;
        while let Some(rest) = bytes.get(self.at..) {
            let plain = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            self.at += plain;
            if rest.get(plain) != Some(&b'\\') {
                break;
            }
            has_escapes = true;
            self.at += 2;
        }
        let written = self.text.get(start..self.at).unwrap_or_default();
        self.at += 1;
        Text::new(written, has_escapes)
    }

    /// A number, or one of the three words.
    fn word(&mut self, start: usize) -> &'b str {
        self.skip_while(
            |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'.' | b'+' | b'-'),
        );
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn skip_separators(&mut self) {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':'));
    }

    fn skip_while(&mut self, skipped: impl Fn(u8) -> bool) {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(|&byte| skipped(byte)) {
            self.at += 1;
        }
    }
}

fn canonical(written: &str) -> String {
    // Never longer than the input: `\n` becomes one byte, and `\u0022` becomes `\"`.
    let mut canonical = String::with_capacity(written.len());
    let mut rest = written;
    while let Some((plain, escape)) = rest.split_once('\\') {
        canonical.push_str(plain);
        let mut chars = escape.chars();
        let unescaped = match chars.next() {
            Some('u') => {
                let (unit, after) = code_unit(chars.as_str());
                rest = after;
                unescape(unit, &mut rest)
            }
            simple => {
                rest = chars.as_str();
                Ok(match simple {
                    Some('b') => '\u{8}',
                    Some('f') => '\u{c}',
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    Some(itself) => itself,
                    None => break,
                })
            }
        };
        match unescaped {
            Ok(special @ ('"' | '\\')) => canonical.extend(['\\', special]),
            Ok(plain) => canonical.push(plain),
            Err(surrogate) => canonical.push_str(&format!("\\u{surrogate:04x}")),
        }
    }
    canonical.push_str(rest);
    canonical
}

/// The character that starts with this code unit, or the unit if it is a lone surrogate. Takes the
/// second half from `rest`.
fn unescape(unit: u16, rest: &mut &str) -> Result<char, u16> {
    if let Some(single) = char::from_u32(unit.into()) {
        return Ok(single);
    }
    if let Some(digits) = rest.strip_prefix("\\u") {
        let (second, after) = code_unit(digits);
        if let Some(Ok(pair)) = char::decode_utf16([unit, second]).next() {
            *rest = after;
            return Ok(pair);
        }
    }
    Err(unit)
}

/// Four hex digits, and the rest of the text.
fn code_unit(digits: &str) -> (u16, &str) {
    let (unit, after) = digits.split_at_checked(4).unwrap_or_default();
    (u16::from_str_radix(unit, 16).unwrap_or_default(), after)
}

#[cfg(test)]
mod tests;
