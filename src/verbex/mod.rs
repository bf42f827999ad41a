//! Stand-in.
use crate::{
    event::{EventId, NewEvent, Raw},
    proto,
};
use bytes::Bytes;
use jiff::Timestamp;

/// Stand-in.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Stand-in.
    pub id_key: [u8; 32],
    /// Stand-in.
    pub organization: Option<String>,
}
/// Stand-in.
#[derive(Debug)]
pub struct Normalized {
    /// Stand-in.
    pub event: NewEvent,
    /// Stand-in.
    pub surprises: Vec<Surprise>,
}
/// Stand-in.
#[derive(Debug)]
pub struct Surprise {
    /// Stand-in.
    pub field: &'static str,
    /// Stand-in.
    pub reason: &'static str,
    /// Stand-in.
    pub path: String,
}
/// Stand-in.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Stand-in.
    #[error("the body is not a JSON object")]
    Invalid,
    /// Stand-in.
    #[error("the body is nested too deep")]
    TooDeep,
}
/// Stand-in.
pub fn normalize(
    rules: &Rules,
    headers: Vec<(String, String)>,
    body: Bytes,
    _receive_time: Timestamp,
) -> Result<Normalized, BodyError> {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&body).map_err(|e| {
        if e.to_string().contains("recursion") {
            BodyError::TooDeep
        } else {
            BodyError::Invalid
        }
    })?;
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::keyed_hash(&rules.id_key, &body).as_bytes()[..16]);
    Ok(Normalized {
        event: NewEvent {
            id: EventId(id),
            event: proto::Event::default(),
            event_time_given: false,
            raw: Raw {
                json: body,
                headers,
            },
        },
        surprises: Vec::new(),
    })
}
