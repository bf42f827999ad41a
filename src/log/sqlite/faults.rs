//! What is wrong in a log.

use std::fmt;

use crate::event::Sequence;

/// The most faults that are told one by one.
const TOLD_MAX: usize = 1_000;

/// Something that is not as a gateway has written it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    pub place: Place,
    pub what: String,
    pub remedy: Remedy,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The file, or what it says of itself.
    Log,
    /// A table or an index, by its name.
    Index(String),
    /// Events one after the other: the first and the last.
    Events(Sequence, Sequence),
}

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Remedy {
    /// Only another copy of the log.
    Restore,
    /// The gateway makes it anew from the events.
    Remake,
    /// Others can pass the event once it is erased.
    Erase,
    Nothing,
}

/// All faults, up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    told: Vec<Fault>,
    /// Those that are not in `told`.
    more: u64,
}

impl Faults {
    pub(super) fn log(&mut self, what: impl fmt::Display) {
        self.push(Place::Log, what, Remedy::Restore);
    }

    pub(super) fn index(&mut self, name: impl Into<String>, what: impl fmt::Display) {
        self.push(Place::Index(name.into()), what, Remedy::Remake);
    }

    /// An event that cannot be delivered.
    pub(super) fn event(&mut self, sequence: Sequence, what: impl fmt::Display) {
        self.push(Place::Events(sequence, sequence), what, Remedy::Erase);
    }

    /// An event that an index does not have as it is.
    pub(super) fn index_of(&mut self, sequence: Sequence, what: impl fmt::Display) {
        self.push(Place::Events(sequence, sequence), what, Remedy::Remake);
    }

    pub(super) fn push(&mut self, place: Place, what: impl fmt::Display, remedy: Remedy) {
        let what = what.to_string();
        if let (Some(last), Place::Events(first, end)) = (self.told.last_mut(), &place)
            && let Place::Events(_, before) = &mut last.place
            && before.next() == *first
            && last.what == what
        {
            *before = *end;
            return;
        }
        if self.told.len() == TOLD_MAX {
            self.more += 1;
            return;
        }
        self.told.push(Fault {
            place,
            what,
            remedy,
        });
    }

    /// By place: the log, its indexes, and the events in their order.
    pub(crate) fn sorted(mut self) -> (Vec<Fault>, u64) {
        self.told.sort();
        self.told.dedup();
        (self.told, self.more)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("log"),
            Self::Index(name) => f.write_str(name),
            Self::Events(first, last) if first == last => write!(f, "event {first}"),
            Self::Events(first, last) => write!(f, "events {first} to {last}"),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restore => {
                "the log or what it says of itself is damaged: restore a backup, or copy the log \
                 with `log backup` if it can still be copied"
            }
            Self::Remake => {
                "an index is damaged, and no event is: the gateway makes it anew from the events \
                 when it meets the damage, at its next start at the latest"
            }
            Self::Erase => {
                "events are damaged: subscribers get LOG_DAMAGED there. A backup may still have \
                 them; `log erase --sequence` takes one away, so that subscribers pass it"
            }
            Self::Nothing => {
                "events are stored twice: whoever deduplicates by id does their work once, and \
                 nothing has to be done"
            }
        })
    }
}
