//! Writes an event as a row and reads it back.

use std::{collections::BTreeMap, sync::LazyLock};

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{
    Row, Statement, ToSql, params_from_iter,
    types::{ToSqlOutput, Type, ValueRef},
};

use crate::{
    event::{ByTextKey, EventId, Keys, NewEvent, Position, Raw, Sequence, StoredEvent, TextKey},
    proto::{self, EventType},
};

/// The columns that [`insert`] fills before the text keys, in the order of its values.
const INSERTED: [&str; 9] = [
    "sequence",
    "id",
    "type",
    "trace_id",
    "event_time",
    "receive_time",
    "raw_json",
    "raw_headers",
    "encoded",
];

/// What [`insert`] runs.
pub(super) static INSERT: LazyLock<String> = LazyLock::new(|| {
    let columns: Vec<&str> = INSERTED.into_iter().chain(key_columns()).collect();
    let values = vec!["?"; columns.len()];
    format!(
        "INSERT INTO events ({}) VALUES ({})",
        columns.join(", "),
        values.join(", ")
    )
});

/// The columns that [`position`] reads.
pub(super) const POSITION: &str = "sequence, id, receive_time";

/// The statement whose row [`last`] reads.
pub(super) const LAST: &str = "
    SELECT last_sequence AS sequence, last_id AS id, last_receive_time AS receive_time FROM log";

/// Writes an event at its place. Returns it, and the bytes that count for it.
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
    let values: [&dyn ToSql; INSERTED.len()] = [
        &sequence.0,
        &stored.id.0,
        &type_text(stored.keys.event_type),
        &trace_id,
        &time_text(event_time),
        &time_text(receive_time),
        // Bound as bytes: the text is stored as it came, and need not be validated again.
        &ToSqlOutput::Borrowed(ValueRef::Text(json)),
        &headers,
        &&stored.encoded[..],
    ];
    let texts = stored.keys.texts.iter().map(|(_, text)| text as &dyn ToSql);
    insert.execute(params_from_iter(values.into_iter().chain(texts)))?;
    let bytes = json.len() + headers.len() + stored.encoded.len();
    Ok((stored, u64::try_from(bytes).unwrap_or(u64::MAX)))
}

/// The place right behind a row that has the columns of [`POSITION`].
pub(super) fn position(row: &Row<'_>) -> rusqlite::Result<Position> {
    let time = row.as_ref().column_index("receive_time")?;
    Ok(Position::of(
        Sequence(row.get("sequence")?),
        EventId(row.get("id")?),
        stored_time(row, time)?,
    ))
}

/// The newest event ever committed, from a row of [`LAST`].
pub(super) fn last(row: &Row<'_>) -> rusqlite::Result<Position> {
    match Sequence(row.get("sequence")?) {
        Sequence::ZERO => Ok(Position::ORIGIN),
        _ => position(row),
    }
}

/// Where the columns of an event stand in the rows of a statement. They are looked up once, not
/// for each row.
pub(super) struct EventColumns {
    sequence: usize,
    id: usize,
    receive_time: usize,
    event_type: usize,
    encoded: usize,
    texts: ByTextKey<usize>,
    /// Body and headers, if they are selected.
    raw: Option<(usize, usize)>,
}

impl EventColumns {
    /// The columns to select.
    pub(super) fn select(with_raw: bool) -> String {
        let raw = with_raw.then_some("raw_json, raw_headers");
        let columns: Vec<&str> = ["sequence, id, receive_time, type, encoded"]
            .into_iter()
            .chain(key_columns())
            .chain(raw)
            .collect();
        columns.join(", ")
    }

    pub(super) fn of(statement: &Statement<'_>, with_raw: bool) -> rusqlite::Result<Self> {
        let mut texts = ByTextKey::default();
        for key in TextKey::ALL {
            texts[key] = statement.column_index(key.column())?;
        }
        Ok(Self {
            sequence: statement.column_index("sequence")?,
            id: statement.column_index("id")?,
            receive_time: statement.column_index("receive_time")?,
            event_type: statement.column_index("type")?,
            encoded: statement.column_index("encoded")?,
            texts,
            raw: match with_raw {
                true => Some((
                    statement.column_index("raw_json")?,
                    statement.column_index("raw_headers")?,
                )),
                false => None,
            },
        })
    }

    pub(super) fn event(&self, row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
        let mut keys = Keys {
            event_type: event_type(row, self.event_type)?,
            texts: ByTextKey::default(),
        };
        for (key, &column) in self.texts.iter() {
            keys.texts[key] = row.get(column)?;
        }
        Ok(StoredEvent {
            sequence: Sequence(row.get(self.sequence)?),
            id: EventId(row.get(self.id)?),
            receive_time: stored_time(row, self.receive_time)?,
            keys,
            encoded: bytes(row, self.encoded)?,
            raw: match self.raw {
                Some((json, headers)) => Some(raw(row, json, headers)?),
                None => None,
            },
        })
    }
}

fn key_columns() -> impl Iterator<Item = &'static str> {
    TextKey::ALL.into_iter().map(TextKey::column)
}

/// SQLite has no larger integers, and no sequence or length exceeds them.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC, always with nine decimal digits, so that texts sort as times do.
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

/// The type without the prefix that all types share: `CALL_STARTED`.
pub(super) fn type_text(event_type: EventType) -> &'static str {
    let name = event_type.as_str_name();
    name.strip_prefix(TYPE_PREFIX).unwrap_or(name)
}

const TYPE_PREFIX: &str = "EVENT_TYPE_";

fn event_type(row: &Row<'_>, index: usize) -> rusqlite::Result<EventType> {
    proto::EventType::from_str_name(&[TYPE_PREFIX, text(row, index)?].concat())
        .ok_or_else(|| not_written_here(index, "not a type of event"))
}

fn raw(row: &Row<'_>, json: usize, headers: usize) -> rusqlite::Result<Raw> {
    let by_name: BTreeMap<String, String> = serde_json::from_str(text(row, headers)?)
        .map_err(|_| not_written_here(headers, "not an object of texts"))?;
    Ok(Raw {
        json: bytes(row, json)?,
        headers: by_name.into_iter().collect(),
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

/// A text or blob, as bytes that need not be valid UTF-8.
fn bytes(row: &Row<'_>, index: usize) -> rusqlite::Result<Bytes> {
    match row.get_ref(index)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(Bytes::copy_from_slice(bytes)),
        _ => Err(not_written_here(index, "neither text nor blob")),
    }
}

fn not_written_here(index: usize, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Text, what.into())
}
