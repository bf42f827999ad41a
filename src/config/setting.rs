//! The types of settings: how a value is read from the file and from the text of a flag or a
//! variable, and how it is printed.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use jiff::Timestamp;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{file::Value, tree::LogFormat};
use crate::{auth::TokenHash, fanout::Encoding, log::Age, webhook::Secret};

/// A type that a setting can have.
pub(super) trait Setting: Sized {
    /// Describes a good value. An error says it after "expected".
    const EXPECTED: &'static str;

    /// Reads the text of a flag or a variable, which is never empty.
    fn from_text(text: &str) -> Option<Self>;

    /// Reads a value of the file. Most settings are texts there too.
    fn from_file(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) if !text.is_empty() => Self::from_text(text),
            _ => None,
        }
    }

    /// The value as TOML. Secrets are masked.
    fn to_toml(&self) -> String;
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

impl Setting for String {
    const EXPECTED: &'static str = "a text that is not empty";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Setting for Secret {
    const EXPECTED: &'static str = "a text that is not empty";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self::new(text))
    }

    fn to_toml(&self) -> String {
        quoted("***")
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &str) -> Option<Self> {
        Some(Path::new(text).to_owned())
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_file(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($number:ty),+) => {$(
        impl Setting for $number {
            const EXPECTED: &'static str = "a whole number";

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn from_file(value: &Value) -> Option<Self> {
                match value {
                    Value::Integer(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }

            fn to_toml(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

whole_numbers!(u32, u64, usize);

impl Setting for SocketAddr {
    const EXPECTED: &'static str =
        "an IP address and a port, such as 127.0.0.1:8443, 0.0.0.0:8443 or [::1]:8443";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for HeaderName {
    const EXPECTED: &'static str = "the name of an HTTP header";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_toml(&self) -> String {
        quoted(self.as_str())
    }
}

impl Setting for LogFormat {
    const EXPECTED: &'static str = "text or json";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        quoted(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// How much is logged, in the language of `RUST_LOG`.
pub(super) struct LogLevel(pub(super) String);

impl Setting for LogLevel {
    const EXPECTED: &'static str =
        "error, warn, info, debug, trace or off, or directives such as info,verbex_gateway=debug";

    fn from_text(text: &str) -> Option<Self> {
        // A directive without a level names a target, and any word can be a target. So a mistyped
        // level would turn off all other lines.
        let levels = text.split(',').filter(|directive| !directive.contains('='));
        let mut known = levels.map(|level| level.parse::<LevelFilter>());
        (known.all(|level| level.is_ok()) && EnvFilter::try_new(text).is_ok())
            .then(|| Self(text.to_owned()))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

/// The id of an organisation. It is no longer than an id in a filter may be.
pub(super) struct OrganizationId(pub(super) String);

impl Setting for OrganizationId {
    const EXPECTED: &'static str = "an organization id of 1 to 256 bytes";

    fn from_text(text: &str) -> Option<Self> {
        (1..=256)
            .contains(&text.len())
            .then(|| Self(text.to_owned()))
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

impl Setting for TokenHash {
    const EXPECTED: &'static str = "64 hex digits, as `verbex-gateway token new` prints them";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for Age {
    const EXPECTED: &'static str =
        "how long events are kept, such as 30d, 12h or 90m, at least 1s, or never";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for Timestamp {
    const EXPECTED: &'static str = "a time with its offset, such as 2027-01-31T00:00:00Z";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_file(value: &Value) -> Option<Self> {
        match value {
            Value::Time(text) | Value::Text(text) => Self::from_text(text),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

/// What a list may hold. In a flag or a variable, commas separate the elements.
pub(super) trait Element: Setting {
    /// [`Setting::EXPECTED`] of the list.
    const LIST_EXPECTED: &'static str;
}

impl<T: Element> Setting for Vec<T> {
    const EXPECTED: &'static str = T::LIST_EXPECTED;

    fn from_text(text: &str) -> Option<Self> {
        text.split(',')
            .map(|text| T::from_text(text.trim()))
            .collect()
    }

    fn from_file(value: &Value) -> Option<Self> {
        match value {
            Value::Texts(texts) => texts.iter().map(|text| T::from_text(text)).collect(),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        let elements: Vec<_> = self.iter().map(Setting::to_toml).collect();
        format!("[{}]", elements.join(", "))
    }
}

impl Setting for IpNet {
    const EXPECTED: &'static str = "an IP address or a network";

    fn from_text(text: &str) -> Option<Self> {
        let address = || text.parse().ok().map(|address: IpAddr| address.into());
        text.parse().ok().or_else(address)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Element for IpNet {
    const LIST_EXPECTED: &'static str =
        "a list of IP addresses and networks, such as [\"203.0.113.7\", \"198.51.100.0/24\"]";
}

impl Setting for HeaderValue {
    const EXPECTED: &'static str = "an origin";

    fn from_text(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        // A browser sends scheme, host and port only, so an origin with a path would never match.
        let rest = uri.authority()?.as_str();
        let is_origin = text
            .split_once("://")
            .is_some_and(|(_, after)| after == rest);
        (is_web && is_origin && !rest.contains('@'))
            .then(|| text.to_ascii_lowercase().parse().ok())
            .flatten()
    }

    fn to_toml(&self) -> String {
        quoted(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl Element for HeaderValue {
    const LIST_EXPECTED: &'static str =
        "a list of web origins without a path, such as [\"https://calls.example.com\"]";
}

impl Setting for Encoding {
    const EXPECTED: &'static str = "gzip or zstd";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        quoted(match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

impl Element for Encoding {
    const LIST_EXPECTED: &'static str = "a list of gzip and zstd, such as [\"zstd\", \"gzip\"]";
}
