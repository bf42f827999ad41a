//! Why the file cannot be written now.

use std::{io, path::PathBuf};

use crate::event::Sequence;

#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Changed(#[from] Changed),
    #[error(
        "the pages where new events go are damaged ({0}); restore a backup, or start once with \
         --new-log after moving the files away"
    )]
    Damaged(String),
    #[error("another program is using the log at the moment")]
    Busy,
    #[error("an event was given the place {sequence}, but the log has already reached {last}")]
    OutOfOrder { sequence: Sequence, last: Sequence },
}

/// What another program has done to the files.
#[derive(Debug, thiserror::Error)]
pub(super) enum Changed {
    #[error(
        "{0} was removed or moved away while the gateway had it open; put the same file back, or \
         stop the gateway, restore a backup and start again"
    )]
    Gone(PathBuf),
    #[error(
        "{0} is another file than the gateway has open, so nothing is written to it; put the \
         first one back, or restart the gateway to use this one"
    )]
    Exchanged(PathBuf),
    #[error(
        "{0} was cut short or broken while the gateway had it open; stop the gateway, restore a \
         backup and start again"
    )]
    CutShort(PathBuf),
    #[error(
        "{0} was written over by something else: it is another log now, or an older copy of this \
         one; put the right content back, or restart the gateway to use what is there"
    )]
    Overwritten(PathBuf),
    #[error(
        "{0} was removed or exchanged while the gateway had it open; what was in it is being moved \
         into events.db; stop the gateway with SIGTERM and start it again"
    )]
    WalGone(PathBuf),
    #[error("{0} was removed or exchanged while the gateway had it open; restart the gateway")]
    ShmGone(PathBuf),
    #[error(
        "{0} was emptied or cut short while the gateway had it open, together with events that had \
         not been moved into events.db yet; stop the gateway, restore a backup if you have one, \
         and start again"
    )]
    WalCutShort(PathBuf),
    #[error(
        "{0}, or the -shm file beside it, was written over by something else: they do not belong \
         together any more; put the right content back, or stop the gateway, restore a backup if \
         you have one, and start again"
    )]
    WalOverwritten(PathBuf),
}
