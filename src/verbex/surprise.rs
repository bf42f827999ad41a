//! Differences of a webhook from Verbex's guide, as labels of a metric.

use std::fmt;

/// A difference from the guide. It never holds a value of the webhook or a key that the sender
/// chose. There are about a hundred of them, few enough for labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Surprise {
    pub field: Path,
    pub reason: Reason,
}

impl Surprise {
    /// Every possible surprise, each once.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let of = |prefix: &'static [&'static str], fields: &'static [Documented]| {
            fields.iter().flat_map(move |(names, reasons)| {
                let names = prefix.iter().chain(*names);
                let field = names.fold(Path::BODY, |path, name| path.child(name));
                reasons.iter().map(move |&reason| Self { field, reason })
            })
        };
        let envelope = of(&[], &ENVELOPE);
        // A transfer has no `payload`: its fields are in the body itself.
        let flat = of(&[], &PAYLOAD).filter(|surprise| {
            let shared = ENVELOPE.iter().filter(|(names, _)| names.len() == 1);
            !shared.into_iter().any(|(names, reasons)| {
                surprise.field == Path::BODY.child(names[0]) && reasons.contains(&surprise.reason)
            })
        });
        envelope.chain(flat).chain(of(&["payload"], &PAYLOAD))
    }
}

/// A field's path, and the reasons that are possible for it.
type Documented = (&'static [&'static str], &'static [Reason]);

const TEXT: &[Reason] = &[Reason::Missing, Reason::WrongType];
const TIME: &[Reason] = &[Reason::Missing, Reason::NotATime];
const LIST: &[Reason] = &[Reason::Missing, Reason::WrongType, Reason::OddElement];
const NUMBER: &[Reason] = &[Reason::Missing, Reason::WrongType, Reason::Inexact];
const OTHER_SPELLING: &[Reason] = &[Reason::WrongType, Reason::Unused];
const UNKNOWN: &[Reason] = &[Reason::Unknown];

/// Fields around the payload.
const ENVELOPE: [Documented; 8] = [
    (
        &["eventName"],
        &[Reason::Missing, Reason::WrongType, Reason::UnknownName],
    ),
    (&["traceId"], TEXT),
    (&["organizationId"], TEXT),
    (&["timestamp"], TIME),
    (&["payload"], &[Reason::WrongType]),
    (&["*"], UNKNOWN),
    (&["headers"], &[Reason::TooLarge]),
    (&["unmodeled_fields"], &[Reason::TooDeep, Reason::TooLarge]),
];

/// Fields of the payload, whatever its type.
const PAYLOAD: [Documented; 26] = [
    (&["*"], UNKNOWN),
    (&["agent_id"], TEXT),
    (&["agentId"], OTHER_SPELLING),
    (&["call_id"], TEXT),
    (&["callId"], OTHER_SPELLING),
    (&["status"], TEXT),
    (&["reason"], TEXT),
    (&["timestamp"], TIME),
    (&["transfer_to"], TEXT),
    (&["caller"], TEXT),
    (&["caller", "phone_number"], TEXT),
    (&["caller", "*"], UNKNOWN),
    (&["call_summary"], TEXT),
    (&["call_summary", "duration_seconds"], NUMBER),
    (&["call_summary", "topics_discussed"], LIST),
    (&["call_summary", "actions_taken"], LIST),
    (&["call_summary", "unresolved_issues"], LIST),
    (&["call_summary", "transfer_reason"], TEXT),
    (&["call_summary", "customer_sentiment"], TEXT),
    (&["call_summary", "*"], UNKNOWN),
    (&["transcript"], LIST),
    (&["metadata"], TEXT),
    (&["metadata", "call_start_time"], TIME),
    (&["metadata", "call_end_time"], TIME),
    (&["metadata", "language"], TEXT),
    (&["metadata", "*"], UNKNOWN),
];

/// The path of a known field in the body, such as `payload.caller.phone_number`; `*` at its end
/// stands for any unknown field there.
///
/// `headers` and `unmodeled_fields` are paths too, for values that the gateway left out of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Path([&'static str; 3]);

impl Path {
    /// The body itself.
    pub(super) const BODY: Self = Self([""; 3]);

    /// A field of the value at this path. No known field is deeper than three names.
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

/// How a field differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reason {
    /// The guide has this field, but the webhook does not have it, or it is null.
    Missing,
    /// The schema has no such field.
    Unknown,
    /// Its type is not the one in the guide.
    WrongType,
    /// An element of a list did not fit, or has unknown fields.
    OddElement,
    /// Not a time in any form that the gateway reads, or not within the years 1 to 9999.
    NotATime,
    /// A number that a double cannot hold exactly.
    Inexact,
    /// Another spelling of the same field was used instead.
    Unused,
    /// The event's name belongs to no known type.
    UnknownName,
    /// Left out because it is nested too deep to send.
    TooDeep,
    /// Left out because it is too large to send.
    TooLarge,
}

impl Reason {
    /// The reason in snake case, for a metric's label.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
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
