//! Finds a phone number in texts, however it is written there.

/// A phone number: its digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phone(Vec<u8>);

/// A shorter number would also be found in much that is no phone number.
const DIGITS_MIN: usize = 5;
/// The most characters between two digits of one number, as in "+49 (0) 30".
const SEPARATORS_MAX: usize = 3;

impl Phone {
    /// The number that a person has written. None if it has too few digits, or anything else than
    /// digits and what separates them. Zeroes in front do not count: a number is found with and
    /// without the prefix of international calls.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).collect();
        let plain = text.chars().all(|c| c.is_ascii_digit() || is_separator(c));
        let zeroes = digits.iter().take_while(|&&digit| digit == b'0').count();
        let digits = digits[zeroes..].to_vec();
        (plain && digits.len() >= DIGITS_MIN).then_some(Self(digits))
    }

    /// Whether the number is in a text, or in the texts and numbers of a JSON document: alone, and
    /// not as a part of a longer number. Digits may be separated, and written as `\u0030`.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let text: Vec<char> = unescaped(text).collect();
        (0..text.len()).any(|at| self.begins_at(&text, at))
    }

    fn begins_at(&self, text: &[char], begin: usize) -> bool {
        let before = text[..begin].iter().rev();
        let mut before = before.skip_while(|c| **c == '0');
        if before.next().is_some_and(char::is_ascii_digit) {
            return false;
        }
        let mut at = begin;
        for (index, &digit) in self.0.iter().enumerate() {
            if index > 0 {
                at += separators(&text[at..]);
            }
            if text.get(at) != Some(&char::from(digit)) {
                return false;
            }
            at += 1;
        }
        !text.get(at).is_some_and(char::is_ascii_digit)
    }
}

/// How many characters separate a digit from the next. A zero in brackets is one of them.
fn separators(text: &[char]) -> usize {
    let mut at = 0;
    let mut seen = 0;
    while seen <= SEPARATORS_MAX {
        match text[at..] {
            ['(', '0', ')', ..] => at += 3,
            [c, ..] if is_separator(c) => at += 1,
            _ => return at,
        }
        seen += 1;
    }
    at
}

fn is_separator(c: char) -> bool {
    matches!(
        c,
        ' ' | '-' | '.' | '(' | ')' | '/' | '+' | '\u{a0}' | '\u{2009}' | '\u{202f}' | '\u{2010}'
            ..='\u{2013}'
    )
}

/// The characters of a text, with those that JSON has escaped by number.
fn unescaped(text: &str) -> impl Iterator<Item = char> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let escaped = rest.strip_prefix("\\u").and_then(|behind| {
            let code = u32::from_str_radix(behind.get(..4)?, 16).ok()?;
            rest = &behind[4..];
            // Half of a pair is no digit and no separator.
            Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
        });
        escaped.or_else(|| {
            let mut chars = rest.chars();
            let next = chars.next()?;
            rest = chars.as_str();
            Some(next)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_however_it_is_written_and_not_in_longer_ones() {
        let check = |number: &str, text: &str, expected: bool| {
            let phone = Phone::parse(number).unwrap();
            assert_eq!(phone.is_in(text), expected, "{number} in {text}");
        };
        for text in [
            r#"{"phone_number":"+8801762668080"}"#,
            r#"{"transfer_to":"sip:8801762668080@example.org"}"#,
            "call 880 1762-668080 now",
            "option 5 880 1762 668080",
            "008801762668080",
            "{\"n\":8801762668080}",
            "+880\u{a0}1762\u{2011}668080",
            r"\u002b\u0038801762668080",
            "+880 (0) 1762 668080",
        ] {
            check("+880 1762 668080", text, true);
            check("008801762668080", text, true);
        }
        for text in [
            "88017626680801",
            "18801762668080",
            "880176266808",
            "880, 1762668080",
            "880     1762668080",
            "",
        ] {
            check("+8801762668080", text, false);
        }
        for text in ["", "1234", "0000000", "+880x1762668080", "sip:a@b"] {
            assert_eq!(Phone::parse(text), None, "{text}");
        }
    }
}
