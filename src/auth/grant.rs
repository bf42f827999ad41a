//! The rights of a caller.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{filter::Scope, view::Redaction};

/// The rights of a caller. A request carries them from the door's middleware to its method, unless
/// its service is open to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The name of the caller's token; none if the door asks for no credentials.
    pub name: Option<Arc<str>>,
    /// Which events the caller may see.
    pub scope: Arc<Scope>,
    /// Which fields of these events the caller may not see.
    pub redaction: Redaction,
    /// Whether `AdminService` is open to the caller.
    pub admin: bool,
    /// When the rights end.
    pub until: Option<Timestamp>,
}

impl Grant {
    /// The rights of every caller at a door that asks for no credentials.
    #[must_use]
    pub(crate) fn anonymous(admin: bool) -> Self {
        Self {
            name: None,
            scope: Arc::new(Scope::ALL),
            redaction: Redaction::default(),
            admin,
            until: None,
        }
    }
}
