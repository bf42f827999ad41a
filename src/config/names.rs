//! The names of settings in each layer, and their old names.

/// The prefix of all variables.
pub(super) const PREFIX: &str = "VERBEX_GATEWAY_";

/// How similar two names must be for one to be suggested for the other: from 0 to 1 (equal).
const LIKENESS_MIN: f64 = 0.8;

/// Settings that were renamed: the old key and the new one. An old key is an error that names the
/// new one.
const RENAMED: [(&str, &str); 4] = [
    ("log.format", "logging.format"),
    ("log.level", "logging.level"),
    ("tls.cert", "webhook.tls_cert"),
    ("tls.key", "webhook.tls_key"),
];

/// What to say of a key that no setting has, if it is an old name, in quotes too.
pub(super) fn renamed(key: &str) -> Option<String> {
    let unquoted = key.replace('"', "");
    let has_key = |old: &str| {
        let rest = unquoted.strip_prefix(old);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let (old, new) = RENAMED.into_iter().find(|(old, _)| has_key(old))?;
    Some(if key == old {
        format!("is called {new} now")
    } else {
        format!("{old} is called {new} now")
    })
}

/// The old names of a key.
pub(super) fn old_names_of(key: &str) -> impl Iterator<Item = &'static str> {
    let renamed = RENAMED.into_iter().filter(move |(_, new)| *new == key);
    renamed.map(|(old, _)| old)
}

/// Flags that were renamed: the old one and the new one.
pub(crate) fn renamed_flags() -> impl Iterator<Item = (String, String)> {
    let flags = RENAMED.map(|(old, new)| (plain_flag(old), flag_of(new)));
    flags.into_iter().filter(|(old, new)| old != new)
}

/// The flag that sets a key.
#[must_use]
pub(crate) fn flag_of(key: &str) -> String {
    // Other programs call it `--log-level`, too. So flags about the log itself do not say `log`.
    let key = match key.split_once('.') {
        Some(("logging", name)) => format!("log.{name}"),
        Some(("log", name)) => name.to_owned(),
        _ => key.to_owned(),
    };
    plain_flag(&key)
}

fn plain_flag(key: &str) -> String {
    format!("--{}", key.replace(['.', '_'], "-"))
}

/// The variable that sets a key.
#[must_use]
pub(crate) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// The known name that was most likely meant by a mistyped one.
#[must_use]
pub(crate) fn nearest<'k>(
    mistyped: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_uppercase();
    let mut mistyped = bare(mistyped);
    // Other programs have separate settings for the host and the port.
    for part in ["_PORT", "_HOST"] {
        if let Some(door) = mistyped.strip_suffix(part) {
            mistyped = format!("{door}_ADDR");
        }
    }
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&mistyped, &bare(name)), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_flag_is_one_that_has_another_name_now() {
        let flags: Vec<_> = renamed_flags().collect();
        let expected = [
            ("--tls-cert", "--webhook-tls-cert"),
            ("--tls-key", "--webhook-tls-key"),
        ];
        assert_eq!(flags, expected.map(|(old, new)| (old.into(), new.into())));
    }

    #[test]
    fn a_mistyped_name_is_told_the_nearest_one_and_a_strange_one_is_not() {
        let known = [
            "ADMIN_ADDR",
            "CONFIG",
            "DATA_DIR",
            "GRPC_ADDR",
            "GRPC_TLS_CERT",
            "WEBHOOK_TLS_CERT",
            "WEBHOOK_ADDR",
            "WEBHOOK_BODY_BYTES_MAX",
            "WEBHOOK_PLAIN_HTTP",
            "WEBHOOK_SECRET",
            "WEBHOOK_SECRET_FILE",
        ]
        .map(|name| format!("{PREFIX}{name}"));
        let check = |mistyped: &str, expected: Option<&str>| {
            let mistyped = format!("{PREFIX}{mistyped}");
            let nearest = nearest(&mistyped, known.iter().map(String::as_str));
            let expected = expected.map(|name| format!("{PREFIX}{name}"));
            assert_eq!(nearest, expected.as_deref(), "{mistyped}");
        };
        check("WEBHOOK_SECRT", Some("WEBHOOK_SECRET"));
        check("WEBHOOK_SECRETFILE", Some("WEBHOOK_SECRET_FILE"));
        check("WEBHOOK__ADDR", Some("WEBHOOK_ADDR"));
        check("webhook_addr", Some("WEBHOOK_ADDR"));
        check("WEBHOOK_PORT", Some("WEBHOOK_ADDR"));
        check("GRPC_PORT", Some("GRPC_ADDR"));
        check("GRPC_ADDRESS", Some("GRPC_ADDR"));
        check("DATADIR", Some("DATA_DIR"));
        check("GRPC_TLSCERT", Some("GRPC_TLS_CERT"));
        check("CONFG", Some("CONFIG"));
        check("RETENTION", None);
        check("X", None);
        check("", None);
    }
}
