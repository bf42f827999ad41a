//! Work on the index of ids and agents, apart from appends.

use std::{io, time::Instant};

use super::{LogFile, opener};
use crate::log::sqlite::{
    fault,
    ids::{Ids, IndexWork},
    trouble::Trouble,
};

impl LogFile {
    /// Goes on with work on the index, until the step has had its time.
    pub(crate) fn work_on_index(&mut self, until: Instant) -> Result<IndexWork, Trouble> {
        if self.ids.is_idle() {
            return Ok(IndexWork::Done);
        }
        if self.ids.begins_again() {
            return Ok(IndexWork::Failed);
        }
        let mut has_begun = false;
        let worked = self.change_with_ids(|transaction, ids| {
            has_begun = true;
            Ok(ids.go_on(transaction, until)?)
        });
        if let Err(Trouble::Sqlite(error)) = &worked {
            // It is made anew before the next group.
            self.ids_damaged |= fault::is_damage(error);
        }
        if has_begun && worked.is_err() {
            // Appends need the ids, and go on.
            let opened = Ids::open(&self.conn, opener(self.watch.place()), self.recent.clone());
            self.ids = opened.map_err(io::Error::other)?;
        }
        worked?;
        // Readers are told what is durable as the index.
        self.ids.insert([]);
        Ok(IndexWork::GoesOn)
    }

    /// How many events the work has met, since the last call, whose id an event before them has.
    pub(crate) fn take_repeated(&mut self) -> u64 {
        self.ids.take_repeated()
    }
}
