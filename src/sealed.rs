//! Opaque texts that clients keep: some bytes and a checksum, URL-safe.
//!
//! The checksum finds a text that was cut or mistyped. It is not secret: such a text gives no
//! rights.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

const CHECK_BYTES: usize = 4;

/// Base64url without padding, of the bytes and their checksum.
pub(crate) fn seal(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([bytes, &check_of(bytes)].concat())
}

/// The bytes of a text that [`seal`] made from `N` bytes; none if the text is anything else.
pub(crate) fn open<const N: usize>(text: &str) -> Option<[u8; N]> {
    let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (bytes, check) = sealed.split_at_checked(N)?;
    (check == check_of(bytes)).then(|| array(bytes))
}

/// `slice` must have `N` bytes.
pub(crate) fn array<const N: usize>(slice: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(slice);
    array
}

fn check_of(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    array(&blake3::hash(bytes).as_bytes()[..CHECK_BYTES])
}
