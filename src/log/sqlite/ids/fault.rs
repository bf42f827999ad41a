//! Why index work or a look-up did not come to its end.

use rusqlite::{Error, ErrorCode};

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// What the file holds is not what was written.
    #[error("the index of ids is damaged")]
    Damaged,
    #[error(transparent)]
    Sqlite(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..) => Self::Damaged,
            error => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged,
                _ => Self::Sqlite(error),
            },
        }
    }
}

impl Fault {
    pub(super) fn into_sqlite(self) -> Error {
        match self {
            Self::Damaged => Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
                Some("the index of ids is damaged".into()),
            ),
            Self::Sqlite(error) => error,
        }
    }
}
