//! What a caller may do.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{filter::Scope, view::Redaction};

/// The rights of a caller. Each request carries them from the door to its method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Whose token it is; none where callers need no credentials.
    pub name: Option<Arc<str>>,
    /// Which events the caller may see.
    pub scope: Arc<Scope>,
    /// What it may not see of them.
    pub redaction: Redaction,
    /// Whether `AdminService` is open to the caller.
    pub admin: bool,
    /// When the rights end.
    pub until: Option<Timestamp>,
}

impl Grant {
    /// The rights of everybody, where callers need no credentials.
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
