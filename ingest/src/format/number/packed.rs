//! Packed numbers (COMP-3): two digits a byte, and a sign in the last half byte.
//!
//! # Format
//!
//! ```text
//! 12 3C   +123    the sign: C, A, E plus; D, B minus; F none
//! 01 23   123     without a sign at all (COMP-3U)
//! ```

use super::{NumberError, PackedSign, described, is_filler, signed};

/// Reads a packed number.
pub(super) fn read(sign: PackedSign, bytes: &[u8]) -> Result<i64, NumberError> {
    let Some((last, before)) = bytes.split_last() else {
        return Err(NumberError::not_digits("packed digits", described(bytes)));
    };
    let mut value = 0_u64;
    for (at, byte) in before.iter().enumerate() {
        value = push(bytes, at, value, byte >> 4)?;
        value = push(bytes, at, value, byte & 0x0f)?;
    }
    let at = before.len();
    value = push(bytes, at, value, last >> 4)?;
    let is_negative = match (sign, last & 0x0f) {
        (PackedSign::None, nibble) => {
            // A field of blanks has digits in this form alone. In four bytes and more they are no
            // number that anybody counts to.
            if bytes.len() >= BLANKS_FROM_BYTES && bytes.first() != Some(&0) && is_filler(bytes) {
                return Err(NumberError::not_digits("packed digits", described(bytes)));
            }
            value = push(bytes, at, value, nibble)?;
            false
        }
        (_, 0x0a | 0x0c | 0x0e | 0x0f) => false,
        (PackedSign::Signed, 0x0b | 0x0d) => true,
        (PackedSign::Unsigned, 0x0b | 0x0d) => {
            return Err(NumberError::sign("a packed number that isn't negative", "a minus"));
        }
        _ => return Err(NumberError::sign("a sign in the last half byte", no_sign(bytes))),
    };
    signed(is_negative, value).ok_or_else(|| NumberError::too_large(bytes))
}

/// From so many bytes on, blanks are told from digits.
const BLANKS_FROM_BYTES: usize = 4;

/// The value with one more digit, of the byte `at`.
fn push(bytes: &[u8], at: usize, value: u64, nibble: u8) -> Result<u64, NumberError> {
    if nibble > 9 {
        return Err(digit_fault(bytes, at));
    }
    value
        .checked_mul(10)
        .and_then(|tens| tens.checked_add(u64::from(nibble)))
        .ok_or_else(|| NumberError::too_large(bytes))
}

#[cold]
fn digit_fault(bytes: &[u8], at: usize) -> NumberError {
    let found = match is_filler(bytes) {
        true => described(bytes),
        false => {
            format!("a half byte that is none in byte {} of {}", at.saturating_add(1), bytes.len())
        }
    };
    NumberError::not_digits("packed digits", found)
}

#[cold]
fn no_sign(bytes: &[u8]) -> String {
    if is_filler(bytes) { described(bytes) } else { "a digit".to_owned() }
}

/// Fills a field with packed digits and, unless there is none, a sign.
pub(super) fn write(sign: PackedSign, field: &mut [u8], units: i64) -> Option<()> {
    let nibble = match sign {
        PackedSign::Signed if units < 0 => Some(0x0d),
        PackedSign::Signed => Some(0x0c),
        _ if units < 0 => return None,
        PackedSign::Unsigned => Some(0x0f),
        PackedSign::None => None,
    };
    let mut value = units.unsigned_abs();
    let mut next = || {
        let digit = u8::try_from(value % 10).unwrap_or_default();
        value = value.checked_div(10).unwrap_or_default();
        digit
    };
    let mut low = nibble;
    for byte in field.iter_mut().rev() {
        let low = low.take().unwrap_or_else(&mut next);
        *byte = (next() << 4) | low;
    }
    (value == 0 && !field.is_empty()).then_some(())
}
