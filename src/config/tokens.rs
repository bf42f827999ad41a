//! The entries of `[[tokens]]`. Only the file can have them, in any number.

use super::{
    file::{Place, Table},
    problem::Problem,
    setting::Setting,
};
use crate::auth::Token;

/// The entry of a token for the file.
#[must_use]
pub(crate) fn token_entry(token: &Token) -> String {
    let mut entry = format!(
        "[[tokens]]\nname = {}\nhash = {}\n",
        token.name.to_string().to_toml(),
        token.hash.to_toml(),
    );
    if let Some(expires) = &token.expires {
        entry += &format!("expires = {}\n", expires.to_toml());
    }
    if token.admin {
        entry += "admin = true\n";
    }
    entry
}

/// Reads the entries of a file, and adds their problems to `problems`.
pub(super) fn read(tables: Vec<Table>, problems: &mut Vec<Problem>) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for table in tables {
        let mut entry = TokenEntry { table, problems };
        let name = entry.required::<String>("name");
        let hash = entry.required("hash");
        let expires = entry.optional("expires");
        let admin = entry.optional("admin");
        let TokenEntry { table, .. } = entry;
        problems.extend(table.unknown_keys("tokens.", &["name", "hash", "expires", "admin"]));
        let (Some((name, _)), Some((hash, place))) = (name, hash) else {
            continue;
        };
        if tokens.iter().any(|token| token.hash == hash) {
            problems.push(problem(&place, "hash", "is already in another entry"));
        }
        tokens.push(Token {
            name: name.into(),
            hash,
            expires: expires.map(|(expires, _)| expires),
            admin: admin.is_some_and(|(admin, _)| admin),
        });
    }
    tokens
}

struct TokenEntry<'a> {
    table: Table,
    problems: &'a mut Vec<Problem>,
}

impl TokenEntry<'_> {
    fn required<T: Setting>(&mut self, key: &str) -> Option<(T, Place)> {
        let known = self.problems.len();
        let value = self.optional(key);
        if value.is_none() && self.problems.len() == known {
            self.problems
                .push(problem(&self.table.place, key, "is missing in this entry"));
        }
        value
    }

    fn optional<T: Setting>(&mut self, key: &str) -> Option<(T, Place)> {
        let written = self.table.take(key)?;
        let value = T::from_file(&written.value);
        if value.is_none() {
            let expected = format!("expected {}", T::EXPECTED);
            self.problems.push(problem(&written.place, key, &expected));
        }
        Some((value?, written.place))
    }
}

fn problem(place: &Place, key: &str, message: &str) -> Problem {
    Problem {
        place: format!("{place}: tokens.{key}"),
        message: message.to_owned(),
    }
}
