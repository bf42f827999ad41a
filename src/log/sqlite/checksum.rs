//! The checksum of a row: XXH3 over all that is delivered of it, with the length of each value. The
//! sequence is among the values, so rows that have changed their places do not have theirs.

use std::hash::Hasher;

use rusqlite::types::ValueRef;
use twox_hash::XxHash3_64;

/// What a row has whose checksum was not made yet: a row of a file of version 1.
const NOT_MADE: i64 = 0;

/// The checksum of a row, never [`NOT_MADE`]. The order of the values is a part of it.
pub(super) fn of<'a>(values: impl IntoIterator<Item = ValueRef<'a>>) -> i64 {
    let mut hasher = XxHash3_64::new();
    for value in values {
        let (kind, bytes): (u8, &[u8]) = match &value {
            ValueRef::Null => (0, &[]),
            ValueRef::Integer(number) => {
                hasher.write(&[1]);
                hasher.write(&number.to_le_bytes());
                continue;
            }
            ValueRef::Real(number) => {
                hasher.write(&[2]);
                hasher.write(&number.to_le_bytes());
                continue;
            }
            ValueRef::Text(bytes) => (3, bytes),
            ValueRef::Blob(bytes) => (4, bytes),
        };
        hasher.write(&[kind]);
        hasher.write(&(bytes.len() as u64).to_le_bytes());
        hasher.write(bytes);
    }
    match hasher.finish().cast_signed() {
        NOT_MADE => 1,
        sum => sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files hold these sums, so they must never change.
    #[test]
    fn a_sum_is_the_same_in_every_version_and_differs_where_the_values_do() {
        let text = |bytes| ValueRef::Text(bytes);
        let one = [
            ValueRef::Integer(7),
            text(b"ab"),
            text(b"c"),
            ValueRef::Blob(b""),
        ];
        let others = [
            [
                ValueRef::Integer(8),
                text(b"ab"),
                text(b"c"),
                ValueRef::Blob(b""),
            ],
            [
                ValueRef::Integer(7),
                text(b"a"),
                text(b"bc"),
                ValueRef::Blob(b""),
            ],
            [ValueRef::Integer(7), text(b"ab"), text(b"c"), text(b"")],
            [
                ValueRef::Integer(7),
                text(b"c"),
                text(b"ab"),
                ValueRef::Blob(b""),
            ],
        ];
        for other in others {
            assert_ne!(of(one), of(other), "{other:?}");
        }
        assert_eq!(of(one), -2_663_495_263_348_670_107);
    }
}
