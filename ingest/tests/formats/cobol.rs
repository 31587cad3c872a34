//! A file as a mainframe writes it, in every numeric form: what each byte is was worked out by hand.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::sync::Arc;

use ingest::format::{Encoding, Layout, Settings};

use crate::whole::{Found, read, read_in_pieces, settings};

/// The record of a made-up program:
///
/// ```text
/// 01 MOVEMENT.
///    05 PLAIN            PIC 9(3)V99.
///    05 SIGN-BEFORE      PIC S9(4) SIGN LEADING SEPARATE.
///    05 SIGN-BEHIND      PIC S9(4) SIGN TRAILING SEPARATE.
///    05 ZONED            PIC S9(4).
///    05 ZONED-BEFORE     PIC S9(4) SIGN LEADING.
///    05 PACKED           PIC S9(3)V99 COMP-3.
///    05 PACKED-UNSIGNED  PIC 9(5) COMP-3.
///    05 PACKED-PLAIN     two digits a byte, and no sign
///    05 SHORT            PIC S9(4) COMP.
///    05 WORD             PIC S9(9) COMP.
///    05 LONG             PIC S9(18) COMP.
///    05 COUNT            PIC 9(4) COMP.
/// ```
const FIELDS: [(&str, &str, &str, usize); 12] = [
    ("plain", "1-5", r#"type = "number", scale = 2"#, 5),
    ("sign_before", "6-10", r#"type = "number", sign = "leading_separate""#, 5),
    ("sign_behind", "11-15", r#"type = "number", sign = "trailing_separate""#, 5),
    ("zoned", "16-19", r#"type = "zoned""#, 4),
    ("zoned_before", "20-23", r#"type = "zoned", sign = "leading""#, 4),
    ("packed", "24-26", r#"type = "packed", scale = 2"#, 3),
    ("packed_unsigned", "27-29", r#"type = "packed", sign = "unsigned""#, 3),
    ("packed_plain", "30-31", r#"type = "packed", sign = "none""#, 2),
    ("short", "32-33", r#"type = "binary""#, 2),
    ("word", "34-37", r#"type = "binary""#, 4),
    ("long", "38-45", r#"type = "binary", show = true"#, 8),
    ("count", "46-47", r#"type = "binary", signed = false"#, 2),
];

const LENGTH: usize = 47;

/// What is not told of otherwise.
const RECORD: [(&str, &[u8], &str); 12] = [
    ("plain", b"\xf0\xf0\xf1\xf2\xf3", "1.23"),
    ("sign_before", b"\x60\xf0\xf1\xf2\xf3", "-123"),
    ("sign_behind", b"\xf0\xf1\xf2\xf3\x4e", "123"),
    ("zoned", b"\xf0\xf1\xf2\xd3", "-123"),
    ("zoned_before", b"\xd1\xf2\xf3\xf4", "-1234"),
    ("packed", b"\x00\x12\x3d", "-1.23"),
    ("packed_unsigned", b"\x12\x34\x5f", "12345"),
    ("packed_plain", b"\x12\x34", "1234"),
    ("short", b"\xff\x85", "-123"),
    ("word", b"\x00\x01\xe2\x40", "123456"),
    ("long", b"\x0d\xe0\xb6\xb3\xa7\x63\xff\xff", "999999999999999999"),
    ("count", b"\xff\xff", "65535"),
];

/// A field with other bytes, and what it is then, or why the record is a reject.
const OTHERS: &[(&str, &[u8], Result<&str, &str>)] = &[
    ("plain", b"\xf9\xf9\xf9\xf9\xf9", Ok("999.99")),
    ("plain", b"\x40\x40\x40\x40\x40", Err("not_digits: digits, a blank field")),
    ("plain", b"\0\0\0\0\0", Err("not_digits: digits, low values")),
    (
        "plain",
        b"\xf0\xf0\xf1\xf2\xd3",
        Err("number_sign: digits without a sign, a sign punched over a digit"),
    ),
    ("sign_before", b"\x4e\xf0\xf1\xf2\xf3", Ok("123")),
    (
        "sign_before",
        b"\x40\xf0\xf1\xf2\xf3",
        Err("number_sign: a plus or minus beside the digits, a blank at position 1 of 5"),
    ),
    ("sign_behind", b"\xf0\xf1\xf2\xf3\x60", Ok("-123")),
    ("zoned", b"\xf0\xf1\xf2\xc3", Ok("123")),
    ("zoned", b"\xf0\xf1\xf2\xf3", Ok("123")),
    ("zoned", b"\xf0\xf1\xf2\xc0", Ok("120")),
    ("zoned", b"\xf0\xf1\xf2\xd0", Ok("-120")),
    ("zoned", b"\xf0\xf1\xf2\xc9", Ok("129")),
    ("zoned", b"\xf0\xf1\xf2\xd9", Ok("-129")),
    (
        "zoned",
        b"\x40\x40\x40\x40",
        Err("not_digits: digits with a sign punched over one, a blank field"),
    ),
    ("zoned_before", b"\xc1\xf2\xf3\xf4", Ok("1234")),
    ("zoned_before", b"\xf1\xf2\xf3\xf4", Ok("1234")),
    ("packed", b"\x00\x12\x3c", Ok("1.23")),
    ("packed", b"\x00\x12\x3f", Ok("1.23")),
    ("packed", b"\x00\x12\x3a", Ok("1.23")),
    ("packed", b"\x00\x12\x3e", Ok("1.23")),
    ("packed", b"\x00\x12\x3b", Ok("-1.23")),
    ("packed", b"\x00\x12\x34", Err("number_sign: a sign in the last half byte, a digit")),
    (
        "packed",
        b"\x00\xa2\x3c",
        Err("not_digits: packed digits, a half byte that is none in byte 2 of 3"),
    ),
    ("packed", b"\x40\x40\x40", Err("number_sign: a sign in the last half byte, a blank field")),
    ("packed", b"\0\0\0", Err("number_sign: a sign in the last half byte, low values")),
    ("packed_unsigned", b"\x12\x34\x5c", Ok("12345")),
    (
        "packed_unsigned",
        b"\x12\x34\x5d",
        Err("number_sign: a packed number that isn't negative, a minus"),
    ),
    (
        "packed_plain",
        b"\x12\x3c",
        Err("not_digits: packed digits, a half byte that is none in byte 2 of 2"),
    ),
    ("short", b"\x00\x7b", Ok("123")),
    ("short", b"\x7f\xff", Ok("32767")),
    ("short", b"\x40\x40", Err("not_digits: a binary number, a blank field")),
    ("word", b"\xff\xfe\x1d\xc0", Ok("-123456")),
    ("word", b"\x40\x40\x40\x40", Err("not_digits: a binary number, a blank field")),
    ("long", b"\xf2\x1f\x49\x4c\x58\x9c\x00\x01", Ok("-999999999999999999")),
    (
        "long",
        b"\x40\x40\x40\x40\x40\x40\x40\x40",
        Err("not_digits: a binary number, 8 bytes that are none"),
    ),
    ("count", b"\x80\x00", Ok("32768")),
];

fn layout(cut: &str) -> Arc<Layout> {
    let fields: String = FIELDS
        .iter()
        .map(|(name, at, form, _)| {
            format!(
                "{name} = {{ at = \"{at}\", {form} }}
"
            )
        })
        .collect();
    let attributes: String =
        FIELDS.iter().map(|(name, ..)| format!("{name} = \"{name}\"\n")).collect();
    let text = format!(
        "layout = \"movements\"\ntitle = \"Movements\"\nrevision = 1\nnetwork = \"none\"\n\
         [file]\n{cut}\nencoding = \"cp037\"\ncontrol = \"none\"\n\
         [[record]]\nname = \"movement\"\nrole = \"detail\"\n[record.fields]\n{fields}\
         [[event]]\nof = [\"movement\"]\ncode = \"movement\"\nkind = \"information\"\n\
         [event.attributes]\n{attributes}"
    );
    Arc::new(Layout::parse(&text).unwrap_or_else(|mistakes| {
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        unreachable!("{}", told.join("\n"))
    }))
}

fn feed(cut: &str, encoding: Encoding) -> Settings {
    let layout = layout(cut);
    Settings { layout: Some(layout), ..settings("movements", encoding) }
}

/// The record's bytes, with one field changed.
fn record(changed: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for ((name, usual, _), (known, _, _, width)) in RECORD.iter().zip(FIELDS) {
        assert_eq!(*name, known);
        let other = changed.filter(|(changed, _)| changed == name).map(|(_, bytes)| bytes);
        assert_eq!(other.unwrap_or(usual).len(), width, "{name}");
        bytes.extend_from_slice(other.unwrap_or(usual));
    }
    assert_eq!(bytes.len(), LENGTH);
    bytes
}

fn attribute(found: &Found, name: &str) -> String {
    let attributes = &found.draft.record.attributes;
    attributes.iter().find(|(known, _)| *known == name).unwrap().1.to_owned()
}

#[test]
fn every_form_has_the_value_that_was_worked_out() {
    let mut content = record(None);
    for (name, bytes, _) in OTHERS {
        content.extend(record(Some((name, bytes))));
    }
    let feed = feed("cut = \"fixed\"\nlength = 47", Encoding::Cp037);
    let whole = read(&feed, &content).unwrap();
    assert_eq!(read_in_pieces(&feed, &content, &[5]).unwrap(), whole);
    assert_eq!(whole.found.len(), 1 + OTHERS.len());
    for (name, _, expected) in RECORD {
        assert_eq!(attribute(&whole.found[0], name), expected, "{name}");
    }
    for (found, (name, bytes, expected)) in whole.found.iter().skip(1).zip(OTHERS) {
        let bytes = bytes.escape_ascii();
        match (expected, &found.reject) {
            (Ok(expected), None) => assert_eq!(attribute(found, name), *expected, "{name} {bytes}"),
            (Err(expected), Some(reject)) => {
                assert_eq!(reject.field, *name, "{bytes}");
                let told = format!("{}: {}, {}", reject.reason, reject.expected, reject.found);
                assert_eq!(told, *expected, "{name} {bytes}");
            }
            (_, reject) => {
                assert!(reject.is_none() && expected.is_err(), "{name} {bytes}: {reject:?}")
            }
        }
    }
}

/// The same records, with the lengths that mainframes and those who copy from them write.
#[test]
fn lengths_before_records_change_nothing_of_them() {
    let word = |length: usize| u16::try_from(length).unwrap();
    let big = |length: usize| [&word(length).to_be_bytes()[..], &[0, 0]].concat();
    let little = |length: usize| [&[0, 0], &word(length).to_le_bytes()[..]].concat();
    let one = record(None);
    let two = record(Some(("zoned", b"\xf0\xf1\xf2\xc3")));
    let inclusive = [big(51), one.clone(), big(51), two.clone()].concat();
    let files = [
        ("cut = \"fixed\"\nlength = 47", [one.clone(), two.clone()].concat()),
        ("cut = \"rdw\"\nprefix_includes_itself = true", inclusive.clone()),
        (
            "cut = \"rdw\"\nprefix_includes_itself = false",
            [big(47), one.clone(), big(47), two.clone()].concat(),
        ),
        (
            "cut = \"rdw_little\"\nprefix_includes_itself = true",
            [little(51), one.clone(), little(51), two.clone()].concat(),
        ),
        (
            "cut = \"rdw_little\"\nprefix_includes_itself = false",
            [little(47), one.clone(), little(47), two.clone()].concat(),
        ),
        (
            "cut = \"bdw_rdw\"",
            [big(106), inclusive.clone(), big(55), big(51), one.clone()].concat(),
        ),
    ];
    for (cut, content) in files {
        let feed = feed(cut, Encoding::Cp037);
        let whole = read(&feed, &content).unwrap();
        let zoned: Vec<String> =
            whole.found.iter().map(|found| attribute(found, "zoned")).collect();
        assert_eq!(zoned[..2], ["-123", "123"], "{cut}");
        assert_eq!(zoned.len(), if cut.contains("bdw") { 3 } else { 2 });
        assert_eq!(read_in_pieces(&feed, &content, &[1]).unwrap(), whole, "{cut}");
        let torn = read(&feed, &content[..content.len() - 1]).unwrap_err();
        assert_eq!(torn.into_reason().code, "truncated", "{cut}");
    }
}
