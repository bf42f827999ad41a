//! Times as people type them: `10m`, `2h`, `2026-04-27`, `2026-04-27T12:00`, RFC 3339.

use jiff::{Span, Timestamp, ZonedDateTime, civil};

/// Parses a time with the clock and the time zone of this machine, for clap.
///
/// # Errors
/// If it is not a time; the message shows valid forms.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    parse_at(text, &ZonedDateTime::now())
}

/// A time with an offset, a time in the time zone of `now`, or a length of time before `now`.
fn parse_at(text: &str, now: &ZonedDateTime) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let time = match text.parse::<civil::DateTime>() {
        Ok(local) => local.to_zoned_datetime(now.time_zone().clone()).ok(),
        Err(_) => {
            let ago = text.parse::<Span>().ok();
            ago.and_then(|ago| now.checked_sub(ago.abs()).ok())
        }
    };
    let time = time.ok_or(
        "a time is how long ago (10m, 2h, 3d), a local date or time (2026-04-27, \
         2026-04-27T12:00), or RFC 3339 (2026-04-27T12:00:00Z)",
    )?;
    Ok(time.timestamp())
}

/// The error of [`length`].
pub(super) const LENGTH: &str = "expected how long from now on, such as 12h, 90d, 6mo or 1y";

/// Parses a length of time, for clap.
///
/// # Errors
/// If it is not a length of time; the message shows valid forms.
pub(super) fn length(text: &str) -> Result<Span, String> {
    text.trim().parse().map_err(|_| LENGTH.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_how_long_ago_or_local_or_rfc_3339() {
        let now: ZonedDateTime = "2026-04-27T12:00:00[Asia/Dhaka]".parse().unwrap();
        let check = |text: &str, expected: &str| {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(parse_at(text, &now), Ok(expected), "{text}");
        };
        check("10m", "2026-04-27T05:50:00Z");
        check("1h 30m", "2026-04-27T04:30:00Z");
        check("90 seconds ago", "2026-04-27T05:58:30Z");
        check("3d", "2026-04-24T06:00:00Z");
        check("PT2H", "2026-04-27T04:00:00Z");
        check("2026-04-27", "2026-04-26T18:00:00Z");
        check("2026-04-27 09:30", "2026-04-27T03:30:00Z");
        check("2026-04-27T09:30:00.5", "2026-04-27T03:30:00.5Z");
        check("2026-04-27T09:30:00Z", "2026-04-27T09:30:00Z");
        check("2026-04-27T09:30+02:00", "2026-04-27T07:30:00Z");
    }

    #[test]
    fn anything_else_is_refused_with_what_would_be_right() {
        let now = Timestamp::UNIX_EPOCH.to_zoned_datetime(jiff::tz::TimeZone::UTC);
        for text in ["", "10", "soon", "2026-13-01", "10 parsecs", "999999y"] {
            assert!(parse_at(text, &now).is_err(), "{text}");
        }
        let told = parse_at("soon", &now).unwrap_err();
        assert!(told.contains("10m") && told.contains("RFC 3339"), "{told}");
    }

    #[test]
    fn a_length_is_a_number_with_its_unit_and_anything_else_is_told_so() {
        for text in ["12h", "90d", "6mo", "1y", "1 year", "P1Y", "1y 6mo"] {
            assert!(length(text).is_ok(), "{text}");
        }
        for text in ["", "soon", "90", "never", "2027-01-31", "90 parsecs"] {
            let told = length(text).unwrap_err();
            assert!(told.contains("90d") && told.contains("1y"), "{told}");
        }
    }
}
