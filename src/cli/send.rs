//! `send`: posts webhook bodies as Verbex would.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    fs::File,
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader, stdin},
};

use super::{
    output::{self, without_mark},
    post::{Answer, To},
};

const EXAMPLES: &str = "\
Examples:
  One webhook to a gateway on this machine:
    verbex-gateway send call_ended.json
  What one gateway has, to another one:
    verbex-gateway events --format raw | verbex-gateway send --url \
    https://other.example.org/webhooks/verbex
  To a door that wants credentials:
    verbex-gateway send -H 'X-Api-Key: …' call_ended.json

Prints a line for each body: what the gateway made of it, its sequence and its id. The exit code \
is 1 if any was refused.
What was sent before is a duplicate: the same event, stored once.";

/// Post webhook bodies as Verbex would
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Files to post: JSON Lines if the first line is complete JSON, otherwise one body; - is
    /// standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    to: To,
}

/// Runs until all bodies are posted.
///
/// # Errors
/// If a file cannot be read, there is no answer, or a body was refused. After a refusal the other
/// bodies are still posted.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let door = args.to.door()?;
    let mut refused = 0_u64;
    for path in args.files {
        let name = path.display().to_string();
        let mut bodies = Bodies::open(&path)
            .await
            .with_context(|| format!("cannot read {name}"))?;
        while let Some((line, body)) = bodies
            .next()
            .await
            .with_context(|| format!("cannot read {name}"))?
        {
            let headers = verbex_headers(&body, Timestamp::now());
            let answer = door.post(headers, body).await;
            match answer.with_context(|| format!("{name}:{line}"))? {
                Answer::Taken(receipt) => {
                    let what = if receipt.duplicate {
                        "duplicate"
                    } else {
                        "stored"
                    };
                    writeln!(
                        io::stdout(),
                        "{what:<9}  {:>8}  {}",
                        receipt.sequence,
                        receipt.id
                    )?;
                }
                Answer::Refused(refusal) => {
                    refused += 1;
                    writeln!(io::stderr(), "{name}:{line}: refused, {refusal}")?;
                }
            }
        }
    }
    match refused {
        0 => Ok(()),
        1 => bail!("1 body was refused"),
        _ => bail!("{refused} bodies were refused"),
    }
}

/// The bodies in a file, each with the line where it starts.
struct Bodies {
    reader: Box<dyn AsyncBufRead + Send + Unpin>,
    line: usize,
    kind: Kind,
}

enum Kind {
    Unknown,
    Lines,
    Read,
}

impl Bodies {
    async fn open(path: &PathBuf) -> io::Result<Self> {
        Ok(Self::new(if path.as_os_str() == "-" {
            if io::stdin().is_terminal() {
                output::tell("reading bodies from the terminal; press Ctrl-D after the last one");
            }
            Box::new(BufReader::new(stdin()))
        } else {
            Box::new(BufReader::new(File::open(path).await?))
        }))
    }

    fn new(reader: Box<dyn AsyncBufRead + Send + Unpin>) -> Self {
        Self {
            reader,
            line: 0,
            kind: Kind::Unknown,
        }
    }

    async fn next(&mut self) -> io::Result<Option<(usize, Bytes)>> {
        while !matches!(self.kind, Kind::Read) {
            let mut body = Vec::new();
            if self.reader.read_until(b'\n', &mut body).await? == 0 {
                break;
            }
            self.line += 1;
            if body.trim_ascii().is_empty() {
                continue;
            }
            if matches!(self.kind, Kind::Unknown) {
                self.kind = if is_json(&body) {
                    Kind::Lines
                } else {
                    Kind::Read
                };
            }
            if matches!(self.kind, Kind::Read) {
                self.reader.read_to_end(&mut body).await?;
            } else {
                body.truncate(body.trim_ascii_end().len());
            }
            return Ok(Some((self.line, body.into())));
        }
        Ok(None)
    }
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(without_mark(text)).is_ok()
}

/// The headers that Verbex sends with a body. Missing values are derived from the body, so that
/// sending the same body again repeats the same event.
fn verbex_headers(body: &[u8], now: Timestamp) -> HeaderMap {
    let body = without_mark(body);
    let body_fields: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| body_fields.get(key).and_then(Value::as_str);
    let event = text("eventName").or_else(|| {
        // Transfers have no `payload` and no name.
        body_fields
            .get("transfer_to")
            .map(|_| "CallHandler.CallTransferred")
    });
    let trace_id = text("traceId")
        .filter(|id| is_uuid(id))
        .map_or_else(|| uuid_of(&blake3::hash(body)), ToOwned::to_owned);
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static("ReactorNetty/1.1.13"),
    );
    let mut insert = |name, value: &str| {
        // If a header cannot hold the name, the body still has it.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    if let Some(event) = event {
        insert("x-webhook-event", event);
    }
    insert("x-webhook-traceid", &trace_id);
    insert("x-webhook-timestamp", &format!("{now:.9}"));
    headers
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(at, char)| match at {
            8 | 13 | 18 | 23 => char == '-',
            _ => char.is_ascii_hexdigit(),
        })
}

fn uuid_of(hash: &blake3::Hash) -> String {
    let hex = hash.to_hex();
    let hex = hex.as_str();
    // Version 8, "custom", of RFC 9562.
    format!(
        "{}-{}-8{}-a{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bodies(content: &'static str) -> Vec<(usize, String)> {
        let mut bodies = Bodies::new(Box::new(content.as_bytes()));
        let mut found = Vec::new();
        while let Some((line, body)) = bodies.next().await.unwrap() {
            found.push((line, String::from_utf8(body.into()).unwrap()));
        }
        found
    }

    #[tokio::test]
    async fn a_file_is_json_lines_if_its_first_line_is_json_and_one_body_otherwise() {
        let check = async |content, expected: &[(usize, &str)]| {
            let found = bodies(content).await;
            let found: Vec<(usize, &str)> = found
                .iter()
                .map(|(line, body)| (*line, body.as_str()))
                .collect();
            assert_eq!(found, expected, "{content}");
        };
        check("{\"a\":1}\n", &[(1, "{\"a\":1}")]).await;
        check(
            "{\"a\":1}\r\n\n {\"b\":2}\n",
            &[(1, "{\"a\":1}"), (3, " {\"b\":2}")],
        )
        .await;
        check(
            "{\"a\":1}\n{\"broken\n",
            &[(1, "{\"a\":1}"), (2, "{\"broken")],
        )
        .await;
        check("{\n\"a\":1\n}\n", &[(1, "{\n\"a\":1\n}\n")]).await;
        check(
            "\u{feff}{\"a\":1}\n{\"b\":2}\n",
            &[(1, "\u{feff}{\"a\":1}"), (2, "{\"b\":2}")],
        )
        .await;
        check("no JSON", &[(1, "no JSON")]).await;
        check("", &[]).await;
        check("\n", &[]).await;
    }

    #[test]
    fn the_headers_are_those_of_verbex() {
        let now: Timestamp = "2025-11-10T01:01:14.552985018Z".parse().unwrap();
        let check = |body: &str, event: Option<&str>, trace_id: Option<&str>| {
            let headers = verbex_headers(body.as_bytes(), now);
            let get = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(get("content-type"), Some("application/json"));
            assert_eq!(get("user-agent"), Some("ReactorNetty/1.1.13"));
            assert_eq!(
                get("x-webhook-timestamp"),
                Some("2025-11-10T01:01:14.552985018Z")
            );
            assert_eq!(get("x-webhook-event"), event, "{body}");
            let sent = get("x-webhook-traceid").unwrap();
            assert!(is_uuid(sent), "{sent}");
            assert!(trace_id.is_none_or(|expected| expected == sent), "{sent}");
        };
        let uuid = "94c950a0-1694-4b7c-9891-9364c261e4e1";
        check(
            &format!(r#"{{"eventName":"CallHandler.CallEnded","traceId":"{uuid}"}}"#),
            Some("CallHandler.CallEnded"),
            Some(uuid),
        );
        check(
            r#"{"eventName":"a","traceId":"69ef5c43425e3c729ab8c83f"}"#,
            Some("a"),
            None,
        );
        check(
            r#"{"transfer_to":"sip:1@2"}"#,
            Some("CallHandler.CallTransferred"),
            None,
        );
        check(r#"{"eventName":"two\nlines"}"#, None, None);
        check("no JSON", None, None);
    }

    #[test]
    fn the_same_body_has_the_same_trace() {
        let now = Timestamp::now();
        let trace = |body: &[u8]| verbex_headers(body, now)["x-webhook-traceid"].clone();
        assert_eq!(trace(b"{}"), trace(b"{}"));
        assert_eq!(trace(b"{}"), trace(b"\xef\xbb\xbf{}"));
        assert_ne!(trace(b"{}"), trace(b"{ }"));
    }
}
