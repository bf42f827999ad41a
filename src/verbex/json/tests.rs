use std::fmt::Write;

use proptest::prelude::*;

use super::*;

#[test]
fn strings_are_canonical_and_lone_surrogates_stay_apart() {
    let check = |written: &str, canonical: &str, text: &str| {
        let read = Text::new(written, written.contains('\\'));
        assert_eq!(read.canonical(), canonical, "{written}");
        assert_eq!(read.text(), text, "{written}");
    };
    check("", "", "");
    check("plain ü", "plain ü", "plain ü");
    check(
        r"\u0041\/\b\f\n\r\t",
        "A/\u{8}\u{c}\n\r\t",
        "A/\u{8}\u{c}\n\r\t",
    );
    check(r#"\"\\\u0022\u005C"#, r#"\"\\\"\\"#, r#""\"\"#);
    check(r"\\ud800", r"\\ud800", r"\ud800");
    check(r"\u0000\u007f", "\0\u{7f}", "\0\u{7f}");
    check(r"\uD83D\ude00!", "😀!", "😀!");
    check(r"\ud800", r"\ud800", "\u{fffd}");
    check(r"\uD800\uD800x", r"\ud800\ud800x", "\u{fffd}\u{fffd}x");
    check(r"\ude00\ud83d", r"\ude00\ud83d", "\u{fffd}\u{fffd}");
    check(r"\ud83d\n\ude00", "\\ud83d\n\\ude00", "\u{fffd}\n\u{fffd}");
    check(r"\ud83d\u0041", r"\ud83dA", "\u{fffd}A");
    check(r"\ud83d\ud83d\ude00", r"\ud83d😀", "\u{fffd}😀");
}

#[test]
fn of_repeated_keys_the_last_counts_however_they_are_escaped() {
    let object = parse(br#"{"b":0, "a":1, "\u0061":2, "b":[], "a":null}"#).unwrap();
    assert_eq!(object.get("a"), Some(&Value::Null));
    assert_eq!(object.get("b"), Some(&Value::Array(Vec::new())));
    assert_eq!(object.entries().len(), 2);
}

#[test]
fn numbers_stay_as_they_were_written() {
    for number in ["0", "-0", "1e400", "1E+2", "9007199254740993", "0.10"] {
        let body = format!(r#"{{"n":{number}}}"#);
        let object = parse(body.as_bytes()).unwrap();
        assert_eq!(object.get("n"), Some(&Value::Number(number)));
    }
}

#[test]
fn what_is_no_json_object_in_utf_8_is_invalid_however_deep() {
    let deep = "[".repeat(1_800_000);
    let deep_array = format!("{}{}", "[".repeat(500), "]".repeat(500));
    for body in [
        "",
        " ",
        "null",
        "1",
        r#""{}""#,
        "[]",
        "[{}]",
        "{",
        "{]",
        "{}{}",
        "{} x",
        "{a:1}",
        "{'a':1}",
        r#"{"a":1,}"#,
        r#"{"a" 1}"#,
        r#"{"a":01}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":1.}"#,
        r#"{"a":NaN}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        "{\"a\":\"\n\"}",
        "{\u{feff}}",
        "{}\u{feff}",
        "\0{}",
        "{\"a\":\0 1}",
        "{\"a\":\"\0\"}",
        r#"{"a":tru}"#,
        &deep,
        &deep_array,
        &format!("{{\"a\":{deep}"),
    ] {
        let error = parse(body.as_bytes()).unwrap_err();
        assert!(!matches!(error, BodyError::TooDeep), "{:.20}", body);
    }
    let error = parse(b"{\"a\":\"\xff\"}").unwrap_err();
    assert!(matches!(error, BodyError::NotUtf8 { valid_up_to: 6 }));
    let error = parse(b"{\"a\":\"\xed\xa0\x80\"}").unwrap_err();
    assert!(matches!(error, BodyError::NotUtf8 { .. }));
}

#[test]
fn a_byte_order_mark_before_and_nuls_behind_say_nothing() {
    let plain = parse(b"{\"a\":1}").unwrap();
    for body in [
        "\u{feff}{\"a\":1}",
        "\u{feff}\u{feff} {\"a\":1}\n",
        "\r\n \t\u{feff}{\"a\":1}",
        "\u{feff}\n\u{feff} {\"a\":1}",
        "{\"a\":1}\0",
        "\u{feff}{\"a\":1}\r\n\0\0",
        "{\"a\":1}\0\n",
    ] {
        assert_eq!(parse(body.as_bytes()).unwrap(), plain, "{body:?}");
    }
    for empty in ["\u{feff}", "\0", "\u{feff}\0", " \u{feff} ", "\u{a0}{}"] {
        assert!(parse(empty.as_bytes()).is_err(), "{empty:?}");
    }
}

#[test]
fn utf_16_and_utf_32_are_refused_by_name() {
    let utf_16: Vec<u16> = "{\"a\":1}".encode_utf16().collect();
    let utf_16_mark: Vec<u16> = "\u{feff}{}".encode_utf16().collect();
    let utf_32: Vec<u32> = "{}".chars().map(u32::from).collect();
    let utf_32_mark: Vec<u32> = "\u{feff}{}".chars().map(u32::from).collect();
    for body in [
        utf_16.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
        utf_16.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
        utf_16_mark
            .iter()
            .flat_map(|unit| unit.to_le_bytes())
            .collect(),
        utf_16_mark
            .iter()
            .flat_map(|unit| unit.to_be_bytes())
            .collect(),
        utf_32.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
        utf_32.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
        utf_32_mark
            .iter()
            .flat_map(|unit| unit.to_le_bytes())
            .collect(),
        utf_32_mark
            .iter()
            .flat_map(|unit| unit.to_be_bytes())
            .collect::<Vec<u8>>(),
    ] {
        let error = parse(&body).unwrap_err();
        assert!(matches!(error, BodyError::Wide), "{body:x?}: {error}");
        assert!(error.to_string().contains("UTF-16"), "{error}");
    }
}

#[test]
fn a_hundred_and_twenty_eight_levels_are_read_and_one_more_is_too_deep() {
    let arrays = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}0{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    for body in [arrays(127), objects(128)] {
        assert!(parse(body.as_bytes()).is_ok());
    }
    for body in [arrays(128), objects(129), arrays(800_000), objects(200_000)] {
        assert!(matches!(parse(body.as_bytes()), Err(BodyError::TooDeep)));
    }
}

proptest! {
    #[test]
    fn reading_agrees_with_serde_json(
        value in crate::verbex::tests::json::value(),
        space in "[ \n\t\r]{0,2}",
    ) {
        let mut body = String::new();
        let object = serde_json::json!({ "v": value });
        write!(body, "{space}{object:#}{space}").unwrap();
        prop_assert_eq!(as_serde(&Value::Object(parse(body.as_bytes()).unwrap())), object);
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_differ_from_serde_json(
        body in r#"\{?([\[\]{}",:\\ue0-9.+\-]|"[a-z]*"|null|true|false| ){0,24}\}?"#,
    ) {
        let json = serde_json::from_str::<&RawValue>(&body);
        let valid = json.is_ok_and(|json| json.get().starts_with('{'));
        prop_assert_eq!(parse(body.as_bytes()).is_ok(), valid);
        // No input may cause a panic, even if it is not JSON at all.
        let _ = Reader { text: &body, at: 0 }.value(0);
    }
}

fn as_serde(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(bool) => (*bool).into(),
        Value::Number(number) => serde_json::from_str(number).unwrap(),
        Value::String(text) => text.text().into(),
        Value::Array(items) => items.iter().map(as_serde).collect(),
        Value::Object(object) => object
            .entries()
            .iter()
            .map(|(key, value)| (key.text().into_owned(), as_serde(value)))
            .collect(),
    }
}
