//! Zoned numbers: digits, with the sign punched over the first or last of them.
//!
//! # Format
//!
//! In EBCDIC the zone of the signed digit is C for plus, D for minus, F for none. On every page
//! those bytes are the characters that files translated to ASCII have too:
//!
//! ```text
//!         0 1 2 3 4 5 6 7 8 9
//! plus    { A B C D E F G H I      C0 to C9
//! minus   } J K L M N O P Q R      D0 to D9
//! none    0 1 2 3 4 5 6 7 8 9      F0 to F9
//! ```

use super::display::{value, write};
use super::{NumberError, described, signed};

/// What a digit with its sign is: true for minus.
pub(super) fn digit(character: u8) -> Option<(bool, u8)> {
    match character {
        b'0'..=b'9' => Some((false, character.wrapping_sub(b'0'))),
        b'{' => Some((false, 0)),
        b'A'..=b'I' => Some((false, character.wrapping_sub(b'A').wrapping_add(1))),
        b'}' => Some((true, 0)),
        b'J'..=b'R' => Some((true, character.wrapping_sub(b'J').wrapping_add(1))),
        _ => None,
    }
}

/// The sign punched over the last digit.
pub(super) fn trailing(bytes: &[u8]) -> Result<i64, NumberError> {
    let found = bytes.split_last().and_then(|(last, digits)| {
        let (is_negative, last) = digit(*last)?;
        let first = if digits.is_empty() { Ok(0) } else { value(digits)? };
        let shifted = |first: u64| first.checked_mul(10)?.checked_add(u64::from(last));
        Some(first.map(|first| shifted(first).and_then(|value| signed(is_negative, value))))
    });
    fits(bytes, found)
}

/// The sign punched over the first digit.
pub(super) fn leading(bytes: &[u8]) -> Result<i64, NumberError> {
    let found = bytes.split_first().and_then(|(first, digits)| {
        let (is_negative, first) = digit(*first)?;
        let rest = if digits.is_empty() { Ok(0) } else { value(digits)? };
        let power = u32::try_from(digits.len()).ok().and_then(|digits| 10_u64.checked_pow(digits));
        let shifted = match power {
            Some(power) => u64::from(first).checked_mul(power),
            None => (first == 0).then_some(0),
        };
        let whole = |rest: u64| signed(is_negative, shifted?.checked_add(rest)?);
        Some(rest.map(whole))
    });
    fits(bytes, found)
}

/// What was found: none where it is no number, then none where it doesn't fit.
fn fits(bytes: &[u8], found: Option<Result<Option<i64>, NumberError>>) -> Result<i64, NumberError> {
    match found {
        Some(value) => value?.ok_or_else(|| NumberError::too_large(bytes)),
        None => {
            let expected = "digits with a sign punched over one";
            Err(NumberError::not_digits(expected, described(bytes)))
        }
    }
}

/// Digits, the last with the sign.
pub(super) fn write_trailing(field: &mut [u8], units: i64) -> Option<()> {
    write(field, units.unsigned_abs())?;
    punch(field.last_mut()?, units)
}

/// Digits, the first with the sign.
pub(super) fn write_leading(field: &mut [u8], units: i64) -> Option<()> {
    write(field, units.unsigned_abs())?;
    punch(field.first_mut()?, units)
}

fn punch(character: &mut u8, units: i64) -> Option<()> {
    let row = if units < 0 { b"}JKLMNOPQR" } else { b"{ABCDEFGHI" };
    *character = *row.get(usize::from(character.wrapping_sub(b'0')))?;
    Some(())
}
