//! Rows are committed, whatever index turns out to be damaged, and the index is made anew.

use rusqlite::{Transaction, TransactionBehavior, params};

use super::{LogFile, is_busy, last, opener, overwritten};
use crate::log::{
    metrics::Damaged,
    sqlite::{
        call_index, fault,
        ids::{self, Ids},
        inspection::Wrong,
        rows::{self, Placed},
        trouble::Trouble,
    },
};

/// What a commit was writing when it failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Events,
    /// The row of `log`, or all at the end.
    Log,
    /// The index of ids and agents.
    Index,
}

impl LogFile {
    /// Commits rows, whatever index is damaged. The caller has checked the files.
    pub(super) fn store(&mut self, rows: &[Placed]) -> Result<(), Trouble> {
        let mut works = true;
        loop {
            let Err((writing, error)) = self.commit_rows(rows, works) else {
                return Ok(());
            };
            match (writing, error) {
                (Writing::Events, Trouble::Sqlite(error)) if fault::is_damage(&error) => {
                    self.without_indexes(&error)?;
                }
                (Writing::Index, Trouble::Sqlite(error)) if fault::is_damage(&error) => {
                    // It is made anew before the next group.
                    self.ids_damaged = true;
                    works = false;
                }
                (_, error) => return Err(error),
            }
        }
    }

    /// Commits rows, with index work or without, or nothing. Says what was being written when it
    /// failed.
    fn commit_rows(&mut self, rows: &[Placed], works: bool) -> Result<(), (Writing, Trouble)> {
        let mut writing = Writing::Log;
        self.try_commit(rows, works, &mut writing)
            .map_err(|error| (writing, error))
    }

    fn try_commit(
        &mut self,
        rows: &[Placed],
        works: bool,
        writing: &mut Writing,
    ) -> Result<(), Trouble> {
        let transaction = loop {
            match Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate) {
                Err(error) if is_busy(&error) => {}
                begun => break begun?,
            }
            // Another program writes. Nothing is lost by waiting: callers are answered.
            tracing::warn!("another program keeps the log locked; events wait for it");
            self.check()?;
        };
        if last(&transaction, self.epoch)? != Some(self.last) {
            return Err(overwritten(self.watch.place()));
        }
        if let Some(Placed { event, .. }) = rows.last() {
            *writing = Writing::Events;
            let mut bytes = 0;
            let mut insert = transaction.prepare_cached(&rows::INSERT)?;
            for row in rows {
                bytes += rows::insert(&mut insert, row)?;
            }
            *writing = Writing::Log;
            let updated = transaction
                .prepare_cached(
                    "UPDATE log SET last_sequence = ?1, last_id = ?2, last_receive_time = ?3,
                                    event_count = event_count + ?4, event_bytes = event_bytes + ?5",
                )?
                .execute(params![
                    event.sequence.0,
                    event.id.0,
                    rows::time_text(event.receive_time),
                    rows.len(),
                    bytes,
                ])?;
            if updated != 1 {
                return Err(overwritten(self.watch.place()));
            }
            if works {
                *writing = Writing::Index;
                self.ids.work(&transaction, rows.len())?;
            }
        }
        // If there is no new row, this writes and syncs nothing.
        Ok(transaction.commit()?)
    }

    /// Takes the indexes on events out of the schema, since one of them is damaged.
    fn without_indexes(&mut self, error: &rusqlite::Error) -> Result<(), Trouble> {
        let transaction = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        let names = call_index::take_out(&transaction)?;
        if names.is_empty() {
            // Then it is the events' own pages that are damaged.
            return Err(Trouble::Damaged(error.to_string()));
        }
        transaction.commit()?;
        self.metrics.damaged(Damaged::Index);
        tracing::warn!(
            indexes = names.join(", "),
            "an index on the events is damaged; it is no longer used, and made anew"
        );
        Ok(())
    }

    /// Makes anew what the index of ids has lost. If it cannot be written, it begins anew.
    pub(super) fn mend(&mut self) -> rusqlite::Result<()> {
        if !self.ids_damaged && !self.ids.is_broken() {
            match self.ids.mend(&self.conn) {
                Err(error) if fault::is_damage(&error) => {}
                mended => return mended,
            }
        }
        self.metrics.damaged(Damaged::Index);
        tracing::warn!("the index of ids and agents is damaged; it is made anew from the events");
        if !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        let anew = Transaction::new_unchecked(&self.conn, TransactionBehavior::Immediate)?;
        ids::begin_anew(&anew)?;
        anew.commit()?;
        let place = self.watch.place();
        self.ids = Ids::open(&self.conn, opener(place), self.recent.clone())?;
        self.ids_damaged = false;
        self.ids.mend(&self.conn)
    }

    /// Has the indexes made anew that turned out to be damaged.
    pub(in super::super) fn mend_indexes(&mut self, wrong: Wrong) -> Result<(), Trouble> {
        if wrong.calls {
            self.change(|transaction| Ok(call_index::take_out(transaction)?))?;
            self.metrics.damaged(Damaged::Index);
            tracing::warn!("the index on calls is damaged; it is made anew from the events");
        }
        self.ids_damaged |= wrong.ids;
        Ok(self.mend()?)
    }

    /// If a change has met damage, it is most likely in an index, which can be made anew.
    pub(super) fn suspect_indexes<T>(
        &mut self,
        changed: &Result<T, Trouble>,
    ) -> Result<(), Trouble> {
        if let Err(Trouble::Sqlite(error)) = changed
            && fault::is_damage(error)
            && !self.indexes_suspected
        {
            self.indexes_suspected = true;
            self.changed(|transaction, _| Ok(call_index::take_out(transaction)?))?;
            self.metrics.damaged(Damaged::Index);
            tracing::warn!(
                "the log is damaged; in case it is the index on calls, that is made anew"
            );
        }
        Ok(())
    }
}
