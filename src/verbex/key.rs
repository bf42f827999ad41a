//! Which keys of a webhook operators may see.

/// The longest key that is shown, in bytes.
const BYTES_MAX: usize = 40;
/// The most digits in one: enough for a year or a version, too few for a phone number.
const DIGITS_MAX: usize = 4;
/// The shortest run of hex digits that counts as a part of an id.
const HEX_MIN: usize = 8;

/// A key for a log line: unchanged if it looks like the name of a field, otherwise `*`.
///
/// The sender chooses the keys. A key may be a phone number, an address or a customer's id.
pub(super) fn shown(key: &str) -> &str {
    if is_name(key) { key } else { "*" }
}

/// Letters, digits, `_` and `-`, letter or `_` first; no long number, not mostly digits, and no
/// long hex number.
fn is_name(key: &str) -> bool {
    let letters = key.bytes().filter(u8::is_ascii_alphabetic).count();
    let digits = key.bytes().filter(u8::is_ascii_digit).count();
    let begins = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_hex =
        |part: &str| part.len() >= HEX_MIN && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    begins
        && key.len() <= BYTES_MAX
        && key.bytes().all(allowed)
        && digits <= DIGITS_MAX
        && digits <= letters
        && !key.split(['_', '-']).any(is_hex)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn names_of_fields_are_shown() {
        for key in [
            "confidence",
            "call_recording_url",
            "callRecordingUrl",
            "call-recording-url",
            "_id",
            "v2",
            "address_line_2",
            "sha256",
            "quota2026",
            "facade",
            "X",
        ] {
            assert_eq!(shown(key), key);
        }
    }

    #[test]
    fn phone_numbers_addresses_ids_and_free_text_are_not() {
        for key in [
            "",
            "+8801712345678",
            "8801712345678",
            "01712-345678",
            "tel_01712345678",
            "customer_8801712345678",
            "caller-880-171-234-5678",
            "x1234",
            "anna@example.com",
            "sip:2078@192.0.2.71",
            "192.0.2.71",
            "69ef7c43425e3c729ab8c83f",
            "call_deadbeefcafe",
            "c51aa1b1-7eac-452d-8ba5-86a922d694e7",
            "Anna Example",
            "anna.example",
            "größe",
            "٠١٧١٢٣٤٥٦٧٨",
            "line\nbreak",
            "\u{1b}[31m",
            "*",
            "-",
            "--help",
            "4711",
            "a_key_that_is_longer_than_any_field_of_the_guide",
        ] {
            assert_eq!(shown(key), "*", "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn a_phone_number_is_never_shown_whatever_stands_around_it(
            before in "[a-z_+]{0,20}",
            number in "[0-9]([-_ .]?[0-9]){5,14}",
            after in "[a-z_]{0,10}",
        ) {
            let key = format!("{before}{number}{after}");
            prop_assert_eq!(shown(&key), "*");
        }
    }
}
