//! What remains of an event that is erased.

use std::iter;

use jiff::Timestamp;
use rusqlite::{
    Connection, OptionalExtension,
    types::{Value, ValueRef},
};

use super::{
    checksum,
    rows::{self, Values, column, signed, time_text},
};
use crate::{
    event::{EventId, Sequence, timestamp},
    log::phone::Phone,
    proto::{self, EventType},
};

/// All that is known of the event when what it held is gone.
pub(super) struct Remains {
    sequence: Sequence,
    id: EventId,
    event_type: EventType,
    event_name: String,
    trace_id: String,
    organization_id: String,
    agent_id: String,
    call_id: String,
    status: String,
    event_time: Timestamp,
    receive_time: Timestamp,
}

impl Remains {
    /// From the event's row. If that is damaged, this is what can still be read of it: each value
    /// is one that an event may have.
    pub(super) fn of(
        conn: &Connection,
        sequence: Sequence,
        row: &Values<'_>,
        checksum: i64,
    ) -> rusqlite::Result<Self> {
        let text = |index: usize| {
            let bytes = row[index].as_bytes().unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let time = |index| text(index).parse::<Timestamp>().ok();
        let received = time(const { column("receive_time") });
        let receive_time = match received {
            // It may not have been made yet.
            Some(received) if checksum == 0 || checksum == checksum::of(*row) => received,
            received => between_others(conn, sequence, received)?,
        };
        let id = match row[const { column("id") }] {
            ValueRef::Blob(bytes) => bytes.try_into().unwrap_or_default(),
            _ => [0; 16],
        };
        Ok(Self {
            sequence,
            id: EventId(id),
            event_type: rows::type_of(&text(const { column("type") })).unwrap_or(EventType::Other),
            event_name: text(const { column("event_name") }),
            trace_id: text(const { column("trace_id") }),
            organization_id: text(const { column("organization_id") }),
            agent_id: text(const { column("agent_id") }),
            call_id: text(const { column("call_id") }),
            status: text(const { column("status") }),
            event_time: time(const { column("event_time") }).unwrap_or(receive_time),
            receive_time,
        })
    }

    /// Without the texts that hold a phone number. Who acts in a call, and which call it is, stay.
    pub(super) fn without(mut self, phone: &Phone) -> Self {
        for text in [&mut self.event_name, &mut self.trace_id, &mut self.status] {
            if phone.is_in(text) {
                text.clear();
            }
        }
        self
    }

    /// The event as it is delivered from now on.
    pub(super) fn event(&self, erased: Timestamp) -> proto::Event {
        proto::Event {
            sequence: self.sequence.0,
            id: self.id.to_string(),
            r#type: self.event_type.into(),
            event_name: self.event_name.clone(),
            trace_id: self.trace_id.clone(),
            organization_id: self.organization_id.clone(),
            agent_id: self.agent_id.clone(),
            call_id: self.call_id.clone(),
            status: self.status.clone(),
            event_time: Some(timestamp(self.event_time)),
            receive_time: Some(timestamp(self.receive_time)),
            erase_time: Some(prost_types::Timestamp {
                seconds: erased.as_second(),
                nanos: 0,
            }),
            ..proto::Event::default()
        }
    }

    /// The values of its columns, each with its place in [`Values`].
    pub(super) fn columns(&self) -> [(usize, Value); 10] {
        let text = |text: &str| Value::Text(text.to_owned());
        [
            (const { column("id") }, Value::Blob(self.id.0.into())),
            (
                const { column("type") },
                text(rows::type_text(self.event_type)),
            ),
            (const { column("event_name") }, text(&self.event_name)),
            (const { column("trace_id") }, text(&self.trace_id)),
            (
                const { column("organization_id") },
                text(&self.organization_id),
            ),
            (const { column("agent_id") }, text(&self.agent_id)),
            (const { column("call_id") }, text(&self.call_id)),
            (const { column("status") }, text(&self.status)),
            (
                const { column("event_time") },
                text(&time_text(self.event_time)),
            ),
            (
                const { column("receive_time") },
                text(&time_text(self.receive_time)),
            ),
        ]
    }
}

/// A receive time that fits to those of the events before and after: receive times never decrease.
fn between_others(
    conn: &Connection,
    sequence: Sequence,
    received: Option<Timestamp>,
) -> rusqlite::Result<Timestamp> {
    let neighbour = |sql: &str| -> rusqlite::Result<Option<Timestamp>> {
        let text: Option<String> = conn
            .prepare_cached(sql)?
            .query_row([signed(sequence.0)], |row| row.get(0))
            .optional()?;
        Ok(text.and_then(|text| text.parse().ok()))
    };
    let before = neighbour(
        "SELECT receive_time FROM events WHERE sequence < ?1 ORDER BY sequence DESC LIMIT 1",
    )?;
    let after =
        neighbour("SELECT receive_time FROM events WHERE sequence > ?1 ORDER BY sequence LIMIT 1")?;
    let known = iter::chain(received, before).chain(after).next();
    let time = known.unwrap_or(Timestamp::UNIX_EPOCH);
    let time = after.map_or(time, |after| time.min(after));
    Ok(before.map_or(time, |before| time.max(before)))
}
