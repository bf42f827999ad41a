//! Whether a client begins with TLS or with plain HTTP. If the door speaks the other one, the
//! client is told so.

use std::{io, sync::Arc};

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    metrics::Closed,
    stream::{Seen, Stream},
};

/// The protocol that a client's first byte shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// A handshake record (RFC 8446, section 5.1).
    Tls,
    /// A letter: the beginning of an HTTP method or of HTTP/2's preface.
    PlainHttp,
    Neither,
}

impl Spoken {
    pub(super) fn reason(self) -> Closed {
        match self {
            Self::Tls => Closed::UnexpectedTls,
            Self::PlainHttp | Self::Neither => Closed::PlainHttp,
        }
    }

    fn message(self) -> &'static str {
        match self {
            // TLS clients recognise the beginning of an HTTP answer, and report that this port
            // speaks plain HTTP.
            Self::Tls => "this port speaks plain HTTP, without TLS: write http://",
            Self::PlainHttp | Self::Neither => {
                "this port speaks HTTPS, and the request came in plain HTTP: write https://"
            }
        }
    }
}

/// Waits for the first byte, without taking it from the stream.
pub(super) async fn spoken(stream: &TcpStream) -> io::Result<Spoken> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    const HANDSHAKE: u8 = 22;
    Ok(match first[0] {
        HANDSHAKE => Spoken::Tls,
        letter if letter.is_ascii_alphabetic() => Spoken::PlainHttp,
        _ => Spoken::Neither,
    })
}

/// Says in plain HTTP what the client did wrong. Then closes the connection so that the client can
/// read the answer.
pub(super) async fn answer(stream: TcpStream, spoken: Spoken) -> io::Result<()> {
    let message = spoken.message();
    let body = format!(r#"{{"error":{{"code":"REQUEST_INVALID","message":"{message}"}}}}"#);
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    let mut stream = Stream::new(stream, Arc::new(Seen::default()), None);
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
