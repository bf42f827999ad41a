//! What a caller may do.

use std::sync::Arc;

use jiff::Timestamp;

/// The rights of a caller. Each request carries them from the door to its method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose token it is; none where callers need no credentials.
    pub name: Option<Arc<str>>,
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
            admin,
            until: None,
        }
    }
}
