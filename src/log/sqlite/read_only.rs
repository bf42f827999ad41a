//! A log opened only for reading, with or without a gateway that has it open.

use std::{fs, io, path::Path, sync::Arc};

use prometheus_client::registry::Registry;
use rusqlite::Connection;

use super::{alone, connection, folder::LOG_NAME, reader, reader::Reader, schema};
use crate::log::{
    error::{OpenError, Unfit},
    metrics::Metrics,
    parts::Identity,
};

/// A log, opened by [`open_read_only`].
pub(crate) struct ReadOnly {
    pub identity: Identity,
    pub reader: Reader,
}

/// Opens the log in this folder for reading. Takes no lock, and writes nothing into the log. (If no
/// gateway has it open, SQLite leaves an empty `-wal` file and a `-shm` file beside it.)
pub(crate) fn open_read_only(data_dir: &Path) -> Result<ReadOnly, OpenError> {
    let path = data_dir.join(LOG_NAME);
    let conn = connect(&path)?;
    let identity = schema::identity(&conn).map_err(OpenError::database(&path))?;
    // Nobody asks for these.
    let metrics = Metrics::register(&mut Registry::default());
    let open = move || Ok(connection::reader(&path)?);
    let reader = reader::start(open, Arc::default(), metrics)
        .map_err(|source| OpenError::Threads { source })?;
    Ok(ReadOnly { identity, reader })
}

/// The same, as one connection.
pub(super) fn connect(path: &Path) -> Result<Connection, OpenError> {
    let failed = OpenError::database(path);
    let owned = || path.to_owned();
    match fs::metadata(path) {
        Ok(_) => {}
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            let data_dir = path.parent().unwrap_or(path).to_owned();
            return Err(OpenError::NoLog { data_dir });
        }
        Err(source) => {
            let path = owned();
            return Err(OpenError::Files { path, source });
        }
    }
    let conn = connection::reader(path).map_err(failed)?;
    let unfit = match alone::of(&conn).map_err(failed)? {
        None => Some(Unfit::Foreign),
        Some(found) if found.version < 1 => Some(Unfit::Version(found.version)),
        Some(_) => None,
    };
    if let Some(what) = unfit {
        return Err(OpenError::Unfit {
            path: owned(),
            what,
        });
    }
    let found = schema::known(&conn, path)?;
    if found < schema::VERSION {
        return Err(OpenError::OlderSchema {
            path: owned(),
            found,
            known: schema::VERSION,
        });
    }
    Ok(conn)
}
