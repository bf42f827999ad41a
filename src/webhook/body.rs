//! Reads a body, with bounds on its time, its size, and its size after decompression.

use std::{
    error::Error,
    io::{self, Read},
    time::Duration,
};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use tower::BoxError;

use super::{
    refusal::Refusal,
    room::{FREE_BYTES, Room, Taken},
};

/// How much of a refused body is read and discarded, so that the client reads the answer.
pub(super) const THROWN_AWAY_MAX: u64 = 64 * 1024 * 1024;
/// How often a body may be compressed. Senders do it once; this bounds the work.
const CODINGS_MAX: usize = 4;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// zlib's format by RFC 9110, section 8.4.1.2. Some senders omit the zlib header, so a raw
    /// deflate stream is accepted too.
    Deflate,
}

/// Refuses a content type that is present and is not JSON.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let all_json = values.all(|value| {
        value == "application/json" || is_json(&String::from_utf8_lossy(value.as_bytes()))
    });
    all_json
        .then_some(())
        .ok_or(Refusal::ContentTypeUnsupported)
}

/// Whether each media type in a header is JSON. Everything else in the header is ignored.
///
/// Some senders repeat the type, leave it empty, or separate parameters by a comma or a space.
fn is_json(content_type: &str) -> bool {
    let mut in_quotes = false;
    let pieces = content_type.split(|char| {
        in_quotes ^= char == '"';
        !in_quotes && matches!(char, ';' | ',')
    });
    pieces.enumerate().all(|(place, piece)| {
        let word = piece.split_whitespace().next().unwrap_or_default();
        let is_media_type = place == 0 || word.split('=').next().unwrap_or_default().contains('/');
        word.is_empty() || !is_media_type || is_json_type(word)
    })
}

fn is_json_type(media_type: &str) -> bool {
    let media_type = media_type.to_ascii_lowercase();
    media_type.split_once('/').is_some_and(|(kind, subtype)| {
        !kind.is_empty()
            && (matches!(subtype, "json" | "x-json")
                || subtype
                    .strip_suffix("+json")
                    .is_some_and(|name| !name.is_empty()))
    })
}

/// The encodings of a body in the order in which they were applied.
pub(super) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Refusal> {
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = value.to_str().map_err(|_| Refusal::EncodingUnsupported)?;
        for name in value.split(',') {
            match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                // Not encodings: some senders name the charset, or a transfer encoding of mail. The
                // body must be UTF-8 anyway.
                "none" | "7bit" | "8bit" | "binary" => {}
                name if is_charset(name) => {}
                "gzip" | "x-gzip" => codings.push(Coding::Gzip),
                "deflate" => codings.push(Coding::Deflate),
                _ => return Err(Refusal::EncodingUnsupported),
            }
        }
    }
    if codings.len() > CODINGS_MAX {
        return Err(Refusal::EncodingUnsupported);
    }
    Ok(codings)
}

/// Whether this is the name of UTF-8 or of a charset that extends ASCII; `charset=` may precede it.
fn is_charset(name: &str) -> bool {
    let name = name
        .strip_prefix("charset=")
        .unwrap_or(name)
        .trim_matches('"');
    matches!(
        name,
        "utf-8" | "utf8" | "us-ascii" | "ascii" | "iso-8859-1" | "latin1"
    )
}

/// A body as it was sent, and the room that it takes.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) room: Taken,
    /// Until when the body was allowed to arrive.
    pub(super) deadline: Instant,
}

/// Reads a body of at most `bytes_max`, before `time` has passed. The rest of a larger body is not
/// read. A body that is not small waits for room; meanwhile the client cannot send more of it.
pub(super) async fn receive<B>(
    mut body: B,
    bytes_max: usize,
    time: Duration,
    room: &Room,
) -> Result<Received, Refusal>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let deadline = Instant::now() + time;
    let too_large = Refusal::BodyTooLarge { limit: bytes_max };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large);
    }
    let mut taken = None;
    let mut received = Vec::new();
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Refusal::BodyTimeout { limit: time }),
            Ok(None) => {
                return Ok(Received {
                    bytes: received.into(),
                    room: taken,
                    deadline,
                });
            }
            Ok(Some(Err(error))) => return Err(broken(&*error.into())),
            Ok(Some(Ok(frame))) => frame,
        };
        // Frames without data are trailers, which are not used.
        let data = frame.into_data().unwrap_or_default();
        if data.len() > bytes_max - received.len() {
            return Err(too_large);
        }
        if taken.is_none() && received.len() + data.len() > FREE_BYTES {
            // The body's length, or the most that it may have if the client does not say it.
            let rest = body
                .size_hint()
                .upper()
                .map_or(bytes_max, |rest| rest as usize);
            let whole = bytes_max.min(received.len() + data.len() + rest);
            taken = room.for_body(whole, deadline).await?;
            received.reserve_exact(whole - received.len());
        }
        received.extend_from_slice(&data);
    }
}

/// The refusal of a body that ends in an error: its chunks are not valid, or the connection is
/// lost.
fn broken(error: &(dyn Error + 'static)) -> Refusal {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let mut kinds = causes.filter_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    let malformed = [io::ErrorKind::InvalidInput, io::ErrorKind::InvalidData];
    if kinds.any(|kind| malformed.contains(&kind)) {
        Refusal::BodyUnframed
    } else {
        Refusal::BodyBrokenOff
    }
}

/// Reads the rest of a refused body, up to 64 MiB and until `deadline`. Many clients read the
/// answer only after they have sent everything, and some treat the reset of an HTTP/2 stream as a
/// failure although the answer came before it.
pub(super) async fn throw_away<B>(mut body: B, deadline: Instant)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut thrown_away = 0;
    while thrown_away < THROWN_AWAY_MAX
        && let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await
    {
        thrown_away += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

/// Decompresses a body, up to `bytes_max`.
pub(super) fn unpack(body: Bytes, codings: &[Coding], bytes_max: usize) -> Result<Bytes, Refusal> {
    codings.iter().rev().try_fold(body, |packed, coding| {
        match coding {
            Coding::Gzip => read_to(MultiGzDecoder::new(&packed[..]), bytes_max),
            Coding::Deflate => read_to(ZlibDecoder::new(&packed[..]), bytes_max)
                .or_else(|_| read_to(DeflateDecoder::new(&packed[..]), bytes_max)),
        }
        .map_err(|_| Refusal::body_invalid("the body is not compressed as Content-Encoding says"))?
        .ok_or(Refusal::BodyTooLarge { limit: bytes_max })
    })
}

/// All bytes of the reader, or none if there are more than the limit.
fn read_to(reader: impl Read, bytes_max: usize) -> io::Result<Option<Bytes>> {
    let mut bytes = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= bytes_max).then(|| bytes.into()))
}

#[cfg(test)]
mod tests;
