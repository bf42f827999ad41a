//! Times as Verbex writes them: RFC 3339, or a number whose magnitude shows its unit.
//!
//! The guide documents seconds, shows ISO 8601 with nanoseconds, writes transfers with `+00:00` and
//! microseconds, and the analysis in milliseconds. Other forms of ISO 8601, RFC 9557 and standard
//! libraries are accepted too if they have an offset.

use jiff::civil;
use prost_types::Timestamp;

use super::{json::Value, number::Decimal};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z: the range of a protobuf timestamp, which is wider
/// than jiff's.
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
    let text = text.trim_ascii();
    from_iso8601(text).or_else(|| from_number(text))
}

/// Below 10^11 in seconds, below 10^14 in milliseconds, below 10^17 in microseconds, else in
/// nanoseconds.
fn from_number(text: &str) -> Option<Timestamp> {
    let number = Decimal::parse(text)?;
    let unit_nanos_exponent = match number.exponent {
        ..=11 => 9,
        12..=14 => 6,
        15..=17 => 3,
        18..=21 => 0,
        // The time is after the year 9999, with too many digits for the arithmetic below.
        _ => return None,
    };
    // Keep the digits of 0.digits × 10^exponent units that are whole nanoseconds, and cut the rest.
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

/// `2026-04-27T12:53:25.241195387Z`, with a space for the `T`, without seconds, with any fraction
/// and offset.
fn from_iso8601(text: &str) -> Option<Timestamp> {
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
    let (time, rest) = rest.split_at_checked(5)?;
    let (hour, minute) = time.split_once(':')?;
    let clock = clock_minutes(hour, minute)?;
    let (second, nanos, zone) = match rest.strip_prefix(':') {
        Some(rest) => seconds_and_nanos(rest)?,
        None => (0, 0, rest),
    };
    let offset = offset_minutes(zone)?;

    // A leap second becomes the last moment of the second before it, because protobuf has no leap
    // seconds.
    let (second, nanos) = match second {
        60 => (59, 999_999_999),
        _ => (i64::from(second), nanos),
    };
    let midnight = date.duration_since(civil::date(1970, 1, 1)).as_secs();
    within_range(midnight + (clock - offset) * 60 + second, nanos)
}

/// `25`, `25.241195387` or `25,241195387`, and the rest of the text.
fn seconds_and_nanos(text: &str) -> Option<(u16, i32, &str)> {
    let (second, rest) = text.split_at_checked(2)?;
    let second = digits(second, 2).filter(|&second| second <= 60)?;
    let Some(fraction) = rest.strip_prefix(['.', ',']) else {
        return Some((second, 0, rest));
    };
    let end = fraction.find(|c: char| !c.is_ascii_digit())?;
    let (fraction, rest) = fraction.split_at(end);
    Some((second, fraction_nanos(fraction)?, rest))
}

/// `Z`, `+06:00`, `+0600` or `+06`, and optionally the name of a zone after it: ` UTC`,
/// `[Asia/Dhaka]`. Only the offset is used, because a look-up of the name needs a database. The
/// name UTC is valid without an offset.
fn offset_minutes(zone: &str) -> Option<i64> {
    let zone = zone.strip_prefix(' ').unwrap_or(zone);
    let Some(unsigned) = zone.strip_prefix(['+', '-', '\u{2212}']) else {
        return is_utc(zone).then_some(0);
    };
    let sign = if zone.starts_with('+') { 1 } else { -1 };
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != ':');
    let (offset, name) = unsigned.split_at(end.unwrap_or(unsigned.len()));
    if !is_zone_name(name) {
        return None;
    }
    let (hour, minute) = match offset.split_at_checked(2)? {
        (hour, "") => (hour, "00"),
        (hour, minute) => (hour, minute.strip_prefix(':').unwrap_or(minute)),
    };
    Some(sign * clock_minutes(hour, minute)?)
}

/// `Z`, `UTC`, `[UTC]`, `Z[UTC]`, `Z[Europe/London]`.
fn is_utc(zone: &str) -> bool {
    const NAMES: [&str; 4] = ["UTC", "GMT", "Etc/UTC", "Etc/GMT"];
    match zone.strip_prefix(['Z', 'z']) {
        Some(name) => is_zone_name(name),
        None => {
            let name = in_brackets(zone).unwrap_or(zone);
            NAMES.iter().any(|utc| utc.eq_ignore_ascii_case(name))
        }
    }
}

/// Nothing, or what may follow an offset: ` UTC`, ` +06`, `[Asia/Dhaka]`,
/// `[Asia/Dhaka][u-ca=iso8601]`.
fn is_zone_name(text: &str) -> bool {
    let is_name = |name: &str, marks: &str| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
        !name.is_empty() && name.chars().all(is_part)
    };
    match in_brackets(text) {
        Some(names) => names.split("][").all(|name| is_name(name, "/_+-:=!")),
        None => {
            text.is_empty()
                || text
                    .strip_prefix(' ')
                    .is_some_and(|name| is_name(name, "+-"))
        }
    }
}

fn in_brackets(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']')
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
