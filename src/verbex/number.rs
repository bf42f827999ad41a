//! JSON numbers as decimals, without rounding to doubles.

/// The value of a JSON number: ±0.`digits` × 10^`exponent`.
///
/// Two are equal if and only if their values are, except that zero and minus zero differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) negative: bool,
    /// ASCII digits. The first and the last are not `0`. Zero has no digits.
    pub(super) digits: Vec<u8>,
    /// Clamped to the range of the type.
    pub(super) exponent: i64,
}

impl Decimal {
    /// Reads a number in JSON's grammar. None for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leading_zero || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }

        let significant = digits
            .iter()
            .rposition(|&digit| digit != b'0')
            .map_or(0, |last| last + 1);
        digits.truncate(significant);
        let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        digits.drain(..zeros);
        let exponent = if digits.is_empty() {
            0
        } else {
            exponent
                .saturating_add_unsigned(whole.len() as u64)
                .saturating_sub_unsigned(zeros as u64)
        };
        Some(Self {
            negative: text.len() > unsigned.len(),
            digits,
            exponent,
        })
    }
}

/// The nearest double. None if that is infinite.
pub(super) fn double(number: &str) -> Option<f64> {
    number
        .parse()
        .ok()
        .filter(|double: &f64| double.is_finite())
}

/// The double whose shortest decimal form has exactly the number's value. 0.1 has one; 2^53+1 and
/// 1e400 do not.
pub(super) fn exact_double(number: &str) -> Option<f64> {
    let double = double(number)?;
    // A number of up to fifteen digits is always exact, except near the ends of the exponent's
    // range.
    let short = number.len() <= 15 && !number.contains(['e', 'E']);
    let survives = || Decimal::parse(number) == Decimal::parse(&format!("{double:e}"));
    (short || survives()).then_some(double)
}

fn parse_exponent(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.is_empty() || !unsigned.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let size = unsigned.bytes().fold(0_i64, |size, digit| {
        size.saturating_mul(10)
            .saturating_add((digit - b'0').into())
    });
    Some(if text.starts_with('-') { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_values_are_equal_decimals() {
        let check = |one: &str, other: &str, equal: bool| {
            let (one, other) = (Decimal::parse(one).unwrap(), Decimal::parse(other).unwrap());
            assert_eq!(one == other, equal, "{one:?} {other:?}");
        };
        check("1", "1.0", true);
        check("100", "1e2", true);
        check("0.001", "1E-3", true);
        check("-12.50e1", "-125", true);
        check("0", "0.000e99999999999999999999", true);
        check("1", "-1", false);
        check("1", "10", false);
        check("0.1", "0.01", false);
        check("1e99999999999999999999", "1", false);
    }

    #[test]
    fn only_the_grammar_of_json_is_a_number() {
        for text in [
            "", "-", "+1", "01", "-01", "1.", ".5", "1e", "1e+", "0x1", " 1", "1 ", "1_0", "NaN",
            "inf", "1.5.5", "1e5e5", "1,5", "١",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_survives_a_double_or_does_not() {
        for (number, expected) in [
            ("0", Some(0.0)),
            ("-0", Some(-0.0)),
            ("0e99999", Some(0.0)),
            ("0.1", Some(0.1)),
            ("0.10", Some(0.1)),
            ("45.621591", Some(45.621591)),
            ("9007199254740992", Some(9_007_199_254_740_992.0)),
            ("9007199254740993", None),
            ("123456789012345678901234567890", None),
            ("0.1000000000000000055511151231257827", None),
            ("1.7976931348623157e308", Some(f64::MAX)),
            ("1e309", None),
            ("1e400", None),
            ("-1e400", None),
            ("5e-324", Some(5e-324)),
            ("1e-400", None),
            ("1e-99999999999999999999", None),
        ] {
            assert_eq!(exact_double(number), expected, "{number}");
        }
        assert!(exact_double("-0").is_some_and(f64::is_sign_negative));
    }

    proptest! {
        #[test]
        fn every_double_survives_itself(
            double in prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL,
        ) {
            prop_assert_eq!(exact_double(&format!("{double:e}")), Some(double));
            prop_assert_eq!(exact_double(&double.to_string()), Some(double));
        }

        #[test]
        fn up_to_fifteen_digits_survive(number in "-?(0|[1-9][0-9]{0,6})(\\.[0-9]{1,7})?") {
            prop_assert_eq!(
                Decimal::parse(&number),
                Decimal::parse(&format!("{:e}", exact_double(&number).unwrap())),
            );
        }
    }
}
