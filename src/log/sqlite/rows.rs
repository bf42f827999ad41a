//! An event as a row, written and read back.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{
    Row, Statement,
    types::{ToSqlOutput, Type, ValueRef},
};

use crate::{
    event::{EventId, Keys, NewEvent, Position, Raw, Sequence, StoredEvent},
    proto::{self, EventType},
};

/// What [`insert`] runs.
pub(super) const INSERT: &str = "
    INSERT INTO events (sequence, id, type, event_name, trace_id, organization_id, agent_id, call_id, status,
                        event_time, receive_time, raw_json, raw_headers, encoded)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

/// What [`position`] reads.
pub(super) const POSITION: &str = "sequence, id, receive_time";
/// What [`stored`] reads, with [`RAW`] behind it where the raw body is wanted.
pub(super) const STORED: &str = "sequence, id, receive_time, type, event_name, organization_id, agent_id, call_id, status, encoded";
/// Follows [`STORED`].
pub(super) const RAW: &str = ", raw_json, raw_headers";
/// What [`last`] reads.
pub(super) const LAST: &str = "SELECT last_sequence, last_id, last_receive_time FROM log";

/// Writes an event at its place. Returns it with the bytes that it counts.
pub(super) fn insert(
    insert: &mut Statement<'_>,
    event: NewEvent,
    sequence: Sequence,
    receive_time: Timestamp,
) -> rusqlite::Result<(StoredEvent, u64)> {
    let trace_id = event.event.trace_id.clone();
    let event_time = event
        .event
        .event_time
        .filter(|_| event.event_time_given)
        .and_then(time)
        .unwrap_or(receive_time);
    let stored = event.place(sequence, receive_time);
    let raw = stored.raw.as_ref();
    let json = raw.map_or(&b""[..], |raw| &raw.json);
    let headers = headers_text(raw);
    let keys = &stored.keys;
    insert.execute(rusqlite::params![
        sequence.0,
        stored.id.0,
        type_text(keys.event_type),
        keys.event_name,
        trace_id,
        keys.organization_id,
        keys.agent_id,
        keys.call_id,
        keys.status,
        time_text(event_time),
        time_text(receive_time),
        // Bound as bytes: what came is what is kept, and nobody has to look at it again.
        ToSqlOutput::Borrowed(ValueRef::Text(json)),
        headers,
        &stored.encoded[..],
    ])?;
    let bytes = json.len() + headers.len() + stored.encoded.len();
    Ok((stored, u64::try_from(bytes).unwrap_or(u64::MAX)))
}

/// The place right behind a row of [`POSITION`] columns, or of any that begin with them.
pub(super) fn position(row: &Row<'_>) -> rusqlite::Result<Position> {
    Ok(Position::of(
        Sequence(row.get(0)?),
        EventId(row.get(1)?),
        stored_time(row, 2)?,
    ))
}

/// The newest event that there ever was, from [`LAST`].
pub(super) fn last(row: &Row<'_>) -> rusqlite::Result<Position> {
    match Sequence(row.get(0)?) {
        Sequence::ZERO => Ok(Position::ORIGIN),
        _ => position(row),
    }
}

/// The event of a row of [`STORED`] columns, and [`RAW`] ones.
pub(super) fn stored(row: &Row<'_>, with_raw: bool) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        sequence: Sequence(row.get(0)?),
        id: EventId(row.get(1)?),
        receive_time: stored_time(row, 2)?,
        keys: Keys {
            event_type: event_type(row, 3)?,
            event_name: row.get(4)?,
            organization_id: row.get(5)?,
            agent_id: row.get(6)?,
            call_id: row.get(7)?,
            status: row.get(8)?,
        },
        encoded: bytes(row, 9)?,
        raw: if with_raw { Some(raw(row, 10)?) } else { None },
    })
}

/// RFC 3339 in UTC, always with nine digits, so that texts sort as times do.
pub(super) fn time_text(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// A time that [`time_text`] wrote.
pub(super) fn stored_time(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    text(row, index)?
        .parse()
        .map_err(|_| not_written_here(index, "not a time"))
}

/// A time of the contract; none if it is out of range.
pub(super) fn time(time: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

/// The type without what all of them begin with: `CALL_STARTED`.
pub(super) fn type_text(event_type: EventType) -> &'static str {
    let name = event_type.as_str_name();
    name.strip_prefix(TYPE_PREFIX).unwrap_or(name)
}

const TYPE_PREFIX: &str = "EVENT_TYPE_";

fn event_type(row: &Row<'_>, index: usize) -> rusqlite::Result<EventType> {
    proto::EventType::from_str_name(&[TYPE_PREFIX, text(row, index)?].concat())
        .ok_or_else(|| not_written_here(index, "not a type of event"))
}

fn raw(row: &Row<'_>, index: usize) -> rusqlite::Result<Raw> {
    let headers: BTreeMap<String, String> = serde_json::from_str(text(row, index + 1)?)
        .map_err(|_| not_written_here(index + 1, "not an object of texts"))?;
    Ok(Raw {
        json: bytes(row, index)?,
        headers: headers.into_iter().collect(),
    })
}

fn headers_text(raw: Option<&Raw>) -> String {
    let headers = raw.map_or(&[][..], |raw| &raw.headers);
    let object: serde_json::Map<String, serde_json::Value> = headers
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    serde_json::Value::Object(object).to_string()
}

fn text<'a>(row: &'a Row<'_>, index: usize) -> rusqlite::Result<&'a str> {
    row.get_ref(index)?
        .as_str()
        .map_err(|_| not_written_here(index, "not a text"))
}

/// Text or blob, whatever bytes there are in it.
fn bytes(row: &Row<'_>, index: usize) -> rusqlite::Result<Bytes> {
    match row.get_ref(index)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(Bytes::copy_from_slice(bytes)),
        _ => Err(not_written_here(index, "neither text nor blob")),
    }
}

fn not_written_here(index: usize, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, what.into())
}
