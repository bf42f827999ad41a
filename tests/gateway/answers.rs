//! Every answer of the webhook door that can be provoked from outside, over HTTP/1.1 and HTTP/2.

use std::io::Write;

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use futures_util::stream;
use http_body_util::StreamBody;
use reqwest::{Client, Method, RequestBuilder, Version};

use crate::support::{
    PATIENCE, bodies,
    bodies::CALL_STARTED,
    eventually_asking,
    process::{Gateway, Setup},
    webhook::{Answer, BOTH, Http},
};

/// Sends one request in each protocol, and expects a refusal.
async fn check(
    gateway: &Gateway,
    (status, code): (u16, &str),
    request: impl Fn(&Client) -> RequestBuilder,
) -> Answer {
    let mut answers = Vec::new();
    for http in BOTH {
        let answer = ask(request(&gateway.http(http)), http).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{http:?} {answer:?}"
        );
        answers.push(answer);
    }
    let answer = answers.swap_remove(0);
    assert_eq!(answer.text, answers[0].text, "both protocols say the same");
    answer
}

async fn ask(request: RequestBuilder, http: Http) -> Answer {
    let response = request.send().await.expect("an answer");
    let version = match http {
        Http::One => Version::HTTP_11,
        Http::Two => Version::HTTP_2,
    };
    assert_eq!(response.version(), version);
    Answer::of(response).await
}

/// A post that lacks nothing, so that a test adds what is wrong with it.
fn post(client: &Client, url: &str) -> RequestBuilder {
    client
        .post(url)
        .header("content-type", "application/json")
        .body(CALL_STARTED)
}

fn packed<W: Write>(
    mut encoder: W,
    bytes: &[u8],
    finish: fn(W) -> std::io::Result<Vec<u8>>,
) -> Vec<u8> {
    encoder.write_all(bytes).unwrap();
    finish(encoder).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let encoder = GzEncoder::new(Vec::new(), Compression::default());
    packed(encoder, bytes, GzEncoder::finish)
}

#[tokio::test]
async fn a_webhook_is_answered_with_what_was_stored() {
    let gateway = Gateway::start().await;
    for (number, http) in (1..).zip(BOTH) {
        let request = gateway.http(http).post(&gateway.webhook_url);
        let answer = ask(request.body(bodies::call_started(number)), http).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let stored = answer.stored();
        assert_eq!((stored.sequence, stored.duplicate), (number as u64, false));
        let expected = format!(
            r#"{{"id":"{}","sequence":"{number}","duplicate":false}}"#,
            stored.id
        );
        assert_eq!(answer.text, expected);
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let gateway = Gateway::start().await;
    let url = gateway.webhook_url.clone();
    let root = url.trim_end_matches("/webhooks/verbex").to_owned();
    for path in [
        "/",
        "/webhooks",
        "/webhooks/verbex/",
        "/webhooks/verbex/x",
        "/metrics",
        "/webhooks/VERBEX",
    ] {
        let url = format!("{root}{path}");
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let request = |client: &Client| client.request(method.clone(), &url);
            check(&gateway, (404, "NOT_FOUND"), request).await;
        }
    }
    for method in [
        Method::GET,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::OPTIONS,
    ] {
        let request = |client: &Client| client.request(method.clone(), &url);
        let answer = check(&gateway, (405, "METHOD_NOT_ALLOWED"), request).await;
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    let head = gateway.http(Http::One).head(&url).send().await.unwrap();
    assert_eq!(head.status(), 405);
    assert_eq!(head.headers()["allow"], "POST");
}

#[tokio::test]
async fn a_wrong_path_secret_cannot_be_told_from_a_missing_path() {
    let setup = Setup::new().set("WEBHOOK_SECRET", "s3cret-path");
    let gateway = setup.start().await;
    let door = gateway.webhook_url.trim_end_matches("/…").to_owned();
    let right = format!("{door}/s3cret-path");
    for http in BOTH {
        let answer = ask(post(&gateway.http(http), &right), http).await;
        assert_eq!(answer.status, 200);
    }
    let missing = door.replace("/webhooks/verbex", "/nothing/here");
    let wrong = [
        door.clone(),
        format!("{door}/"),
        format!("{door}/s3cret-pat"),
        format!("{door}/s3cret-path/"),
        format!("{door}/S3CRET-PATH"),
        format!("{right}/more"),
    ];
    for method in [Method::POST, Method::GET] {
        let told = |url: &str| {
            let (method, url) = (method.clone(), url.to_owned());
            move |client: &Client| client.request(method.clone(), &url).body(CALL_STARTED)
        };
        let missing = check(&gateway, (404, "NOT_FOUND"), told(&missing)).await;
        for url in &wrong {
            let answer = check(&gateway, (404, "NOT_FOUND"), told(url)).await;
            assert_eq!(answer.text, missing.text);
            let names = |answer: &Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&answer), names(&missing));
        }
    }
    let (stdout, stderr) = gateway.output();
    assert!(!(stdout + &stderr).contains("s3cret-path"));
}

#[tokio::test]
async fn each_kind_of_credential_opens_the_door_and_nothing_else_does() {
    type Show = fn(RequestBuilder) -> RequestBuilder;
    type Kind = (&'static [(&'static str, &'static str)], Show, Show);
    let kinds: [Kind; 3] = [
        (
            &[
                ("WEBHOOK_HEADER_NAME", "x-api-key"),
                ("WEBHOOK_HEADER_VALUE", "4c1e0c5f2b"),
            ],
            |request| request.header("x-api-key", "4c1e0c5f2b"),
            |request| request.header("x-api-key", "4c1e0c5f2"),
        ),
        (
            &[
                ("WEBHOOK_BASIC_USERNAME", "verbex"),
                ("WEBHOOK_BASIC_PASSWORD", "9f86d081884c"),
            ],
            |request| request.basic_auth("verbex", Some("9f86d081884c")),
            |request| request.basic_auth("verbex", Some("wrong")),
        ),
        (
            &[("WEBHOOK_BEARER_TOKEN", "2c26b46b68ff")],
            |request| request.bearer_auth("2c26b46b68ff"),
            |request| request.bearer_auth("2c26b46b68fe"),
        ),
    ];
    for (settings, right, wrong) in kinds {
        let setup = settings
            .iter()
            .fold(Setup::new(), |setup, (name, value)| setup.set(name, value));
        let gateway = setup.start().await;
        let url = &gateway.webhook_url;
        for http in BOTH {
            let answer = ask(right(post(&gateway.http(http), url)), http).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let refused = (401, "CREDENTIALS_INVALID");
        let missing = check(&gateway, refused, |client| post(client, url)).await;
        let wrong = check(&gateway, refused, |client| wrong(post(client, url))).await;
        // What was expected is said to nobody.
        assert_eq!(missing.text, wrong.text);
        assert_eq!(wrong.header("www-authenticate"), None);
    }
}

#[tokio::test]
async fn addresses_that_are_not_listed_are_refused() {
    let setup = Setup::new().set("WEBHOOK_ADDRESSES_ALLOWED", "192.0.2.0/24,2001:db8::1");
    let gateway = setup.start().await;
    let refused = (403, "ADDRESS_DENIED");
    check(&gateway, refused, |client| {
        post(client, &gateway.webhook_url).header("x-forwarded-for", "192.0.2.1")
    })
    .await;

    let listed = Setup::new().set("WEBHOOK_ADDRESSES_ALLOWED", "127.0.0.0/8");
    listed.start().await.post(CALL_STARTED).await;
}

#[tokio::test]
async fn a_client_over_its_rate_is_told_when_to_come_back() {
    let setup = Setup::new().set("WEBHOOK_CLIENT_REQUESTS_PER_SECOND_MAX", "2");
    let gateway = setup.start().await;
    for http in BOTH {
        let client = gateway.http(http);
        let limited = eventually_asking(PATIENCE, "a refusal", async || {
            let answer = ask(post(&client, &gateway.webhook_url), http).await;
            (answer.status != 200).then_some(answer)
        });
        let limited = limited.await;
        assert_eq!(
            (limited.status, limited.code().as_str()),
            (429, "RATE_LIMITED")
        );
        assert_eq!(limited.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn a_full_gateway_says_so_at_once_and_takes_more_when_there_is_room() {
    let setup = Setup::new().set("WEBHOOK_REQUESTS_IN_FLIGHT_MAX", "1");
    let gateway = setup.start().await;
    let mut slow = gateway.socket().await;
    slow.write("POST /webhooks/verbex HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{")
        .await;
    let client = gateway.http(Http::Two);
    let full = eventually_asking(PATIENCE, "a refusal", async || {
        let answer = gateway.send(&client, CALL_STARTED).await;
        (answer.status != 200).then_some(answer)
    });
    let full = full.await;
    assert_eq!((full.status, full.code().as_str()), (429, "RATE_LIMITED"));
    assert!(full.header("retry-after").is_some());
    slow.write("}").await;
    assert_eq!(slow.answer().await.status, 200);
    let room = eventually_asking(PATIENCE, "room again", async || {
        let answer = gateway.send(&client, CALL_STARTED).await;
        (answer.status == 200).then_some(())
    });
    room.await;
}

#[tokio::test]
async fn what_is_not_json_by_its_type_is_refused() {
    let gateway = Gateway::start().await;
    let typed = |content_type: &'static str| {
        let url = gateway.webhook_url.clone();
        move |client: &Client| {
            let request = client.post(&url).body(CALL_STARTED);
            request.header("content-type", content_type)
        }
    };
    for content_type in [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "json",
        "application/jsonp",
    ] {
        let refused = (415, "CONTENT_TYPE_UNSUPPORTED");
        check(&gateway, refused, typed(content_type)).await;
    }
    for content_type in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/cloudevents+json",
        "application/vnd.verbex.v1+json;q=1",
        "text/json",
        "application/json, application/json",
        "application/json;charset=utf8;",
        "",
    ] {
        for http in BOTH {
            let answer = ask(typed(content_type)(&gateway.http(http)), http).await;
            assert_eq!(answer.status, 200, "{content_type}");
        }
    }
}

#[tokio::test]
async fn packed_bodies_are_the_event_that_is_in_them() {
    let gateway = Gateway::start().await;
    let plain = gateway.post(CALL_STARTED).await;
    let bytes = CALL_STARTED.as_bytes();
    let zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    let deflate = DeflateEncoder::new(Vec::new(), Compression::default());
    for (encoding, body) in [
        ("gzip", gzip(bytes)),
        ("deflate", packed(zlib, bytes, ZlibEncoder::finish)),
        ("deflate", packed(deflate, bytes, DeflateEncoder::finish)),
        ("identity", bytes.to_vec()),
        ("utf-8", bytes.to_vec()),
        ("charset=us-ascii", bytes.to_vec()),
        ("8bit", bytes.to_vec()),
        ("", bytes.to_vec()),
    ] {
        for http in BOTH {
            let request = gateway.http(http).post(&gateway.webhook_url);
            let request = request.header("content-encoding", encoding);
            let stored = ask(request.body(body.clone()), http).await.stored();
            assert_eq!(
                (stored.id.as_str(), stored.duplicate),
                (plain.id.as_str(), true)
            );
        }
    }
    for encoding in ["br", "zstd", "compress", "gzip, br"] {
        let refused = (415, "ENCODING_UNSUPPORTED");
        check(&gateway, refused, |client| {
            post(client, &gateway.webhook_url).header("content-encoding", encoding)
        })
        .await;
    }
    check(&gateway, (400, "BODY_INVALID"), |client| {
        post(client, &gateway.webhook_url).header("content-encoding", "gzip")
    })
    .await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_packed_or_not_and_the_client_sees_it() {
    let gateway = Gateway::start().await;
    let url = &gateway.webhook_url;
    let refused = (413, "BODY_TOO_LARGE");
    for bytes in [1024 * 1024 + 1, 20 * 1024 * 1024] {
        let body = vec![b' '; bytes];
        let request = |client: &Client| client.post(url).body(body.clone());
        check(&gateway, refused, request).await;
    }
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    let request = |client: &Client| {
        let request = client.post(url).header("content-encoding", "gzip");
        request.body(bomb.clone())
    };
    check(&gateway, refused, request).await;
    // Without a length, the end is not known in advance.
    let mut socket = gateway.socket().await;
    let head = "POST /webhooks/verbex HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("80000\r\n{}\r\n", " ".repeat(0x80000));
    socket
        .write(format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n"))
        .await;
    let answer = socket.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), refused);
    // The connection is as good as before.
    socket
        .write("POST /webhooks/verbex HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        .await;
    assert_eq!(socket.answer().await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_given_up() {
    let setup = Setup::new().set("WEBHOOK_BODY_TIMEOUT_SECONDS", "1");
    let gateway = setup.start().await;
    let refused = (408, "BODY_TIMEOUT");
    let never = || {
        let nothing = stream::pending::<Result<http_body::Frame<bytes::Bytes>, std::io::Error>>();
        reqwest::Body::wrap(StreamBody::new(nothing))
    };
    let request = |client: &Client| client.post(&gateway.webhook_url).body(never());
    check(&gateway, refused, request).await;
}

#[tokio::test]
async fn bodies_that_are_no_json_object_are_refused() {
    let gateway = Gateway::start().await;
    let url = &gateway.webhook_url;
    let deep = |levels: usize| {
        let (open, close) = ("{\"a\":".repeat(levels - 1), "}".repeat(levels - 1));
        format!("{open}{{}}{close}").into_bytes()
    };
    for body in [
        &b""[..],
        b"   ",
        b"null",
        b"[]",
        b"[{}]",
        b"\"text\"",
        b"7",
        b"{",
        b"{}{}",
        b"{} x",
        b"{'a':1}",
        b"{\"a\":01}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":NaN}",
        b"\xff\xfe{\0}\0",
    ] {
        let request = |client: &Client| client.post(url).body(body);
        check(&gateway, (400, "BODY_INVALID"), request).await;
    }
    let request = |client: &Client| client.post(url).body(deep(129));
    check(&gateway, (400, "BODY_TOO_DEEP"), request).await;
    let request = |client: &Client| client.post(url).body(vec![b'['; 500_000]);
    let answer = request(&gateway.http(Http::One)).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    gateway.post(deep(128)).await;
}

#[tokio::test]
async fn the_checks_are_made_in_the_order_of_the_contract() {
    let setup = Setup::new()
        .set("WEBHOOK_BEARER_TOKEN", "2c26b46b68ff")
        .set("WEBHOOK_BODY_BYTES_MAX", "1000");
    let gateway = setup.start().await;
    let url = gateway.webhook_url.clone();
    let elsewhere = url.replace("/verbex", "/else");
    let large = vec![b'['; 1001];
    let client = gateway.http(Http::One);
    // Each request mends what the one before was refused for, and nothing else.
    let wrong = |method: Method, url: &str| {
        client
            .request(method, url)
            .header("content-type", "text/plain")
            .body(large.clone())
    };
    let encoded = |request: RequestBuilder| request.header("content-encoding", "br");
    let known = |request: RequestBuilder| request.bearer_auth("2c26b46b68ff");
    let json = || {
        let request = client.post(&url).header("content-type", "application/json");
        known(request)
    };
    for (request, expected) in [
        (encoded(wrong(Method::GET, &elsewhere)), "NOT_FOUND"),
        (encoded(wrong(Method::GET, &url)), "METHOD_NOT_ALLOWED"),
        (encoded(wrong(Method::POST, &url)), "CREDENTIALS_INVALID"),
        (
            encoded(known(wrong(Method::POST, &url))),
            "CONTENT_TYPE_UNSUPPORTED",
        ),
        (encoded(json().body(large.clone())), "ENCODING_UNSUPPORTED"),
        (json().body(large.clone()), "BODY_TOO_LARGE"),
        (json().body("["), "BODY_INVALID"),
    ] {
        assert_eq!(ask(request, Http::One).await.code(), expected);
    }
}

#[tokio::test]
async fn what_the_http_library_refuses_has_a_json_body_too() {
    let gateway = Gateway::start().await;
    let long = "x".repeat(200_000);
    let post = "POST /webhooks/verbex HTTP/1.1\r\nhost: x\r\n";
    for (request, expected) in [
        ("NONSENSE\r\n\r\n".into(), (400, "REQUEST_INVALID")),
        (
            format!("{post}content-length: minus\r\n\r\n"),
            (400, "REQUEST_INVALID"),
        ),
        (
            format!("{post}bad header\r\n\r\n"),
            (400, "REQUEST_INVALID"),
        ),
        (
            format!("POST /{} HTTP/1.1\r\nhost: x\r\n\r\n", &long[..100_000]),
            (414, "PATH_TOO_LONG"),
        ),
        (
            format!("{post}x-long: {long}\r\n\r\n"),
            (431, "HEADERS_TOO_LARGE"),
        ),
        (
            format!("{post}x-long: {}\r\n\r\n", &long[..17_000]),
            (431, "HEADERS_TOO_LARGE"),
        ),
    ] {
        let mut socket = gateway.socket().await;
        socket.write(&request).await;
        let answer = socket.answer().await;
        let shown = &request[..request.len().min(80)];
        assert_eq!((answer.status, answer.code().as_str()), expected, "{shown}");
    }
}
