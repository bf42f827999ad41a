//! Where a webhook differs from Verbex's guide, in words that operators can count.

use std::fmt;

/// A difference from the guide. Never holds a value of the webhook, nor a key that the sender chose: there are about a hundred
/// different ones, so that they can be labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Surprise {
    /// Where.
    pub field: Path,
    /// What.
    pub reason: Reason,
}

/// The path of a known field in the body, such as `payload.caller.phone_number`; `*` at its end stands for any unknown field there.
///
/// `headers` and `unmodeled_fields` are paths too: what the gateway left out of those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path([&'static str; 3]);

impl Path {
    /// The body itself.
    pub(super) const BODY: Self = Self([""; 3]);

    /// A field of what is here. No known field lies deeper than three names.
    pub(super) fn child(self, name: &'static str) -> Self {
        match self.0 {
            ["", ..] => Self([name, "", ""]),
            [first, "", _] => Self([first, name, ""]),
            [first, second, _] => Self([first, second, name]),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, deeper @ ..] = self.0;
        f.write_str(first)?;
        deeper
            .into_iter()
            .filter(|name| !name.is_empty())
            .try_for_each(|name| write!(f, ".{name}"))
    }
}

/// What is odd about a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The guide has it, the webhook has not, or has null.
    Missing,
    /// The schema has no such field.
    Unknown,
    /// Not of the type that the guide says.
    WrongType,
    /// An element of a list did not fit, or had more in it than the schema.
    OddElement,
    /// Not a time in any form that the gateway reads, or not within the years 1 to 9999.
    NotATime,
    /// A number that a double cannot hold exactly.
    Inexact,
    /// The same field in another spelling was used.
    Unused,
    /// An event by a name that has no type.
    UnknownName,
    /// Left out, since it is nested too deep to send.
    TooDeep,
    /// Left out, since it is too large to send.
    TooLarge,
}

impl Reason {
    /// In snake case, as a metric's label has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::WrongType => "wrong_type",
            Self::OddElement => "odd_element",
            Self::NotATime => "not_a_time",
            Self::Inexact => "inexact",
            Self::Unused => "unused",
            Self::UnknownName => "unknown_name",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
