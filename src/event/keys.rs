//! The values that filters and scopes compare: the type of an event, and its text keys. Each has
//! one table, and all code that treats every type or key is generated from it.

use std::ops::{Index, IndexMut};

use crate::proto::{Event, EventFilter, EventType};

/// Makes [`TextKey`] and the code that names a field of each key. If a list of [`EventFilter`] has
/// no line here, the crate does not compile.
macro_rules! text_keys {
    ($($key:ident is $field:ident, wanted by $list:ident;)+) => {
        /// A key that is a text. Keys are in order: of those that a filter asks for, the first is
        /// taken as the most selective.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum TextKey {
            $(#[doc = concat!("`Event.", stringify!($field), "`.")] $key,)+
        }

        impl TextKey {
            pub(crate) const ALL: [Self; [$(stringify!($key)),+].len()] = [$(Self::$key),+];

            /// Its column in the log, which has the name of the event's field.
            pub(crate) const fn column(self) -> &'static str {
                match self { $(Self::$key => stringify!($field)),+ }
            }

            /// The field of [`EventFilter`] that asks for it, as errors name it.
            pub(crate) const fn filter_field(self) -> &'static str {
                match self { $(Self::$key => stringify!($list)),+ }
            }

            pub(crate) fn values(self, filter: &EventFilter) -> &[String] {
                let EventFilter { event_types: _, $($list),+ } = filter;
                match self { $(Self::$key => $list),+ }
            }

            pub(crate) fn values_mut(self, filter: &mut EventFilter) -> &mut Vec<String> {
                match self { $(Self::$key => &mut filter.$list),+ }
            }
        }

        impl Keys {
            pub(crate) fn of(event: Event) -> Self {
                Self {
                    event_type: event.r#type(),
                    texts: ByTextKey([$(event.$field),+]),
                }
            }
        }
    };
}

text_keys! {
    CallId is call_id, wanted by call_ids;
    AgentId is agent_id, wanted by agent_ids;
    OrganizationId is organization_id, wanted by organization_ids;
    EventName is event_name, wanted by event_names;
    Status is status, wanted by statuses;
}

/// Makes [`EVENT_TYPES`]. If a type is not listed, the crate does not compile.
macro_rules! event_types {
    ($($event_type:ident),+ $(,)?) => {
        /// Every type that an event can have.
        pub(crate) const EVENT_TYPES: [EventType; [$(stringify!($event_type)),+].len()] =
            [$(EventType::$event_type),+];

        const _: fn(EventType) = |event_type| match event_type {
            EventType::Unspecified | $(EventType::$event_type)|+ => {}
        };
    };
}

event_types!(CallStarted, CallEnded, CallTransferred, PcaCompleted, Other);

/// The values of an event that filters and scopes compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// `Event.type`.
    pub event_type: EventType,
    /// The text keys.
    pub texts: ByTextKey<String>,
}

/// One value for each text key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ByTextKey<T>([T; TextKey::ALL.len()]);

impl<T> ByTextKey<T> {
    pub(crate) fn from_fn(value: impl FnMut(TextKey) -> T) -> Self {
        Self(TextKey::ALL.map(value))
    }

    pub(crate) fn map<U>(self, value: impl FnMut(T) -> U) -> ByTextKey<U> {
        ByTextKey(self.0.map(value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TextKey, &T)> {
        TextKey::ALL.into_iter().zip(&self.0)
    }
}

impl<T> ByTextKey<Vec<T>> {
    pub(crate) const EMPTY: Self = Self([const { Vec::new() }; TextKey::ALL.len()]);
}

impl<T> Index<TextKey> for ByTextKey<T> {
    type Output = T;

    fn index(&self, key: TextKey) -> &T {
        &self.0[key as usize]
    }
}

impl<T> IndexMut<TextKey> for ByTextKey<T> {
    fn index_mut(&mut self, key: TextKey) -> &mut T {
        &mut self.0[key as usize]
    }
}
