//! Writes an event as a row and reads it back.

use std::{collections::BTreeMap, mem, sync::LazyLock};

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use rusqlite::{
    Row, Statement, params_from_iter,
    types::{ToSqlOutput, Type, ValueRef},
};
use serde::Serializer;

use super::checksum;
use crate::{
    event::{
        ByTextKey, EncodedEvent, EventId, Keys, NewEvent, Position, Raw, Sequence, StoredEvent,
        TextKey,
    },
    proto::{self, EventType},
};

/// All that is delivered of an event, in the order of its checksum.
const COLUMNS: [&str; 14] = [
    "sequence",
    "id",
    "type",
    "event_name",
    "trace_id",
    "organization_id",
    "agent_id",
    "call_id",
    "status",
    "event_time",
    "receive_time",
    "raw_json",
    "raw_headers",
    "encoded",
];

/// The values of those columns.
pub(super) type Values<'v> = [ValueRef<'v>; COLUMNS.len()];

/// The columns of which [`event`] reads an event. The last says whether it may lack its checksum:
/// otherwise a bit of a row that hides this column would hide all damage of the row.
pub(super) static SELECTED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}, checksum, checksum = 0 AND sequence <= (SELECT unchecked_sequence FROM log)",
        COLUMNS.join(", ")
    )
});

/// What an erased event has in place of its headers: when it was erased. No header has this name.
pub(super) const ERASE_TIME: &str = "erase_time";

/// What [`insert`] runs.
pub(super) static INSERT: LazyLock<String> = LazyLock::new(|| {
    let values = [", ?"; COLUMNS.len()].concat();
    let columns = COLUMNS.join(", ");
    format!("INSERT INTO events ({columns}, checksum) VALUES (?{values})")
});

/// The statement whose row [`last`] reads.
pub(super) const LAST: &str = "
    SELECT last_sequence AS sequence, last_id AS id, last_receive_time AS receive_time FROM log";

/// An event on its way into the log, with all that can be made before it has its place. The caller
/// makes this, so that the one thread that commits does not have to.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) event: EncodedEvent,
    /// The text of the time that Verbex gave, if the log can hold that time.
    event_time: Option<String>,
    /// The headers as a JSON object.
    headers: String,
}

impl From<NewEvent> for Prepared {
    fn from(event: NewEvent) -> Self {
        let event = event.encode();
        Self {
            event_time: event.event_time.and_then(time).map(time_text),
            headers: headers_text(&event.raw.headers),
            event,
        }
    }
}

/// An event at its place, with what its row has beside it.
pub(super) struct Placed {
    pub(super) event: StoredEvent,
    trace_id: String,
    event_time: Option<String>,
    headers: String,
}

impl Placed {
    pub(super) fn new(prepared: Prepared, sequence: Sequence, receive_time: Timestamp) -> Self {
        let Prepared {
            mut event,
            event_time,
            headers,
        } = prepared;
        Self {
            trace_id: mem::take(&mut event.trace_id),
            event: event.place(sequence, receive_time),
            event_time,
            headers,
        }
    }
}

/// Writes the row of an event. Returns the bytes that count for it.
pub(super) fn insert(insert: &mut Statement<'_>, placed: &Placed) -> rusqlite::Result<u64> {
    let Placed {
        event: stored,
        trace_id,
        event_time,
        headers,
    } = placed;
    let json = stored.raw.as_ref().map_or(&b""[..], |raw| &raw.json);
    let texts = &stored.keys.texts;
    fn text(text: &str) -> ValueRef<'_> {
        ValueRef::Text(text.as_bytes())
    }
    let received = time_text(stored.receive_time);
    let event_time = event_time.as_ref().unwrap_or(&received);
    let values: [ValueRef<'_>; COLUMNS.len()] = [
        ValueRef::Integer(signed(stored.sequence.0)),
        ValueRef::Blob(&stored.id.0),
        text(type_text(stored.keys.event_type)),
        text(&texts[TextKey::EventName]),
        text(trace_id),
        text(&texts[TextKey::OrganizationId]),
        text(&texts[TextKey::AgentId]),
        text(&texts[TextKey::CallId]),
        text(&texts[TextKey::Status]),
        text(event_time),
        text(&received),
        // Bound as bytes: the text is stored as it came, and need not be validated again.
        ValueRef::Text(json),
        text(headers),
        ValueRef::Blob(&stored.encoded),
    ];
    let bytes = bytes_of(&values);
    let checksum = ToSqlOutput::from(checksum::of(values));
    let values = values.map(ToSqlOutput::Borrowed);
    insert.execute(params_from_iter(values.into_iter().chain([checksum])))?;
    Ok(bytes)
}

fn position(row: &Row<'_>) -> rusqlite::Result<Position> {
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

/// Reads a row that has the columns of [`SELECTED`]. Fails if its checksum does not hold.
pub(super) fn event(row: &Row<'_>, with_raw: bool) -> rusqlite::Result<StoredEvent> {
    if !holds(row)? {
        let index = const { column("checksum") };
        return Err(not_written_here(index, "the checksum does not hold"));
    }
    let mut keys = Keys {
        event_type: event_type(row, const { column("type") })?,
        texts: ByTextKey::default(),
    };
    for (key, &index) in TEXTS.iter() {
        keys.texts[key] = row.get(index)?;
    }
    Ok(StoredEvent {
        sequence: Sequence(row.get(const { column("sequence") })?),
        id: EventId(row.get(const { column("id") })?),
        receive_time: stored_time(row, const { column("receive_time") })?,
        keys,
        encoded: bytes(row, const { column("encoded") })?,
        raw: match with_raw {
            true => Some(raw(
                row,
                const { column("raw_json") },
                const { column("raw_headers") },
            )?),
            false => None,
        },
    })
}

/// What is delivered of a row that has the columns of [`SELECTED`], in the order of its checksum.
pub(super) fn values<'r>(row: &'r Row<'_>) -> rusqlite::Result<Values<'r>> {
    let mut values = [ValueRef::Null; COLUMNS.len()];
    for (index, value) in values.iter_mut().enumerate() {
        *value = row.get_ref(index)?;
    }
    Ok(values)
}

/// The checksum that such a row should have.
pub(super) fn checksum(row: &Row<'_>) -> rusqlite::Result<i64> {
    Ok(checksum::of(values(row)?))
}

/// Whether such a row is what was written, or rightly has no checksum yet.
pub(super) fn holds(row: &Row<'_>) -> rusqlite::Result<bool> {
    let index = const { column("checksum") };
    Ok(row.get::<_, i64>(index)? == checksum(row)? || is_unchecked(row)?)
}

/// The bytes that count for a row with these values.
pub(super) fn bytes_of(values: &Values<'_>) -> u64 {
    let counted = const { [column("raw_json"), column("raw_headers"), column("encoded")] };
    let lengths = counted.map(|index| match values[index] {
        ValueRef::Text(value) | ValueRef::Blob(value) => value.len() as u64,
        _ => 0,
    });
    lengths.iter().sum()
}

/// Whether such a row rightly has no checksum yet.
pub(super) fn is_unchecked(row: &Row<'_>) -> rusqlite::Result<bool> {
    row.get(const { column("checksum") + 1 })
}

/// Whether what is sent of an event is this event.
pub(super) fn is_encoded(event: &StoredEvent) -> bool {
    proto::Event::decode(event.encoded.clone()).is_ok_and(|decoded| {
        decoded.sequence == event.sequence.0
            && decoded.id == event.id.to_string()
            && decoded.receive_time.and_then(time) == Some(event.receive_time)
    })
}

/// Where the text keys stand.
static TEXTS: LazyLock<ByTextKey<usize>> =
    LazyLock::new(|| ByTextKey::from_fn(|key| column(key.column())));

/// Where a column of [`SELECTED`] stands.
pub(super) const fn column(name: &str) -> usize {
    let mut index = 0;
    while index < COLUMNS.len() && !is_same(COLUMNS[index].as_bytes(), name.as_bytes()) {
        index += 1;
    }
    // The checksum is the last.
    index
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
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

/// The type that [`type_text`] wrote.
pub(super) fn type_of(text: &str) -> Option<EventType> {
    EventType::from_str_name(&[TYPE_PREFIX, text].concat())
}

fn event_type(row: &Row<'_>, index: usize) -> rusqlite::Result<EventType> {
    type_of(text(row, index)?).ok_or_else(|| not_written_here(index, "not a type of event"))
}

fn raw(row: &Row<'_>, json: usize, headers: usize) -> rusqlite::Result<Raw> {
    let by_name: BTreeMap<String, String> = serde_json::from_str(text(row, headers)?)
        .map_err(|_| not_written_here(headers, "not an object of texts"))?;
    if by_name.contains_key(ERASE_TIME) {
        return Ok(Raw::default());
    }
    Ok(Raw {
        json: bytes(row, json)?,
        headers: by_name.into_iter().collect(),
    })
}

/// Names and values, whose names are sorted and different, as a JSON object.
fn headers_text(headers: &[(String, String)]) -> String {
    let mut text = Vec::with_capacity(128);
    let pairs = headers.iter().map(|(name, value)| (name, value));
    // Texts always become JSON, and memory always takes it.
    let _ = serde_json::Serializer::new(&mut text).collect_map(pairs);
    String::from_utf8(text).unwrap_or_default()
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
