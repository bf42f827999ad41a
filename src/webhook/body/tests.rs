use std::io::Write;

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use http::HeaderValue;
use http_body_util::{Full, StreamBody};
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::*;

fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
    let values = values.iter();
    values
        .map(|value| {
            (
                name.clone(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        })
        .collect()
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

fn zlib(bytes: &[u8]) -> Bytes {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

fn raw_deflate(bytes: &[u8]) -> Bytes {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

#[test]
fn a_content_type_is_json_or_absent() {
    fn check(values: &[&str], expected: bool) {
        let checked = check_content_type(&headers(header::CONTENT_TYPE, values));
        assert_eq!(checked.is_ok(), expected, "{values:?}");
    }
    check(&[], true);
    check(&["application/json"], true);
    check(&["Application/JSON; charset=utf-8"], true);
    check(&["application/json ;x=y"], true);
    check(&["application/cloudevents+json"], true);
    check(&["model/gltf+json; v=1"], true);
    check(&["text/json"], true);
    check(&["application/x-json"], true);
    check(&["", "application/json"], true);
    check(&["application/json", "application/json"], true);
    check(&["application/json", "text/plain"], false);
    check(&["text/plain"], false);
    check(&["application/x-www-form-urlencoded"], false);
    check(&["multipart/form-data; boundary=json"], false);
    check(&["application/jsonp"], false);
    check(&["application/json5"], false);
    check(&["application/x-ndjson"], false);
    check(&["json"], false);
    check(&["+json"], false);
    check(&["application/+json"], false);
    check(&["/json"], false);
    check(&["text/plain; a=b+json"], false);
    check(&["application/json\u{e9}"], false);
}

#[test]
fn what_stands_around_a_json_type_does_not_count() {
    fn check(value: &str, expected: bool) {
        let checked = check_content_type(&headers(header::CONTENT_TYPE, &[value]));
        assert_eq!(checked.is_ok(), expected, "{value}");
    }
    for value in [
        "",
        " ",
        ";",
        ";charset=utf-8",
        "application/json;charset=utf8",
        "application/json; charset=\"utf-8\"",
        "application/json; charset=\"utf-8",
        "application/json;",
        "application/json;;",
        "application/json; charset",
        "application/json; =",
        "application/json; charset=utf-16",
        "application/json; charset=\u{e9}",
        "application/json; profile=https://example.com/call",
        "application/json; a=\"x, text/plain; y\"",
        "application/json charset=utf-8",
        "application/json, application/json",
        "application/json,text/json;charset=utf-8 , application/vnd.verbex+json",
        "application/json, charset=utf-8",
        "application/json,",
        ", application/json",
    ] {
        check(value, true);
    }
    check("application/json, text/plain", false);
    check("text/plain, application/json", false);
    check("application/json; charset=utf-8, text/html; a=b", false);
    check(", text/plain", false);
    check("charset=utf-8", false);
}

#[test]
fn codings_are_read_in_any_case_list_and_number() {
    fn check(values: &[&str], expected: Option<&[Coding]>) {
        let read = codings(&headers(header::CONTENT_ENCODING, values));
        assert_eq!(read.ok().as_deref(), expected, "{values:?}");
    }
    check(&[], Some(&[]));
    check(&["identity"], Some(&[]));
    check(&[""], Some(&[]));
    check(&["utf-8"], Some(&[]));
    check(&["UTF8"], Some(&[]));
    check(&["none"], Some(&[]));
    check(&["7bit", "8bit, binary"], Some(&[]));
    check(&["US-ASCII"], Some(&[]));
    check(&["ascii, ISO-8859-1"], Some(&[]));
    check(&["Latin1"], Some(&[]));
    check(&["charset=utf-8"], Some(&[]));
    check(&["charset=\"UTF-8\", gzip"], Some(&[Coding::Gzip]));
    check(&["charset=gzip"], None);
    check(&["charset=utf-16"], None);
    check(&["utf-16"], None);
    check(&["utf-8, gzip"], Some(&[Coding::Gzip]));
    check(&["", "deflate"], Some(&[Coding::Deflate]));
    check(&["utf-7"], None);
    check(&["application/json"], None);
    check(&["GZip"], Some(&[Coding::Gzip]));
    check(&["x-gzip"], Some(&[Coding::Gzip]));
    check(
        &["deflate , identity,gzip"],
        Some(&[Coding::Deflate, Coding::Gzip]),
    );
    check(&["deflate", "gzip"], Some(&[Coding::Deflate, Coding::Gzip]));
    check(&["br"], None);
    check(&["gzip, zstd"], None);
    check(&["gzip;q=1"], None);
    check(&["gzip,gzip,gzip,gzip,gzip"], None);
}

#[test]
fn what_was_packed_comes_out_and_what_was_not_is_refused() {
    fn check(packed: Bytes, codings: &[Coding], expected: Option<&[u8]>) {
        match (unpack(packed, codings, 100), expected) {
            (Ok(unpacked), Some(expected)) => assert_eq!(unpacked, expected),
            (Err(Refusal::BodyInvalid { .. }), None) => {}
            (actual, _) => panic!("{codings:?}: {actual:?}"),
        }
    }
    let text = b"{\"a\": 1}";
    check(Bytes::from_static(text), &[], Some(text));
    check(gzip(text), &[Coding::Gzip], Some(text));
    check(
        [gzip(b"{"), gzip(b"}")].concat().into(),
        &[Coding::Gzip],
        Some(b"{}"),
    );
    check(zlib(text), &[Coding::Deflate], Some(text));
    check(raw_deflate(text), &[Coding::Deflate], Some(text));
    check(
        gzip(&zlib(text)),
        &[Coding::Deflate, Coding::Gzip],
        Some(text),
    );
    check(Bytes::from_static(text), &[Coding::Gzip], None);
    check(Bytes::from_static(b"\xff\xff"), &[Coding::Deflate], None);
    check(Bytes::new(), &[Coding::Gzip], None);
    check(gzip(text).slice(..12), &[Coding::Gzip], None);
    check(gzip(text), &[Coding::Gzip, Coding::Gzip], None);
}

#[test]
fn a_small_body_cannot_become_a_large_one() {
    let bomb = vec![b' '; 1 << 20];
    for (packed, coding) in [
        (gzip(&bomb), Coding::Gzip),
        (zlib(&bomb), Coding::Deflate),
        (raw_deflate(&bomb), Coding::Deflate),
    ] {
        let unpacked = unpack(packed.clone(), &[coding], (1 << 20) - 1);
        let limit = (1 << 20) - 1;
        assert_eq!(unpacked, Err(Refusal::BodyTooLarge { limit }), "{coding:?}");
        assert_eq!(unpack(packed, &[coding], 1 << 20).unwrap().len(), 1 << 20);
    }
}

proptest! {
    #[test]
    fn unpacking_never_panics_and_never_passes_the_limit(bytes: Vec<u8>, bytes_max in 0_usize..64) {
        for coding in [Coding::Gzip, Coding::Deflate] {
            let packed = Bytes::from(bytes.clone());
            if let Ok(unpacked) = unpack(packed, &[coding], bytes_max) {
                prop_assert!(unpacked.len() <= bytes_max);
            }
        }
        prop_assert_eq!(
            unpack(gzip(&bytes), &[Coding::Gzip], bytes.len()).unwrap(),
            Bytes::from(bytes)
        );
    }
}

/// A body of unknown length, and the sender of its pieces.
fn fed() -> (
    mpsc::Sender<Bytes>,
    impl Body<Data = Bytes, Error = io::Error>,
) {
    let (feed, fed) = mpsc::channel::<Bytes>(1);
    let frames = ReceiverStream::new(fed).map(|data| Ok(http_body::Frame::data(data)));
    (feed, StreamBody::new(frames))
}

const TIME: Duration = Duration::from_secs(10);

async fn receive<B>(body: B, bytes_max: usize, time: Duration) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let received = super::receive(body, bytes_max, time, &Room::default()).await?;
    Ok(received.bytes)
}

#[tokio::test]
async fn a_body_up_to_the_limit_is_read_and_one_byte_more_is_not() {
    let body = |length| Full::new(Bytes::from(vec![b'a'; length]));
    assert_eq!(receive(body(100), 100, TIME).await.unwrap().len(), 100);
    let too_large = Err(Refusal::BodyTooLarge { limit: 100 });
    assert_eq!(receive(body(101), 100, TIME).await, too_large);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_refused_as_soon_as_it_is_too_long() {
    let (feed, mut body) = fed();
    let feeding = tokio::spawn(async move {
        let piece = Bytes::from_static(&[b'a'; 60]);
        feed.send(piece.clone()).await.unwrap();
        feed.send(piece).await.unwrap();
        feed
    });
    let received = receive(&mut body, 100, TIME).await;
    assert_eq!(received, Err(Refusal::BodyTooLarge { limit: 100 }));
    drop(feeding);
}

#[tokio::test]
async fn not_more_than_64_mib_are_thrown_away() {
    let (feed, body) = fed();
    let feeding = tokio::spawn(async move {
        let piece = Bytes::from(vec![b'a'; 1 << 20]);
        let mut sent = 0;
        while feed.send(piece.clone()).await.is_ok() {
            sent += 1;
        }
        sent
    });
    throw_away(body, Instant::now() + TIME).await;
    assert!((64..70).contains(&feeding.await.unwrap()));
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_refused_however_slowly_it_trickles() {
    let limit = Duration::from_millis(50);
    let (feed, body) = fed();
    let trickling =
        tokio::spawn(async move { while feed.send(Bytes::from_static(b" ")).await.is_ok() {} });
    let received = receive(body, 1 << 30, limit).await;
    assert_eq!(received, Err(Refusal::BodyTimeout { limit }));
    trickling.await.unwrap();
}
