//! Why something in the file could not be read: because it is damaged, or for another reason.

use rusqlite::{Error, ErrorCode};

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// What the file holds is not what was written.
    #[error("what the log holds is not what was written")]
    Damaged,
    #[error(transparent)]
    Sqlite(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..) => Self::Damaged,
            error if is_damage(&error) => Self::Damaged,
            error => Self::Sqlite(error),
        }
    }
}

impl Fault {
    pub(super) fn into_sqlite(self) -> Error {
        match self {
            Self::Damaged => Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
                Some("the log is damaged".into()),
            ),
            Self::Sqlite(error) => error,
        }
    }
}

/// Whether SQLite has met damage.
pub(super) fn is_damage(error: &Error) -> bool {
    let codes = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase];
    error
        .sqlite_error_code()
        .is_some_and(|code| codes.contains(&code))
}
