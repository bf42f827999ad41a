use proptest::prelude::*;

use super::*;

fn check(text: &str, expected: Option<(i64, i32)>) {
    let expected = expected.map(|(seconds, nanos)| Timestamp { seconds, nanos });
    assert_eq!(from_text(text), expected, "{text}");
}

#[test]
fn rfc_3339_with_any_fraction_and_offset_is_a_time() {
    check("1970-01-01T00:00:00Z", Some((0, 0)));
    check(
        "2026-04-27T12:53:25.241195387Z",
        Some((1_777_294_405, 241_195_387)),
    );
    check(
        "2026-01-28T12:33:37.475817+00:00",
        Some((1_769_603_617, 475_817_000)),
    );
    check(
        "2026-01-28T12:33:37.5-00:00",
        Some((1_769_603_617, 500_000_000)),
    );
    check("2026-01-28T18:33:37+06:00", Some((1_769_603_617, 0)));
    check("2026-01-28T07:03:37-05:30", Some((1_769_603_617, 0)));
    check("2026-01-28t12:33:37z", Some((1_769_603_617, 0)));
    check("2026-01-28 12:33:37Z", Some((1_769_603_617, 0)));
    check("1969-12-31T23:59:59.25Z", Some((-1, 250_000_000)));
    check("2024-02-29T00:00:00Z", Some((1_709_164_800, 0)));
}

#[test]
fn what_other_senders_write_for_rfc_3339_is_a_time() {
    for same in [
        "2026-01-28T18:33:37+0600",
        "2026-01-28T18:33:37+06",
        "2026-01-28T12:33:37-0000",
        "2026-01-28T12:33:37-00",
        "2026-01-28T07:03:37-0530",
        "2026-01-28T07:03:37\u{2212}05:30",
        "2026-01-28 18:33:37 +0600",
        "2026-01-28 12:33:37 +0000 UTC",
        "2026-01-28 18:33:37 +0600 +06",
        "2026-01-28 12:33:37 UTC",
        "2026-01-28 12:33:37 gmt",
        "2026-01-28T12:33:37 Z",
        "2026-01-28T12:33:37Z[UTC]",
        "2026-01-28T12:33:37z[Etc/UTC]",
        "2026-01-28T12:33:37[UTC]",
        "2026-01-28T12:33:37[Etc/GMT]",
        "2026-01-28T18:33:37+06:00[Asia/Dhaka]",
        "2026-01-28T18:33:37+0600[!Asia/Dhaka][u-ca=iso8601]",
        // The offset counts, and the zone's name is ignored.
        "2026-01-28T18:33:37+06:00[America/Argentina/Buenos_Aires]",
        "2026-01-28T18:33:37+06:00[+06:00]",
        " 2026-01-28T12:33:37Z\n",
        "2026-01-28T12:33:37,0Z",
    ] {
        check(same, Some((1_769_603_617, 0)));
    }
    check("2026-01-28T12:33Z", Some((1_769_603_580, 0)));
    check("2026-01-28t18:33+06", Some((1_769_603_580, 0)));
    check("2026-01-28 12:33 UTC", Some((1_769_603_580, 0)));
    check(
        "2026-01-28T12:33:37,475817+0000[UTC]",
        Some((1_769_603_617, 475_817_000)),
    );
    check(" 1777294619 ", Some((1_777_294_619, 0)));
}

#[test]
fn digits_past_nanoseconds_are_cut() {
    check("1970-01-01T00:00:00.9999999999999Z", Some((0, 999_999_999)));
    check("1969-12-31T23:59:59.9999999999Z", Some((-1, 999_999_999)));
    check("1.9999999999", Some((1, 999_999_999)));
    check("-1.9999999999", Some((-2, 1)));
    check("1777294619200.0000009", Some((1_777_294_619, 200_000_000)));
    check("1e-30", Some((0, 0)));
}

#[test]
fn a_leap_second_is_the_last_nanosecond_before_it() {
    check("2016-12-31T23:59:60Z", Some((1_483_228_799, 999_999_999)));
    check("2016-12-31T23:59:60.5Z", Some((1_483_228_799, 999_999_999)));
    check(
        "2017-01-01T05:59:60+06:00",
        Some((1_483_228_799, 999_999_999)),
    );
    check("2016-12-31T23:59:61Z", None);
}

#[test]
fn a_number_tells_its_unit_by_its_magnitude() {
    check("0", Some((0, 0)));
    check("-0", Some((0, 0)));
    check("1777294619", Some((1_777_294_619, 0)));
    check("1777294619.2", Some((1_777_294_619, 200_000_000)));
    check("1.7772946192e9", Some((1_777_294_619, 200_000_000)));
    check("1777294619200", Some((1_777_294_619, 200_000_000)));
    check("1777294619200.5", Some((1_777_294_619, 200_500_000)));
    check("1777294619200123", Some((1_777_294_619, 200_123_000)));
    check("1777294619200123456", Some((1_777_294_619, 200_123_456)));
    check("-1.5", Some((-2, 500_000_000)));
    check("99999999999", Some((99_999_999_999, 0)));
    check(
        "99999999999.9999999999",
        Some((99_999_999_999, 999_999_999)),
    );
    check("100000000000", Some((100_000_000, 0)));
    check("-99999999999", None);
    check("-100000000000", Some((-100_000_000, 0)));
    check("99999999999999", Some((99_999_999_999, 999_000_000)));
    check("100000000000000", Some((100_000_000, 0)));
    check("99999999999999999", Some((99_999_999_999, 999_999_000)));
    check("100000000000000000", Some((100_000_000, 0)));
}

#[test]
fn what_lies_outside_the_years_1_to_9999_is_not_usable() {
    check("0001-01-01T00:00:00Z", Some((SECONDS_MIN, 0)));
    check("0001-01-01T00:30:00+01:00", None);
    check("0000-12-31T23:30:00-01:00", Some((SECONDS_MIN + 1800, 0)));
    check(
        "9999-12-31T23:59:59.999999999Z",
        Some((SECONDS_MAX, 999_999_999)),
    );
    check("9999-12-31T23:59:60Z", Some((SECONDS_MAX, 999_999_999)));
    check("9999-12-31T23:30:00-01:00", None);
    check("-62135596800", Some((SECONDS_MIN, 0)));
    check("-62135596800.000000001", None);
    check("253402300799999999999", Some((SECONDS_MAX, 999_999_999)));
    check("253402300800000000000", None);
    check("1e400", None);
    check("-1e99999999999999999999", None);
}

#[test]
fn anything_else_is_no_time() {
    for text in [
        "",
        " ",
        "now",
        "2026-04-27",
        "2026-04-27T12:53:25",
        "2026-04-27T12:53",
        "2026-04-27T12:53:Z",
        "2026-04-27T12Z",
        "2026-04-27T12:53:25.Z",
        "2026-04-27T12:53:25,Z",
        "2026-04-27T12:53:25.5",
        "2026-04-27T12:53:25 PST",
        "2026-04-27T12:53:25[Asia/Dhaka]",
        "2026-04-27T12:53:25Z 12:00",
        "2026-04-27T12:53:25Z[]",
        "2026-04-27T12:53:25Z[UTC",
        "2026-04-27T12:53:25ZUTC",
        "2026-04-27T12:53:25+-06:00",
        "2026-04-27T12:53:25+6:00",
        "2026-04-27T12:53:25+000",
        "2026-04-27T12:53:25+00:00:00",
        "2026-04-27T12:53:25+",
        "2026-04-27T12:53:25+00:00é",
        "2026-04-27T12:53:25+24:00",
        "2026-04-27T12:53:25+00:60",
        "2026-04-27T24:00:00Z",
        "2026-04-27T12:60:00Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "+2026-04-27T12:53:25Z",
        "2026-4-27T12:53:25Z",
        "2026-04-27T12:53:25.5ZZ",
        "2026-04-27T12:53:2٥Z",
        "2026-04-27T12:53:25é00:00",
        "é026-04-27T12:53:25Z",
        "+1",
        "01",
        "0x10",
        "1_000",
        "1777294619s",
        "NaN",
    ] {
        check(text, None);
    }
}

proptest! {
    #[test]
    fn every_instant_survives_each_way_of_writing_it(
        nanos in jiff::Timestamp::MIN.as_nanosecond()..jiff::Timestamp::MAX.as_nanosecond(),
        hours in -23_i8..=23,
    ) {
        let instant = jiff::Timestamp::from_nanosecond(nanos).unwrap();
        let expected = crate::event::timestamp(instant);
        let expected = within_range(expected.seconds, expected.nanos);
        prop_assume!(expected.is_some());
        prop_assert_eq!(from_text(&instant.to_string()), expected);
        if let Ok(offset) = jiff::tz::Offset::from_hours(hours) {
            let local = instant.display_with_offset(offset).to_string();
            prop_assume!(!local.starts_with('-'));
            prop_assert_eq!(from_text(&local), expected);
        }
        if nanos.abs() >= 100_000_000_000_000_000 {
            prop_assert_eq!(from_text(&nanos.to_string()), expected);
        }
    }

    #[test]
    fn no_text_makes_it_panic(
        text in "\\PC*",
        timely in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-5][0-9][0-9.,:+Zz \
                   /A-Ué\u{2212}\\[\\]-]{0,20}",
        numeric in "-?[0-9]{1,400}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,30})?",
    ) {
        let _ = from_text(&text);
        let _ = from_text(&timely);
        let _ = from_text(&numeric);
    }
}
