//! Who may post: a secret in the path, and credentials in the headers.
//!
//! The configuration has the secrets as texts, masked in everything that is printed for debugging.
//! The door keeps only their BLAKE3 hashes, and compares those: the comparison takes the same time
//! whatever was sent.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, InvalidHeaderValue},
};

/// A secret text. Printing it for debugging masks it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    #[must_use]
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to check its characters and to post with it.
    #[must_use]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What the door keeps. Hashes are compared in constant time.
    pub(super) fn hash(&self) -> blake3::Hash {
        blake3::hash(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A credential that a request must have. If several are configured, one of them is enough. `S` is
/// a [`Secret`] in the configuration, and its hash in the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential<S = Secret> {
    /// A header with this value.
    Header { name: HeaderName, value: S },
    /// `Authorization: Basic`; RFC 7617.
    Basic {
        /// `user:password`.
        user_password: S,
    },
    /// `Authorization: Bearer`; RFC 6750.
    Bearer { token: S },
}

impl Credential {
    /// A user name, without a colon, and a password.
    #[must_use]
    pub(crate) fn basic(user: &str, password: &str) -> Self {
        let user_password = Secret::new(format!("{user}:{password}"));
        Self::Basic { user_password }
    }

    /// The header that a sender must send.
    ///
    /// # Errors
    /// If a header cannot hold the secret. A checked configuration has no such secret.
    pub(crate) fn header(&self) -> Result<(HeaderName, HeaderValue), InvalidHeaderValue> {
        Ok(match self {
            Self::Header { name, value } => (name.clone(), value.expose().parse()?),
            Self::Basic { user_password } => {
                let encoded = BASE64_STANDARD.encode(user_password.expose());
                (AUTHORIZATION, format!("Basic {encoded}").parse()?)
            }
            Self::Bearer { token } => {
                (AUTHORIZATION, format!("Bearer {}", token.expose()).parse()?)
            }
        })
    }

    pub(super) fn hashed(&self) -> Credential<blake3::Hash> {
        match self {
            Self::Header { name, value } => Credential::Header {
                name: name.clone(),
                value: value.hash(),
            },
            Self::Basic { user_password } => Credential::Basic {
                user_password: user_password.hash(),
            },
            Self::Bearer { token } => Credential::Bearer {
                token: token.hash(),
            },
        }
    }
}

impl Credential<blake3::Hash> {
    fn is_shown_in(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Header { name, value } => {
                any(headers, name, |shown| *value == blake3::hash(shown))
            }
            Self::Basic { user_password } => any(headers, &AUTHORIZATION, |shown| {
                after_scheme(shown, b"Basic")
                    .and_then(|encoded| BASE64_STANDARD.decode(encoded).ok())
                    .is_some_and(|decoded| *user_password == blake3::hash(&decoded))
            }),
            Self::Bearer { token } => any(headers, &AUTHORIZATION, |shown| {
                after_scheme(shown, b"Bearer").is_some_and(|shown| *token == blake3::hash(shown))
            }),
        }
    }
}

/// Whether this is the name of a header with a credential. Such a header is not stored with the
/// event, because subscribers could read it.
pub(super) fn is_secret(credentials: &[Credential<blake3::Hash>], header_name: &str) -> bool {
    credentials.iter().any(|credential| {
        matches!(credential, Credential::Header { name, .. } if name.as_str() == header_name)
    })
}

/// Whether the headers have one of the credentials; true if none is configured.
pub(super) fn suffice(credentials: &[Credential<blake3::Hash>], headers: &HeaderMap) -> bool {
    // Compare with all of them, so that the time does not show which one matched.
    let shown = credentials
        .iter()
        .filter(|credential| credential.is_shown_in(headers))
        .count();
    credentials.is_empty() || shown > 0
}

fn any(headers: &HeaderMap, name: &HeaderName, is: impl Fn(&[u8]) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|value| is(value.as_bytes()))
}

/// What follows the scheme, whose case does not matter; RFC 9110, section 11.1.
fn after_scheme<'a>(value: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (shown, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?.trim_ascii();
    shown.eq_ignore_ascii_case(scheme).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_configured_credential_lets_in_and_nothing_else_does() {
        let credentials = [
            Credential::Header {
                name: HeaderName::from_static("x-api-key"),
                value: Secret::new("k3y"),
            },
            Credential::basic("verbex", "pass:word"),
            Credential::Bearer {
                token: Secret::new("t0ken"),
            },
            Credential::Bearer {
                token: Secret::new("next-t0ken"),
            },
        ]
        .map(|credential| credential.hashed());
        let check = |headers: &[(&'static str, &'static str)], expected: bool| {
            let map = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let map: HeaderMap = HeaderMap::from_iter(map);
            assert_eq!(suffice(&credentials, &map), expected, "{headers:?}");
        };
        check(&[("x-api-key", "k3y")], true);
        check(&[("X-API-Key", "k3y")], true);
        check(&[("authorization", "Basic dmVyYmV4OnBhc3M6d29yZA==")], true);
        check(&[("authorization", "bAsIc dmVyYmV4OnBhc3M6d29yZA==")], true);
        check(&[("authorization", "Bearer t0ken")], true);
        check(&[("authorization", "bearer  next-t0ken")], true);
        check(
            &[("x-api-key", "wrong"), ("authorization", "Bearer t0ken")],
            true,
        );

        check(&[], false);
        check(&[("x-api-key", "K3Y")], false);
        check(&[("x-api-key", "k3y2")], false);
        check(&[("x-api-key", "")], false);
        check(&[("authorization", "k3y")], false);
        check(&[("authorization", "Basic")], false);
        check(&[("authorization", "Basic dmVyYmV4OnBhc3M=")], false);
        check(&[("authorization", "Basic !!!")], false);
        check(&[("authorization", "Bearer")], false);
        check(&[("authorization", "Bearert0ken")], false);
        check(&[("authorization", "Token t0ken")], false);
    }

    #[test]
    fn what_a_sender_shows_lets_it_in() {
        for credential in [
            Credential::Header {
                name: HeaderName::from_static("x-api-key"),
                value: Secret::new("k3y"),
            },
            Credential::basic("verbex", "påss:word"),
            Credential::Bearer {
                token: Secret::new("t0ken"),
            },
        ] {
            let headers = HeaderMap::from_iter([credential.header().unwrap()]);
            assert!(suffice(&[credential.hashed()], &headers), "{headers:?}");
        }
    }

    #[test]
    fn without_credentials_everybody_is_let_in() {
        assert!(suffice(&[], &HeaderMap::new()));
    }

    #[test]
    fn a_secret_is_never_printed() {
        let printed = format!("{:?}", Credential::basic("verbex", "hunter2"));
        assert_eq!(printed, "Basic { user_password: *** }");
    }
}
