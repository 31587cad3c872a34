//! Every form against values worked out by hand, and a million numbers written and read back.

use super::{PackedSign, Read, Sign, Written, read, write};

const UNSIGNED: Written = Written::Display(Sign::None);
const LEADING: Written = Written::Display(Sign::Leading);
const TRAILING: Written = Written::Display(Sign::Trailing);
const LEADING_SEPARATE: Written = Written::Display(Sign::LeadingSeparate);
const TRAILING_SEPARATE: Written = Written::Display(Sign::TrailingSeparate);
const PACKED: Written = Written::Packed(PackedSign::Signed);
const PACKED_UNSIGNED: Written = Written::Packed(PackedSign::Unsigned);
const PACKED_PLAIN: Written = Written::Packed(PackedSign::None);
const BINARY: Written = Written::Binary { is_signed: true };
const BINARY_UNSIGNED: Written = Written::Binary { is_signed: false };
const POINT: Written = Written::Decimal { point: b'.', group: Some(b',') };
const COMMA: Written = Written::Decimal { point: b',', group: Some(b'.') };
const PLAIN: Written = Written::Decimal { point: b'.', group: None };

/// The number in these bytes, or the reason and what was found.
fn found(written: Written, bytes: &[u8]) -> Result<(i64, u8), String> {
    match read(written, bytes) {
        Ok(Read { units, scale }) => Ok((units, scale)),
        Err(error) => {
            assert!(!error.expected().is_empty());
            Err(format!("{}: {}", error.reason(), error.found()))
        }
    }
}

fn reads(table: &[(Written, &[u8], i64)]) {
    for (written, bytes, expected) in table {
        let shown = bytes.escape_ascii();
        assert_eq!(found(*written, bytes), Ok((*expected, 0)), "{written:?} {shown}");
    }
}

fn faults(table: &[(Written, &[u8], &str)]) {
    for (written, bytes, expected) in table {
        let shown = bytes.escape_ascii();
        assert_eq!(found(*written, bytes), Err((*expected).to_owned()), "{written:?} {shown}");
    }
}

#[test]
fn characters_are_digits_and_perhaps_a_sign() {
    reads(&[
        (UNSIGNED, b"0", 0),
        (UNSIGNED, b"0000012345", 12_345),
        (UNSIGNED, b"9223372036854775807", i64::MAX),
        (UNSIGNED, b"0000000000000000000000000000000000001", 1),
        (LEADING_SEPARATE, b"+0", 0),
        (LEADING_SEPARATE, b"-0", 0),
        (LEADING_SEPARATE, b"+00123", 123),
        (LEADING_SEPARATE, b"-00123", -123),
        (LEADING_SEPARATE, b"-9223372036854775808", i64::MIN),
        (TRAILING_SEPARATE, b"00123+", 123),
        (TRAILING_SEPARATE, b"00123-", -123),
    ]);
    faults(&[
        (UNSIGNED, b"", "not_digits: no bytes"),
        (UNSIGNED, b"    ", "not_digits: a blank field"),
        (UNSIGNED, b"\0\0\0\0", "not_digits: low values"),
        (UNSIGNED, b"  12", "not_digits: a blank at position 1 of 4"),
        (UNSIGNED, b"1O2", "not_digits: a letter at position 2 of 3"),
        (UNSIGNED, b"-12", "not_digits: a sign at position 1 of 3"),
        (UNSIGNED, b"00000000000000001x", "not_digits: a letter at position 18 of 18"),
        (UNSIGNED, b"000000000000000000x1", "not_digits: a letter at position 19 of 20"),
        // A sign punched over a digit is no digit where there must be no sign.
        (UNSIGNED, b"12C", "number_sign: a sign punched over a digit"),
        (UNSIGNED, b"}23", "number_sign: a sign punched over a digit"),
        (UNSIGNED, b"9223372036854775808", "number_too_large: a larger one in 19 bytes"),
        (LEADING_SEPARATE, b"00123", "number_sign: 5 digits"),
        (LEADING_SEPARATE, b" 0123", "number_sign: a blank at position 1 of 5"),
        (LEADING_SEPARATE, b"-", "not_digits: no bytes"),
        (LEADING_SEPARATE, b"+12C", "number_sign: a sign punched over a digit"),
        (LEADING_SEPARATE, b"+9223372036854775808", "number_too_large: a larger one in 20 bytes"),
        (TRAILING_SEPARATE, b"-00123", "number_sign: a sign at position 1 of 6"),
        (TRAILING_SEPARATE, b"", "number_sign: no bytes"),
    ]);
}

#[test]
fn every_overpunched_digit_has_its_value_and_sign() {
    // Each character that can stand over the last digit of 12_, and the first of _12.
    for (row, sign) in [(b"0123456789", 1), (b"{ABCDEFGHI", 1), (b"}JKLMNOPQR", -1)] {
        for (digit, character) in (0..).zip(row) {
            let last = [b'1', b'2', *character];
            assert_eq!(found(TRAILING, &last), Ok((sign * (120 + digit), 0)));
            let first = [*character, b'1', b'2'];
            assert_eq!(found(LEADING, &first), Ok((sign * (digit * 100 + 12), 0)));
        }
    }
    // All else is none.
    let overpunched = b"0123456789{ABCDEFGHI}JKLMNOPQR";
    for character in (0..=u8::MAX).filter(|character| !overpunched.contains(character)) {
        assert!(found(TRAILING, &[b'1', b'2', character]).is_err());
        assert!(found(LEADING, &[character, b'1', b'2']).is_err());
    }
    reads(&[
        (TRAILING, b"}", 0),
        (TRAILING, b"J", -1),
        (TRAILING, b"922337203685477580P", -9_223_372_036_854_775_807),
        (TRAILING, b"922337203685477580G", i64::MAX),
        (LEADING, b"R", -9),
        (LEADING, b"I223372036854775807", i64::MAX),
        (LEADING, b"R223372036854775808", i64::MIN),
        (LEADING, b"}00000000000000000000000000001", -1),
    ]);
    faults(&[
        (TRAILING, b"", "not_digits: no bytes"),
        (TRAILING, b"   ", "not_digits: a blank field"),
        (TRAILING, b"\0\0\0", "not_digits: low values"),
        (TRAILING, b"A12", "not_digits: a letter at position 1 of 3"),
        (TRAILING, b"922337203685477580H", "number_too_large: a larger one in 19 bytes"),
        (LEADING, b"12A", "not_digits: a letter at position 3 of 3"),
        (LEADING, b"A00000000000000000000", "number_too_large: a larger one in 21 bytes"),
    ]);
}

#[test]
fn every_nibble_of_a_packed_number_is_a_digit_a_sign_or_a_fault() {
    for nibble in 0..16_u8 {
        let last = 0x30 | nibble;
        let signed = match nibble {
            0x0a | 0x0c | 0x0e | 0x0f => Ok((123, 0)),
            0x0b | 0x0d => Ok((-123, 0)),
            _ => Err("number_sign: a digit".to_owned()),
        };
        assert_eq!(found(PACKED, &[0x12, last]), signed);
        let unsigned = match nibble {
            0x0b | 0x0d => Err("number_sign: a minus".to_owned()),
            _ => signed,
        };
        assert_eq!(found(PACKED_UNSIGNED, &[0x12, last]), unsigned);
        let plain = match nibble {
            0..=9 => Ok((1_230 + i64::from(nibble), 0)),
            _ => Err("not_digits: a half byte that is none in byte 2 of 2".to_owned()),
        };
        assert_eq!(found(PACKED_PLAIN, &[0x12, last]), plain);
        // As a digit, in each other place.
        let digit = i64::from(nibble);
        let expected = |at: usize, value: i64| match nibble {
            0..=9 => Ok((value, 0)),
            _ => Err(format!("not_digits: a half byte that is none in byte {at} of 2")),
        };
        let high = nibble << 4;
        assert_eq!(found(PACKED, &[high | 2, 0x3c]), expected(1, digit * 100 + 23));
        assert_eq!(found(PACKED, &[0x10 | nibble, 0x3d]), expected(1, -(103 + digit * 10)));
        assert_eq!(found(PACKED, &[0x12, high | 0x0c]), expected(2, 120 + digit));
    }
    reads(&[
        (PACKED, b"\x0c", 0),
        (PACKED, b"\x0d", 0),
        (PACKED, b"\x00\x00\x0f", 0),
        (PACKED, b"\x9d", -9),
        (PACKED, b"\x01\x23\x45\x67\x8c", 12_345_678),
        (PACKED, b"\x92\x23\x37\x20\x36\x85\x47\x75\x80\x7c", i64::MAX),
        (PACKED, b"\x92\x23\x37\x20\x36\x85\x47\x75\x80\x8d", i64::MIN),
        (PACKED_PLAIN, b"\x01\x23", 123),
        (PACKED_PLAIN, b"\0\0", 0),
        (PACKED_PLAIN, b"\x40\x40", 4_040),
    ]);
    faults(&[
        (PACKED, b"", "not_digits: no bytes"),
        (PACKED, b"\x40\x40\x40\x40", "number_sign: a blank field"),
        (PACKED, b"    ", "number_sign: a blank field"),
        (PACKED, b"\0\0\0", "number_sign: low values"),
        (PACKED, b"\xff\xff", "not_digits: a half byte that is none in byte 1 of 2"),
        (PACKED_PLAIN, b"\x40\x40\x40\x40", "not_digits: a blank field"),
        (PACKED_PLAIN, b"    ", "not_digits: a blank field"),
        (
            PACKED,
            b"\x92\x23\x37\x20\x36\x85\x47\x75\x80\x8c",
            "number_too_large: a larger one in 10 bytes",
        ),
        (
            PACKED,
            b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0c",
            "number_too_large: a larger one in 12 bytes",
        ),
    ]);
}

#[test]
fn binary_numbers_have_three_widths_and_both_kinds_of_sign() {
    reads(&[
        (BINARY, b"\x00\x00", 0),
        (BINARY, b"\x00\x7b", 123),
        (BINARY, b"\xff\x85", -123),
        (BINARY, b"\x7f\xff", 32_767),
        (BINARY, b"\x80\x00", -32_768),
        (BINARY_UNSIGNED, b"\x80\x00", 32_768),
        (BINARY_UNSIGNED, b"\xff\xff", 65_535),
        (BINARY_UNSIGNED, b"\x20\x20", 8_224),
        (BINARY, b"\x00\x01\xe2\x40", 123_456),
        (BINARY, b"\xff\xfe\x1d\xc0", -123_456),
        (BINARY_UNSIGNED, b"\xff\xff\xff\xff", 4_294_967_295),
        (BINARY, b"\0\0\0\0", 0),
        (BINARY, b"\x0d\xe0\xb6\xb3\xa7\x63\xff\xff", 999_999_999_999_999_999),
        (BINARY, b"\xf2\x1f\x49\x4c\x58\x9c\x00\x01", -999_999_999_999_999_999),
        (BINARY_UNSIGNED, b"\x7f\xff\xff\xff\xff\xff\xff\xff", i64::MAX),
    ]);
    faults(&[
        (BINARY, b"\x40\x40", "not_digits: a blank field"),
        (BINARY, b"\x40\x40\x40\x40", "not_digits: a blank field"),
        (BINARY_UNSIGNED, b"\x40\x40\x40\x40\x40\x40\x40\x40", "not_digits: a blank field"),
        (BINARY, b"    ", "not_digits: a blank field"),
        (BINARY, b"", "not_digits: no bytes"),
        (BINARY, b"\x01\x02\x03", "not_digits: 3 bytes"),
        (
            BINARY_UNSIGNED,
            b"\x80\x00\x00\x00\x00\x00\x00\x00",
            "number_too_large: a larger one in 8 bytes",
        ),
    ]);
}

#[test]
fn decimal_text_has_a_point_or_comma_and_perhaps_groups() {
    let table: &[(Written, &str, i64, u8)] = &[
        (POINT, "0", 0, 0),
        (POINT, "1234.56", 123_456, 2),
        (POINT, "1,234.56", 123_456, 2),
        (POINT, "-1,234,567.5", -12_345_675, 1),
        (POINT, " +12.00 ", 1_200, 2),
        (POINT, ".5", 5, 1),
        (POINT, "-0.05", -5, 2),
        (COMMA, "1.234,56", 123_456, 2),
        (COMMA, "1234,56", 123_456, 2),
        (COMMA, "1.234", 1_234, 0),
        (PLAIN, "1234", 1_234, 0),
        (PLAIN, "-9223372036854775.808", i64::MIN, 3),
        (PLAIN, "0000000000000000000000000001.5", 15, 1),
    ];
    for (written, text, units, scale) in table {
        assert_eq!(found(*written, text.as_bytes()), Ok((*units, *scale)), "{text}");
    }
    faults(&[
        (POINT, b"", "not_digits: no bytes"),
        (POINT, b"   ", "not_digits: no bytes"),
        (POINT, b".", "not_digits: a sign at position 1 of 1"),
        (POINT, b"5.", "not_digits: nothing behind the point"),
        (POINT, b"-", "not_digits: a sign at position 1 of 1"),
        (POINT, b"1.2.3", "not_digits: a sign at position 4 of 5"),
        (POINT, b"1.234,56", "not_digits: a sign at position 6 of 8"),
        (POINT, b"1,234,5x7.00", "not_digits: a letter at position 8 of 12"),
        (COMMA, b"1234.56", "not_digits: groups that are not of three digits"),
        (COMMA, b"1234.567", "not_digits: groups that are not of three digits"),
        (COMMA, b".123,00", "not_digits: groups that are not of three digits"),
        (PLAIN, b"1,234", "not_digits: a sign at position 2 of 5"),
        (PLAIN, b"1e3", "not_digits: a letter at position 2 of 3"),
        (PLAIN, b"--1", "not_digits: a sign at position 2 of 3"),
        (PLAIN, b"9223372036854775808", "number_too_large: a larger one in 19 bytes"),
        (PLAIN, b"0.0000000000000000001", "number_too_large: a larger one in 21 bytes"),
    ]);
}

#[test]
fn what_does_not_fit_or_cannot_be_expressed_is_not_written() {
    for (written, units, width) in [
        (UNSIGNED, 1_000, 3),
        (UNSIGNED, -1, 3),
        (TRAILING, -1_000, 3),
        (LEADING, 1, 0),
        (LEADING_SEPARATE, 1_000, 4),
        (TRAILING_SEPARATE, 1, 0),
        (PACKED, 1_000, 2),
        (PACKED, 0, 0),
        (PACKED_UNSIGNED, -1, 2),
        (PACKED_PLAIN, 10_000, 2),
        (BINARY, 32_768, 2),
        (BINARY, 1, 3),
        (BINARY_UNSIGNED, -1, 8),
        (PLAIN, -100, 3),
    ] {
        let mut into = b"kept".to_vec();
        assert_eq!(write(written, Read { units, scale: 0 }, width, &mut into), None);
        assert_eq!(into, b"kept", "{written:?} {units} in {width}");
    }
}

#[test]
fn a_million_numbers_are_read_back() {
    let forms = [
        (UNSIGNED, false, 19),
        (LEADING, true, 19),
        (TRAILING, true, 19),
        (LEADING_SEPARATE, true, 20),
        (TRAILING_SEPARATE, true, 20),
        (PACKED, true, 10),
        (PACKED_UNSIGNED, false, 10),
        (PACKED_PLAIN, false, 10),
        (POINT, true, 30),
        (COMMA, true, 30),
        (PLAIN, true, 22),
    ];
    // Splitmix64: the numbers differ from place to place, and are the same in each run.
    let mut state = 0x0062_6174_6368_6c65_u64;
    let mut draw = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut bytes = Vec::new();
    let mut count = 0;
    while count < 1_000_000 {
        // Of every length, so that small numbers are as frequent as large ones.
        let bits = u32::try_from(draw() % 64).unwrap();
        let units = i64::from_be_bytes(draw().to_be_bytes()) >> bits;
        for (written, is_signed, width) in forms {
            let units = if is_signed { units } else { units.saturating_abs() };
            let scale = match written {
                Written::Decimal { .. } => u8::try_from(draw() % 19).unwrap(),
                _ => 0,
            };
            let number = Read { units, scale };
            bytes.clear();
            write(written, number, width, &mut bytes).unwrap();
            assert_eq!(bytes.len(), width);
            assert_eq!(read(written, &bytes), Ok(number), "{written:?} {units}");
            count += 1;
        }
        // Binary in the narrowest field that holds it, and in those that are wider.
        for width in [2, 4, 8] {
            for (written, units) in [(BINARY, units), (BINARY_UNSIGNED, units.saturating_abs())] {
                bytes.clear();
                let number = Read { units, scale: 0 };
                if write(written, number, width, &mut bytes).is_some() {
                    let is_blank = bytes.iter().all(|byte| *byte == 0x40)
                        || width > 2 && bytes.iter().all(|byte| *byte == 0x20);
                    assert_eq!(read(written, &bytes).is_err(), is_blank);
                    assert!(is_blank || read(written, &bytes) == Ok(number));
                    count += 1;
                }
            }
        }
    }
}
