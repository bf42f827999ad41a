//! A client of the webhook door: posts bodies as Verbex does, and reads the answers.

use std::{fmt, fs, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER};
use reqwest::{Certificate, Client, Url, redirect};
use serde::Deserialize;

/// The time for connecting, sending and the answer together. The gateway waits up to 10 s for a
/// body.
const ANSWER: Duration = Duration::from_secs(30);

/// Where a gateway that was started in this folder stores the CA that it made for itself.
const OWN_CAS: [&str; 2] = [
    "verbex-gateway-data/tls/dev-ca.pem",
    "verbex-gateway-demo/tls/dev-ca.pem",
];

/// Where to post to.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Where to")]
pub(super) struct To {
    /// The webhook's URL, with its secret path if it has one
    #[arg(
        long,
        value_name = "URL",
        env = "VERBEX_GATEWAY_URL",
        hide_env_values = true,
        default_value = "https://127.0.0.1:8443/webhooks/verbex"
    )]
    url: Url,
    /// Trust the certificates in this PEM file instead of the system's; for this machine the
    /// default is the CA that a gateway in this folder made for itself
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A header to send, such as "Authorization: Bearer …"; repeatable
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl To {
    /// # Errors
    /// If a file cannot be read or holds no certificate.
    pub(super) fn door(self) -> anyhow::Result<Door> {
        let ca_pem = match &self.ca {
            Some(path) => {
                let pem = fs::read(path);
                Some(pem.with_context(|| format!("cannot read {}", path.display()))?)
            }
            None if is_loopback(&self.url) => own_cas(),
            None => None,
        };
        Door::new(
            self.url,
            ca_pem.as_deref(),
            self.headers.into_iter().collect(),
        )
    }
}

/// A client of one webhook door. Clones share its connections.
#[derive(Clone, Debug)]
pub(super) struct Door {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

/// The door's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The event is durable.
    Taken(Receipt),
    /// The event was refused.
    Refused(Refusal),
}

/// What an answer other than 2xx says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    /// The gateway's code; empty if something else answered.
    code: String,
    message: String,
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// Whether the same webhook may be accepted later.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        )
    }
}

/// The refusal, and which flags to change.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status,
            code,
            message,
            ..
        } = self;
        if code.is_empty() {
            return write!(
                f,
                "{status}; this is not the answer of a gateway: check that --url is its webhook \
                 address"
            );
        }
        write!(f, "{status} {code} {message}")?;
        match code.as_str() {
            "NOT_FOUND" => f.write_str(
                "; the path is /webhooks/verbex, followed by the secret if the gateway has one",
            ),
            "CREDENTIALS_INVALID" => f.write_str("; give them with -H"),
            "NOT_GRPC" => f.write_str("; check that --url is the webhook address"),
            _ => Ok(()),
        }
    }
}

/// A gateway's answer for a stored event. Empty if the server is not a gateway.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Receipt {
    pub(super) id: String,
    pub(super) sequence: String,
    pub(super) duplicate: bool,
}

impl Door {
    /// A client that trusts the certificates in `ca_pem`, or else the system's. `headers` are sent
    /// with every webhook and replace its own.
    ///
    /// # Errors
    /// If there is no certificate in `ca_pem`.
    pub(super) fn new(url: Url, ca_pem: Option<&[u8]>, headers: HeaderMap) -> anyhow::Result<Self> {
        // Fails if it is already installed, which does no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .timeout(ANSWER)
            .redirect(redirect::Policy::none());
        if let Some(pem) = ca_pem {
            let trusted = Certificate::from_pem_bundle(pem).unwrap_or_default();
            if trusted.is_empty() {
                bail!("there is no certificate in the CA file");
            }
            client = client.tls_certs_only(trusted);
        }
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        Ok(Self {
            client: client.build().context("cannot set up TLS")?,
            url,
            headers,
        })
    }

    /// Posts one webhook.
    ///
    /// # Errors
    /// If there is no answer. The event may have been stored anyway.
    pub(super) async fn post(&self, mut headers: HeaderMap, body: Bytes) -> anyhow::Result<Answer> {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let request = self.client.post(self.url.clone());
        let answer = request.headers(headers).body(body).send().await;
        let answer = answer.map_err(|error| self.no_answer(&error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer
            .bytes()
            .await
            .map_err(|error| self.no_answer(&error))?;
        Ok(read(status, &headers, &body))
    }

    /// Checks that something answers at the URL. The answer does not matter.
    ///
    /// # Errors
    /// If nothing answers.
    pub(super) async fn knock(&self) -> anyhow::Result<()> {
        let answer = self.client.get(self.url.clone()).send().await;
        answer.map(drop).map_err(|error| self.no_answer(&error))
    }

    /// An error that names the address without the path, which may hold a secret. It does not keep
    /// the error's causes, so that a broken connection is not mistaken for a broken pipe.
    fn no_answer(&self, error: &reqwest::Error) -> anyhow::Error {
        let door = self.url.origin().ascii_serialization();
        let causes = || {
            let error: &(dyn std::error::Error + 'static) = error;
            std::iter::successors(Some(error), |cause| {
                match cause.downcast_ref::<std::io::Error>() {
                    Some(io) => io
                        .get_ref()
                        .map(|inner| inner as &(dyn std::error::Error + 'static)),
                    None => cause.source(),
                }
            })
        };
        let why = causes().last().map(ToString::to_string).unwrap_or_default();
        let tls = causes().find_map(|cause| cause.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(_)) => anyhow!(
                "the certificate of {door} is not trusted ({why}); give its CA with --ca: a \
                 gateway's own is at tls/dev-ca.pem in its data folder"
            ),
            Some(rustls::Error::InvalidMessage(_)) => anyhow!(
                "{door} does not speak TLS ({why}); write http:// if it is behind a proxy that \
                 ends TLS, or check the port"
            ),
            _ if causes().any(is_no_http) => anyhow!(
                "{door} does not speak plain HTTP ({why}); write https:// if it has TLS, or check \
                 the port"
            ),
            _ if error.is_connect() => anyhow!(
                "nobody answers at {door} ({why}); is the gateway running? `verbex-gateway serve` \
                 starts one"
            ),
            _ if error.is_request() && self.url.scheme() == "http" => {
                anyhow!("{door} did not answer in HTTP ({why}); write https:// if it has TLS")
            }
            _ => anyhow!("{door} did not answer ({why})"),
        }
    }
}

fn is_no_http(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause
        .downcast_ref::<hyper::Error>()
        .is_some_and(hyper::Error::is_parse)
}

fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
    #[derive(Default, Deserialize)]
    struct Body {
        error: Reason,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Reason {
        code: String,
        message: String,
    }
    if status.is_success() {
        return Answer::Taken(serde_json::from_slice(body).unwrap_or_default());
    }
    let Body { error } = serde_json::from_slice(body).unwrap_or_default();
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Answer::Refused(Refusal {
        status,
        code: error.code,
        message: error.message,
        retry_after: seconds.map(Duration::from_secs),
    })
}

fn own_cas() -> Option<Vec<u8>> {
    let found: Vec<u8> = OWN_CAS
        .iter()
        .filter_map(|path| fs::read(path).ok())
        .flatten()
        .collect();
    (!found.is_empty()).then_some(found)
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    let name = name
        .trim()
        .parse()
        .map_err(|_| "the name cannot be a header's")?;
    let value = value
        .trim()
        .parse()
        .map_err(|_| "the value cannot be a header's")?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whoever_gave_it() {
        let no_headers = HeaderMap::new();
        let taken = |body: &str| read(StatusCode::OK, &no_headers, body.as_bytes());
        let receipt = Receipt {
            id: "ab".into(),
            sequence: "7".into(),
            duplicate: true,
        };
        assert_eq!(
            taken(r#"{"id":"ab","sequence":"7","duplicate":true,"more":1}"#),
            Answer::Taken(receipt)
        );
        assert_eq!(taken("OK"), Answer::Taken(Receipt::default()));

        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("2"))]);
        let full = br#"{"error":{"code":"LOG_UNAVAILABLE","message":"the disk is full"}}"#;
        assert_eq!(
            read(StatusCode::SERVICE_UNAVAILABLE, &headers, full),
            Answer::Refused(Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: "LOG_UNAVAILABLE".into(),
                message: "the disk is full".into(),
                retry_after: Some(Duration::from_secs(2)),
            })
        );
        assert_eq!(
            read(StatusCode::BAD_GATEWAY, &no_headers, b"<html>"),
            Answer::Refused(Refusal {
                status: StatusCode::BAD_GATEWAY,
                code: String::new(),
                message: String::new(),
                retry_after: None,
            })
        );
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let check = |url: &str, expected| {
            assert_eq!(is_loopback(&url.parse().unwrap()), expected, "{url}");
        };
        check("https://127.0.0.1:8443/webhooks/verbex", true);
        check("https://[::1]:8443/", true);
        check("http://localhost/", true);
        check("https://localhost.example.org/", false);
        check("https://10.0.0.1/", false);
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let (name, value) = parse_header("X-Token:  a: b ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-token", &b"a: b"[..]));
        for wrong in ["", "X-Token", "two words: a", "X-Token: a\nb"] {
            assert!(parse_header(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_door_that_is_not_there_is_named_without_its_secret() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let door = format!("http://{}", port.local_addr().unwrap());
        drop(port);
        let url = format!("{door}/webhooks/verbex/secret").parse().unwrap();
        let door_client = Door::new(url, None, HeaderMap::new()).unwrap();
        let error = door_client
            .post(HeaderMap::new(), Bytes::new())
            .await
            .unwrap_err();
        let told = format!("{error:#}");
        assert!(
            told.contains(&door) && told.contains("`verbex-gateway serve`"),
            "{told}"
        );
        assert!(!told.contains("secret"), "{told}");
    }
}
