//! Numbers in digits, with no sign or a character for it.

use super::{NumberError, described, signed};

/// So many digits always fit 64 bits.
const DIGITS_SAFE: usize = 18;

/// The number of these digits, all of them from `0` to `9`; none where one isn't.
///
/// # Errors
///
/// Where it doesn't fit.
#[inline]
pub(super) fn value(digits: &[u8]) -> Option<Result<u64, NumberError>> {
    let mut value = 0_u64;
    if digits.len() <= DIGITS_SAFE {
        // Without a way out of the loop: nearly every field is in order.
        let mut are_digits = !digits.is_empty();
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            are_digits &= digit <= 9;
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        return are_digits.then_some(Ok(value));
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    for byte in digits {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        let Some(more) = value.checked_mul(10).and_then(|tens| tens.checked_add(digit)) else {
            return Some(Err(NumberError::too_large(digits)));
        };
        value = more;
    }
    Some(Ok(value))
}

/// Digits without sign.
#[inline]
pub(super) fn unsigned(bytes: &[u8]) -> Result<i64, NumberError> {
    match value(bytes) {
        Some(value) => i64::try_from(value?).map_err(|_| NumberError::too_large(bytes)),
        None => Err(no_digits(bytes)),
    }
}

/// A plus or minus, then digits.
pub(super) fn leading_sign(bytes: &[u8]) -> Result<i64, NumberError> {
    let (sign, digits) = bytes.split_first().ok_or_else(|| no_sign(bytes))?;
    separate(bytes, *sign, digits)
}

/// Digits, then a plus or minus.
pub(super) fn trailing_sign(bytes: &[u8]) -> Result<i64, NumberError> {
    let (sign, digits) = bytes.split_last().ok_or_else(|| no_sign(bytes))?;
    separate(bytes, *sign, digits)
}

fn separate(bytes: &[u8], sign: u8, digits: &[u8]) -> Result<i64, NumberError> {
    let is_negative = match sign {
        b'+' => false,
        b'-' => true,
        _ => return Err(no_sign(bytes)),
    };
    let value = value(digits).ok_or_else(|| no_digits(digits))??;
    signed(is_negative, value).ok_or_else(|| NumberError::too_large(bytes))
}

#[cold]
fn no_digits(bytes: &[u8]) -> NumberError {
    // Digits but for a sign punched over one: said by name, because the layout may be what's wrong.
    let mut odd = bytes.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_digit());
    if let (Some((at, byte)), None) = (odd.next(), odd.next()) {
        let is_end = at == 0 || at.saturating_add(1) == bytes.len();
        if is_end && super::zoned::digit(*byte).is_some() {
            return NumberError::sign("digits without a sign", "a sign punched over a digit");
        }
    }
    NumberError::not_digits("digits", described(bytes))
}

#[cold]
fn no_sign(bytes: &[u8]) -> NumberError {
    NumberError::sign("a plus or minus beside the digits", described(bytes))
}

/// Fills a field with digits.
pub(super) fn write(field: &mut [u8], mut value: u64) -> Option<()> {
    for byte in field.iter_mut().rev() {
        *byte = b'0'.wrapping_add(u8::try_from(value % 10).ok()?);
        value = value.checked_div(10)?;
    }
    (value == 0).then_some(())
}

/// Digits without sign.
pub(super) fn write_unsigned(field: &mut [u8], units: i64) -> Option<()> {
    write(field, u64::try_from(units).ok()?)
}

/// A sign, then digits.
pub(super) fn write_leading_sign(field: &mut [u8], units: i64) -> Option<()> {
    let (sign, digits) = field.split_first_mut()?;
    *sign = sign_of(units);
    write(digits, units.unsigned_abs())
}

/// Digits, then a sign.
pub(super) fn write_trailing_sign(field: &mut [u8], units: i64) -> Option<()> {
    let (sign, digits) = field.split_last_mut()?;
    *sign = sign_of(units);
    write(digits, units.unsigned_abs())
}

pub(super) fn sign_of(units: i64) -> u8 {
    if units < 0 { b'-' } else { b'+' }
}
