//! Bearer tokens, and the grants that they give. No clock and no random generator: the time and
//! the random bytes are arguments.
//!
//! The gateway keeps only hashes. A fast hash is enough, because a token is 32 random bytes:
//! nobody can guess it.

mod grant;

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;

use crate::{filter::Scope, view::Redaction};

pub(crate) use grant::Grant;

/// The beginning of every token. It makes a leaked token recognisable.
pub(crate) const TOKEN_PREFIX: &str = "vgw_";

/// What the gateway knows of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whose token it is. Operators see this name.
    pub name: Arc<str>,
    /// The hash, which the gateway keeps in place of the token.
    pub hash: TokenHash,
    /// The token is refused from this time on.
    pub expires: Option<Timestamp>,
    /// Whether the token also gives access to `AdminService`.
    pub admin: bool,
}

/// The BLAKE3 hash of a whole token. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

/// The text is not 64 hex digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token hash is 64 hex digits")]
pub struct MalformedTokenHash;

/// Why credentials were refused. Callers learn only that they were; the reason is for the gateway's
/// own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// There was no `authorization` header.
    #[error("no credentials were given")]
    Missing,
    /// The header holds no known token.
    #[error("the credentials are not known")]
    Wrong,
    /// The token has expired.
    #[error("the credentials have expired")]
    Expired,
}

/// All tokens that the gateway accepts.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    by_hash: HashMap<TokenHash, Token>,
}

impl Tokens {
    /// If two tokens have the same hash, the last one counts.
    #[must_use]
    pub fn new(tokens: impl IntoIterator<Item = Token>) -> Self {
        Self {
            by_hash: tokens
                .into_iter()
                .map(|token| (token.hash, token))
                .collect(),
        }
    }

    /// Whether there are no tokens. Then callers need no credentials.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// The rights that this `authorization` header (`Bearer vgw_…`) gives at this time.
    ///
    /// The lookup uses the hash of what was sent, so its duration tells nothing about a token.
    ///
    /// # Errors
    /// If the header holds no token that is valid now.
    pub(crate) fn grant(
        &self,
        authorization: Option<&str>,
        now: Timestamp,
    ) -> Result<Grant, Denied> {
        let header = authorization.ok_or(Denied::Missing)?;
        let (scheme, token) = header.split_once(' ').ok_or(Denied::Wrong)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Denied::Wrong);
        }
        let known = self
            .by_hash
            .get(&TokenHash::of(token.trim()))
            .ok_or(Denied::Wrong)?;
        if known.expires.is_some_and(|expires| now >= expires) {
            return Err(Denied::Expired);
        }
        Ok(Grant {
            name: Some(Arc::clone(&known.name)),
            scope: Arc::new(Scope::ALL),
            redaction: Redaction::default(),
            admin: known.admin,
            until: known.expires,
        })
    }
}

/// Makes a token from these random bytes. The result is the secret itself: show it once, and keep
/// only its hash.
#[must_use]
pub fn token_from(random: [u8; 32]) -> String {
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

impl TokenHash {
    /// The hash of this token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(*blake3::hash(token.as_bytes()).as_bytes())
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from_bytes(self.0).fmt(f)
    }
}

impl FromStr for TokenHash {
    type Err = MalformedTokenHash;

    fn from_str(text: &str) -> Result<Self, MalformedTokenHash> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| MalformedTokenHash)?;
        Ok(Self(*hash.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn tokens() -> Tokens {
        let token = |name: &str, byte, expires, admin| Token {
            name: name.into(),
            hash: TokenHash::of(&token_from([byte; 32])),
            expires,
            admin,
        };
        Tokens::new([
            token("crm", 1, None, false),
            token("ops", 2, Some(at("2026-06-01T00:00:00Z")), true),
        ])
    }

    #[test]
    fn a_token_opens_until_it_expires_and_nothing_else_does() {
        let check = |header: Option<String>, now: &str, expected: Result<(&str, bool), Denied>| {
            let answer = tokens().grant(header.as_deref(), at(now));
            let expected = expected.map(|(name, admin)| Grant {
                name: Some(name.into()),
                until: admin.then(|| at("2026-06-01T00:00:00Z")),
                ..Grant::anonymous(admin)
            });
            assert_eq!(answer, expected, "{header:?} at {now}");
        };
        let bearer = |byte| Some(format!("Bearer {}", token_from([byte; 32])));
        let day = "2026-05-01T00:00:00Z";

        check(bearer(1), day, Ok(("crm", false)));
        check(bearer(2), day, Ok(("ops", true)));
        check(bearer(2), "2026-05-31T23:59:59.999Z", Ok(("ops", true)));
        check(bearer(2), "2026-06-01T00:00:00Z", Err(Denied::Expired));
        check(
            bearer(1).map(|header| header.replace("Bearer", "bearer")),
            day,
            Ok(("crm", false)),
        );

        check(None, day, Err(Denied::Missing));
        check(bearer(3), day, Err(Denied::Wrong));
        check(Some(token_from([1; 32])), day, Err(Denied::Wrong));
        check(Some(String::new()), day, Err(Denied::Wrong));
        check(Some("Bearer ".into()), day, Err(Denied::Wrong));
        check(Some("Basic dXNlcjpwYXNz".into()), day, Err(Denied::Wrong));
        // The hash, which stands in the configuration, does not work as a token.
        let hash = TokenHash::of(&token_from([1; 32]));
        check(Some(format!("Bearer {hash}")), day, Err(Denied::Wrong));
    }

    #[test]
    fn a_hash_survives_its_text_and_refuses_any_other() {
        let hash = TokenHash::of("vgw_");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for text in ["", "00", &"g".repeat(64), &"0".repeat(65)] {
            assert_eq!(text.parse::<TokenHash>(), Err(MalformedTokenHash), "{text}");
        }
    }

    #[test]
    fn a_token_is_its_prefix_and_43_url_safe_characters() {
        let token = token_from([0xff; 32]);
        assert_eq!(token.strip_prefix(TOKEN_PREFIX).map(str::len), Some(43));
        assert!(
            token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
    }
}
