//! Times as Verbex writes them: RFC 3339, or a number that tells its unit by its magnitude.
//!
//! The guide documents seconds, shows ISO 8601 with nanoseconds, writes transfers with `+00:00` and microseconds, and the
//! analysis in milliseconds.

use jiff::civil;
use prost_types::Timestamp;

use super::{json::Value, number::Decimal};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: the range of a protobuf timestamp, which is wider than jiff's.
const SECONDS_MIN: i64 = -62_135_596_800;
const SECONDS_MAX: i64 = 253_402_300_799;

/// A time in a body.
pub(super) fn from_value(value: &Value<'_>) -> Option<Timestamp> {
    match value {
        Value::String(text) => from_text(&text.text()),
        Value::Number(number) => from_number(number),
        _ => None,
    }
}

/// A time in a header, or in a string of a body.
pub(super) fn from_text(text: &str) -> Option<Timestamp> {
    from_rfc3339(text).or_else(|| from_number(text))
}

/// Below 10^11 in seconds, below 10^14 in milliseconds, below 10^17 in microseconds, else in nanoseconds.
fn from_number(text: &str) -> Option<Timestamp> {
    let number = Decimal::parse(text)?;
    let unit_nanos_exponent = match number.exponent {
        ..=11 => 9,
        12..=14 => 6,
        15..=17 => 3,
        18..=21 => 0,
        // Beyond the year 9999, and too many digits for the arithmetic below.
        _ => return None,
    };
    // Of 0.digits × 10^exponent units, the digits that are whole nanoseconds; the others are cut.
    let whole = usize::try_from(number.exponent.saturating_add(unit_nanos_exponent)).unwrap_or(0);
    let digits = number
        .digits
        .iter()
        .chain(std::iter::repeat(&b'0'))
        .take(whole);
    let nanos = digits.fold(0_i128, |nanos, digit| nanos * 10 + i128::from(digit - b'0'));
    let nanos = if number.negative { -nanos } else { nanos };
    let seconds = i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).ok()?;
    within_range(
        seconds,
        i32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).ok()?,
    )
}

/// `2026-04-27T12:53:25.241195387Z`, with any fraction and offset, `t`, `z` or a space as RFC 3339 allows them.
fn from_rfc3339(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let (year, month_day) = date.split_once('-')?;
    let (month, day) = month_day.split_once('-')?;
    let date = civil::Date::new(
        digits(year, 4)?.try_into().ok()?,
        digits(month, 2)?.try_into().ok()?,
        digits(day, 2)?.try_into().ok()?,
    )
    .ok()?;

    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let (hour, minute_second) = time.split_once(':')?;
    let (minute, second) = minute_second.split_once(':')?;
    let clock = clock_minutes(hour, minute)?;
    let second = digits(second, 2).filter(|&second| second <= 60)?;

    let (mut nanos, offset) = match rest.strip_prefix('.') {
        Some(fraction) => {
            let end = fraction.find(|c: char| !c.is_ascii_digit())?;
            let (fraction, offset) = fraction.split_at(end);
            (fraction_nanos(fraction)?, offset)
        }
        None => (0, rest),
    };
    let offset_minutes = match offset {
        "Z" | "z" => 0,
        _ => {
            let (hour, minute) = offset.get(1..)?.split_once(':')?;
            let minutes = clock_minutes(hour, minute)?;
            match offset.as_bytes()[0] {
                b'+' => minutes,
                b'-' => -minutes,
                _ => return None,
            }
        }
    };

    // A leap second is the last moment of the second before it: protobuf's clock has no place for it.
    let mut second = i64::from(second);
    if second == 60 {
        (second, nanos) = (59, 999_999_999);
    }
    let midnight = date.duration_since(civil::date(1970, 1, 1)).as_secs();
    within_range(midnight + (clock - offset_minutes) * 60 + second, nanos)
}

fn clock_minutes(hour: &str, minute: &str) -> Option<i64> {
    let hour = digits(hour, 2).filter(|&hour| hour < 24)?;
    let minute = digits(minute, 2).filter(|&minute| minute < 60)?;
    Some(i64::from(hour * 60 + minute))
}

/// Digits past nanoseconds are cut.
fn fraction_nanos(fraction: &str) -> Option<i32> {
    if fraction.is_empty() {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    Some(digits.fold(0, |nanos, digit| nanos * 10 + i32::from(digit - b'0')))
}

fn digits(text: &str, count: usize) -> Option<u16> {
    let valid = text.len() == count && text.bytes().all(|digit| digit.is_ascii_digit());
    valid.then(|| text.parse().ok())?
}

fn within_range(seconds: i64, nanos: i32) -> Option<Timestamp> {
    (SECONDS_MIN..=SECONDS_MAX)
        .contains(&seconds)
        .then_some(Timestamp { seconds, nanos })
}

#[cfg(test)]
mod tests;
